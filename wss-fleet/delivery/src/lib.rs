//! The node's logic without I/O: the state of one connection and the state of one workspace.
//! Inputs and a time go in, effects come out; the node performs them.
//!
//! **Main path.** A publication arrives as [`Input::Entry`]. [`Workspace`] checks the chain (G4),
//! holds the publication if the channel's view is older (G6), looks up its audience, and emits one
//! [`Effect::Deliver`] with one encoded frame for all local members (G5).
//!
//! **Invariants.** Nothing here waits, reads a clock or touches a socket. A frame's cursor never
//! passes the entry before the oldest held publication. A publication is delivered only through a
//! view at least as new as the version that its send read.
//!
//! **Not here.** tokio, WebSocket framing, the store, the bus.

mod audience;
mod connection;
mod delivered;
mod frame_counts;
mod hold;
mod meetings;
mod numbers;
mod presence;
mod rate_limit;
mod receipts;
mod ring;
mod roster;
mod tickets;
mod typing;
mod views;
mod workspace;

pub use audience::{Audience, SocketId};
pub use connection::{Connection, Said};
pub use frame_counts::{FrameCounts, FrameMeter};
pub use numbers::{EntryNumber, Registration, RepairId};
pub use presence::{Announced, Fleet, PresenceEffect, PresenceInput};
pub use rate_limit::TokenBucket;
pub use tickets::SpentTickets;
pub use workspace::{
    Answered, Ask, Attach, ChannelMembers, DeliveryClass, Effect, Framing, History, Input,
    LoadedUser, Movable, Renewal, Spoken, Taken, Workspace,
};
