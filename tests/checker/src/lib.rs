//! Judges a run: takes its [`History`] and decides whether the guarantees held.
//!
//! - **K1** stored exactly once: an acknowledged message is in the store once, a refused one is
//!   not, and one with an unknown outcome is there at most once (G1).
//! - **K2** delivered: every message reaches every client that must have it, once after
//!   de-duplication (G3, G4, G5).
//! - **K3** order: clients show messages in id order, and only stored ones; a reply's id is greater
//!   than what its sender had seen (G2).
//! - **K4** no leak: a user who was removed before a message's first `POST` began does not see it,
//!   on any path, unless they were being added again (G6). Calls are judged as intervals:
//!   concurrent ones may take effect in either order.
//! - **K7** alive: after the last fault, everything arrives within a bound, and no client gets more
//!   resyncs than the faults explain (G4, G5).
//! - **K8** converged: every copy of a message ends as the store has it (G9, G10).
//! - **K9** counted: summaries of reactions and pins are what the acts say (G9).
//! - **K10** unread: what is unread is what a count by hand says, and no read mark moved back (G12).
//! - **K11** apart: what is said in a channel that keeps nothing reaches nobody who has not joined, and
//!   nobody gets what was said before they joined or while they were away (G15).
//! - **K12** numbers: they grow without repetition, a hole is reported, each accepted message has one,
//!   and whoever joins is told exactly how much they missed (G15).
//! - **K13** lasting: no text of such a channel is anywhere at the end (G15), and nothing but
//!   publications is in a stream or moves a cursor (G17).
//! - **K14** present: at the end, clients show who is there, and nobody else (G16).
//! - **K15** archived: in channels that deliver first, each message is stored once, as it was sent, and
//!   reaches every member. The exception: Redis lost it, and its sender never came back (G13).
//! - **K16** accepted: a spool or the store has each accepted message, unless Redis lost data since. A node
//!   says `archived` only of stored messages. No receipt is ahead of what a device said (G13, G14).
//!
//! The checker does not know how the system works, and judges simulated and real runs alike. Texts
//! must be unique per send, because the text connects a stored message with its send. User ids must
//! be unique across the workspaces of a run, because they identify the workspace, too.

#![expect(clippy::wildcard_enum_match_arm, reason = "a check looks at the events that concern it")]

mod checks;
mod counts;
mod delivering;
mod history;
mod lasting;
mod meetings;
mod members;
mod presence;
mod unread;
mod verdict;

pub use checks::check;
pub use delivering::Delivering;
pub use history::{
    Change, ClientId, Event, History, SendId, SendOutcome, Shown, StoredItem, Unread,
};
pub use lasting::Lasting;
pub use meetings::{Meeting, SayOutcome, SocketId};
pub use presence::Viewed;
pub use verdict::{Bounds, Check, Verdict, Violation};

#[cfg(test)]
mod tests;
