//! The store on DynamoDB: four tables, one shape definition, the store's ports.
//!
//! **Main path.**
//! 1. [`client()`] builds the SDK's client with every limit set.
//! 2. [`DynamoStore::new`] creates the store from it.
//! 3. A port's method encodes its row (`item`, `keys`), makes one call, counts what it cost
//!    ([`Capacity`]), and maps errors (`error`).
//! 4. `attempt` watches the SDK's retries of a write, so that an unknown outcome is never reported
//!    as "not stored".
//!
//! **Invariants.** One port call is one call of the store wherever the port promises it. Nothing
//! read from a table causes a panic: an unreadable row is a [`MalformedRow`], without its content.
//! No request waits longer than [`model::limits::SEND_DEADLINE`].
//!
//! **Not here.** No rule about who may do what, no clock, no configuration.

mod attachments;
mod attempt;
mod call;
mod capacity;
mod channels;
mod client;
mod devices;
mod error;
mod health_check;
mod image;
mod item;
mod keys;
mod members;
mod mentions;
mod messages;
mod pins;
mod profiles;
mod provision;
mod read_marks;
mod revise;
mod revocations;
mod schema;
mod store;
mod threads;
mod update;

pub use capacity::{Capacity, Consumed, Cost, Operation};
pub use client::{ClientConfig, CredentialSource, client, paced, sdk_config};
pub use error::CallError;
pub use image::decode_log_image;
pub use item::{MalformedRow, RowBeside, decode_log_entry, file_row, row_beside};
pub use provision::{SchemaError, create_tables, verify_tables};
pub use schema::{
    Billing, KeyAttribute, KeyType, Schema, StreamView, TABLES_JSON, TableNames, TableShape, schema,
};
pub use store::DynamoStore;
