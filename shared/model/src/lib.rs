//! The nouns of Inkwire. A value is parsed once; from then on its type proves that it is valid.
//!
//! **Main path.** Bytes from outside become a [`WorkspaceId`], [`UserId`], [`ChannelId`],
//! [`MessageId`] or [`MessageText`] through one `parse` each; after that no code checks again.
//!
//! **Invariants.** Values of these types are well formed. Clock and randomness are arguments.
//!
//! **Not here.** Stores, sockets, a runtime, and JSON except for messages.

pub mod limits;

mod attachment;
mod backoff;
mod chain;
mod channel;
mod code;
mod devices;
mod ids;
mod invisible;
mod known;
mod mentions;
mod message;
mod position;
mod presence;
mod profile;
mod reaction;
mod read_mark;
mod request;
mod session;
mod time;
mod trace;
mod version;

pub use attachment::{
    Attachment, AttachmentId, AttachmentIdError, FileDigest, FileDigestError, FileName,
    FileNameError, MediaType, MediaTypeError, NewAttachment,
};
pub use backoff::backoff;
pub use chain::chain;
pub use channel::{
    Channel, ChannelChange, ChannelDetails, ChannelType, Contract, LateArrivals, Member, Visibility,
};
pub use code::{ErrorCode, Retry};
pub use devices::SeenDevices;
pub use ids::{
    ChangeId, ChannelId, ConnectionId, DeviceId, FileId, IdError, LogId, MessageId, MessageRef,
    NodeId, PublicationId, ThreadId, UserId, WorkspaceId,
};
pub use invisible::is_invisible;
pub use known::{KnownError, KnownMessages, KnownScan};
pub use mentions::{Mentions, TooManyMentions};
pub use message::{
    Attribution, Edit, Message, MessageText, PushedMessage, Replies, Rev, RevError, TextDigest,
    TextError,
};
pub use position::{EntryId, Position};
pub use presence::Presence;
pub use profile::{Profile, ProfileUpdate};
pub use reaction::{Emoji, EmojiError, Reaction};
pub use read_mark::{Epoch, ReadMark, UnreadCount};
pub use request::{
    ChannelUpdate, Direction, EditMessage, NewChannel, NewChannelKind, NewMessage, NewReadMark,
};
pub use session::{SessionId, SessionPosition};
pub use time::Timestamp;
pub use trace::TraceId;
pub use version::{REVISION, VERSION, version};
