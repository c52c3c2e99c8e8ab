//! REST bodies and queries: reading requests, writing answers.

mod body;
pub mod call;
mod query;
mod request;
mod trace;

pub use body::{
    AddedBody, AlternateBody, ChangedBody, ChannelBody, ChannelsBody, ConnectBody, LateBody,
    MemberBody, MembersBody, PageBody, PostedBody, RefusedBody,
};
pub use query::{Direction, Query};
pub use request::{
    AddMembersBody, CreateChannelBody, Fields, NewChannel, PostMessageBody, bearer, path_channel,
    path_user, read_json,
};
pub use trace::{AMAZON_TRACE, trace};
