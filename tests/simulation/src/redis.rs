//! A model of Redis: two servers with asynchronous replication under one name, and connections that
//! break in every way that real ones do. `redis-bus` runs on it unchanged, by its connection trait.
//!
//! It models what loses messages: a promoted replica lacks the tail of stream AND guards; clients
//! stay connected to the old primary, which may go on answering; a half-open connection is silent; a
//! subscriber may be disconnected, unsubscribed, or skipped by a push.

mod command;
mod connection;
mod keys;
mod leases;
mod server;
mod stream;

pub(crate) use server::{Redis, Refusal, Trouble};
