//! The bus and the node directory on Redis or Valkey. Both hold nothing that cannot be rebuilt.
//!
//! **Main path.**
//! 1. [`Endpoint::parse`] reads the URL, or [`Endpoint::of_group`] takes a replication group, whose
//!    primary is looked up; nothing is connected before it is needed.
//! 2. [`RedisBus`] publishes with one constant script (`script.lua`): guard, entry with `prev`, push.
//! 3. One link per process subscribes to all topics and offers each push to its subscriptions.
//! 4. [`RedisReplay`] runs the relay's batches on a connection of its own, then waits for a replica.
//! 5. [`RedisDirectory`] keeps leases, pending assignments and reports with one more constant
//!    script (`leases.lua`), by Redis's own clock.
//! 6. `checkup` tells what is wrong with the server, and the cure.
//!
//! **Invariants.** Every connection is opened through the endpoint's name and given up at the first
//! sign that it leads to the wrong place. No caller can leave one behind that hangs. Nothing read
//! from Redis panics, and nothing that users wrote is logged.
//!
//! **Not here.** Deadlines of a send, and what to do about a gap: that is `messaging` and the node.

mod bus;
mod checkup;
mod command;
mod cure;
mod discovery;
#[cfg(feature = "discovery")]
mod elasticache;
mod endpoint;
mod leases;
mod probe;
mod replay;
mod reply;
mod subscriber;
mod target;
mod topics;
mod wire;

pub use bus::RedisBus;
pub use discovery::{Address, FindError, FindGroup, Group, GroupAccess};
#[cfg(feature = "discovery")]
pub use elasticache::ElastiCache;
pub use endpoint::{Endpoint, EndpointError, Unreachable};
pub use leases::RedisDirectory;
pub use replay::RedisReplay;
