//! In-process ports with the semantics of the real ones, and no stronger guarantees.

mod bus;
mod chance;
mod clock;
mod leases;
mod replay;
mod store;
mod stream;

pub use bus::{MemoryBus, PublishFault};
pub use chance::Chance;
pub use clock::{ManualClock, SeededRandomness};
pub use leases::MemoryDirectory;
pub use replay::Replicas;
pub use store::{Calls, MemoryStore};
