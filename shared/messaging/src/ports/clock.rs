//! The clock.

use std::fmt::Debug;

use model::Timestamp;

/// The wall clock.
pub trait Clock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}
