//! In-process ports with the semantics of the real ones, and no stronger guarantees.

mod bus;
mod clock;
mod files;
mod hooked_spool;
mod leases;
mod ports;
mod presence;
mod receipts;
mod relay_bus;
mod seeded_rng;
mod sessions;
mod spool;
mod store;
mod stream;

pub use bus::{MemoryBus, PublishFault};
pub use clock::{ManualClock, SeededRandomness};
pub use files::MemoryFiles;
pub use hooked_spool::{HookedSpool, SpoolHook};
pub use leases::MemoryDirectory;
pub use ports::ports;
pub use relay_bus::Replicas;
pub use seeded_rng::SeededRng;
pub use sessions::PlainSeal;
pub use store::{Calls, MemoryStore};
