//! The bus and the node directory on Redis or Valkey. Both hold only what can be rebuilt.
//!
//! **Main path.**
//! 1. [`Endpoint::parse`] reads a URL; [`Endpoint::of_group`] takes a replication group and looks its
//!    primary up. Neither connects before a connection is needed.
//! 2. [`RedisBus`] publishes with one constant script (`publish.lua`): guard, entry with `prev`, push.
//! 3. One link per process subscribes to all topics and offers each push to its subscriptions.
//! 4. [`RedisRelayBus`] runs the relay's batches on its own connection, then waits for a replica.
//! 5. [`RedisDirectory`] keeps leases, pending assignments and reports with a second constant script
//!    (`leases.lua`), by Redis's clock.
//! 6. [`RedisBus`] keeps the book of presence with a third one (`presence.lua`).
//! 7. [`RedisBus`] delivers what is not stored yet with the first script and a spool, on a connection of
//!    its own, and waits for a replica (`spool`).
//! 8. [`RedisBus`] keeps the receipts' watermarks with one more script (`receipts.lua`).
//! 9. `health_check` reports what is wrong with the server, and the fix.
//!
//! All of it runs on the traits [`Connector`] and [`Connection`]. The programs connect over the
//! network; the simulation connects to its model of Redis ([`Endpoint::through`]).
//!
//! **Invariants.** Every connection is opened through the endpoint's name, and given up at the first
//! sign that it leads to the wrong server. No caller can leave a hanging connection to the next one.
//! No answer of Redis causes a panic, and nothing that users wrote is logged.
//!
//! **Not here.** The deadline of a send, and what to do about a gap: see `messaging` and the node.

mod address;
mod bus;
mod codec;
mod command;
mod connection;
mod diagnosis;
mod discovery;
#[cfg(feature = "discovery")]
mod elasticache;
mod endpoint;
mod health_check;
mod leases;
mod link;
mod presence;
mod probe;
mod receipts;
mod relay_bus;
mod reply;
mod sessions;
mod spool;
mod subscriber;
mod topics;

pub use bus::RedisBus;
pub use connection::{Connection, Connector, OnPush};
pub use discovery::{FindError, FindGroup, Group, GroupAccess, HostPort};
#[cfg(feature = "discovery")]
pub use elasticache::ElastiCache;
pub use endpoint::{Endpoint, EndpointError, Unreachable};
pub use leases::RedisDirectory;
pub use relay_bus::RedisRelayBus;
