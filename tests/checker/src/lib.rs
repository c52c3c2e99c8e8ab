//! The judge of a run: takes its [`History`] and says whether the guarantees held.
//!
//! - **K1** stored exactly once: what was answered 200 is in the store once, what was refused is
//!   not, what is unknown at most once (G1).
//! - **K2** delivered: every message reaches every client that must have it, once after
//!   de-duplication (G3, G4, G5).
//! - **K3** order: clients show messages in id order, and only stored ones; a reply's id is greater
//!   than what its sender had seen (G2).
//! - **K4** no leak: nobody who was removed before a message's first `POST` began sees it, on any
//!   path, unless they were being added again (G6). An interval test: concurrent calls may go either
//!   way.
//! - **K7** alive: after the last fault everything arrives within a bound, and no client is told to
//!   read again more often than the faults explain (G4, G5).
//!
//! It knows nothing of how the system works, and is the same for simulated runs and real ones.
//! Texts must be unique per send: that is how an item is matched with the attempt that stored it.
//! User ids must be unique over the workspaces of a run: they name the tenant, too.

#![expect(clippy::wildcard_enum_match_arm, reason = "a check looks at the events that concern it")]

mod history;
mod members;
mod verdict;

pub use history::{Change, ClientId, Event, History, SendId, SendOutcome, Shown, StoredItem};
pub use verdict::{Bounds, Check, Verdict, Violation, check};

#[cfg(test)]
mod tests;
