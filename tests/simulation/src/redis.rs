//! A model of Redis: two servers with asynchronous replication under one name. Connections break in
//! every way that real ones do. `redis-bus` runs on it unchanged, through its connection trait.
//!
//! It models what loses messages. A promoted replica lacks the tail of the stream, of the
//! spool AND the guards.
//! Clients stay connected to the old primary, which may go on answering. A half-open connection is
//! silent. A subscriber may be disconnected, unsubscribed, or miss a push.

mod command;
mod connection;
mod keys;
mod leases;
mod presence;
mod receipts;
mod server;
mod sessions;
mod spool;
mod stream;

pub(crate) use server::{Redis, Refusal, Trouble};
