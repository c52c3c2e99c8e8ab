//! The store, and what its ports share.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use messaging::ports::ReadError;
use model::backoff;

use crate::call::COST;
use crate::capacity::{Capacity, Operation};
use crate::error::CallError;
use crate::item::Item;
use crate::keys::Key;
use crate::schema::TableNames;

/// The store's ports on its four tables. Clones share the client's connections and the counter.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    pub(crate) client: Client,
    pub(crate) tables: TableNames,
    pub(crate) prefix: String,
    pub(crate) capacity: Capacity,
}

impl DynamoStore {
    /// Creates a store on the tables under `prefix`. It counts what it costs in `capacity`.
    #[must_use]
    pub fn new(client: Client, prefix: &str, capacity: Capacity) -> Self {
        Self {
            client,
            tables: TableNames::with_prefix(prefix),
            prefix: prefix.to_owned(),
            capacity,
        }
    }

    /// Reads rows by key, strongly, and retries the keys that the store left unprocessed. Rows come
    /// by table, in no order; absent ones are left out. At most 100 keys, all different.
    pub(crate) async fn batch_get(
        &self,
        keys: Vec<(&str, Vec<Key>)>,
    ) -> Result<HashMap<String, Vec<Item>>, ReadError> {
        let mut wanted = HashMap::new();
        for (table, keys) in keys {
            let keys = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            let keys = keys.build().map_err(|err| ReadError::Unavailable(Box::new(err)))?;
            wanted.insert(table.to_owned(), keys);
        }
        let mut found: HashMap<String, Vec<Item>> = HashMap::new();
        for round in 0..UNPROCESSED_ROUNDS_MAX {
            let wanted_now = self.client.batch_get_item().set_request_items(Some(wanted));
            let read = wanted_now.return_consumed_capacity(COST).send();
            let answer = self.read(Operation::BatchGet, read).await?;
            for (table, rows) in answer.responses.unwrap_or_default() {
                found.entry(table).or_default().extend(rows);
            }
            wanted = answer.unprocessed_keys.unwrap_or_default();
            if wanted.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(backoff(UNPROCESSED_WAIT, round)).await;
        }
        Err(ReadError::Throttled(Box::new(CallError::Unprocessed {
            operation: Operation::BatchGet.as_str(),
            rounds: UNPROCESSED_ROUNDS_MAX,
        })))
    }
}

/// Keys per batch read: the store's own limit.
pub(crate) const BATCH_KEYS_MAX: usize = 100;
/// How often a batch read is tried for keys that the store left unprocessed.
const UNPROCESSED_ROUNDS_MAX: u32 = 5;
/// The first and the longest wait between these tries.
const UNPROCESSED_WAIT: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(320));
