//! REST bodies and queries: reading requests, writing responses.

mod attachments;
mod body;
pub mod client;
mod profile;
mod query;
mod receipts;
mod request;
mod trace;

pub use attachments::{AttachmentBody, UploadBody, content_disposition, path_attachment};
pub use body::{
    AddedBody, AlternateBody, ChangedBody, ChannelBody, ChannelsBody, ConnectBody, CountBody,
    EditedBody, EndedBody, FollowedBody, LateArrivalsBody, MarkBody, MarksBody, MemberBody,
    MembersBody, PageBody, PostedBody, ProfileBody, ProfilesBody, ReactionBody, ReactionsBody,
    RefusedBody, ThreadBody, ThreadsBody, UnreadBody, UnreadChannelBody, UnreadMarkBody,
};
pub use query::Query;
pub use receipts::ReceiptsBody;
pub use request::{
    AddMembersBody, Fields, MarkReadBody, MarkUnreadBody, bearer, path_channel, path_emoji,
    path_message, path_user, read_json,
};
pub use trace::{AMAZON_TRACE, trace};
