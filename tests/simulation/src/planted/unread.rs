//! Bug 16: what is unread is a counter that is stored, incremented by sends and reset by marks.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::Call;
use parking_lot::Mutex;
use serde_json::Value;

/// The counters of all users and channels, by their ids as text. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters(Arc<Mutex<BTreeMap<(String, String), u64>>>);

/// A call, as far as counters go by it.
#[derive(Debug)]
pub(crate) struct Counted {
    path: String,
    caller: String,
    body: Value,
}

impl Counted {
    /// The caller is in the middle of the unsigned token.
    pub(crate) fn of(call: &Call) -> Self {
        let token = call.headers.get("authorization").and_then(|value| value.to_str().ok());
        let caller = token.and_then(|token| token.split('.').nth(1));
        Self {
            path: call.path.clone(),
            caller: caller.unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&call.body).unwrap_or_default(),
        }
    }
}

impl Counters {
    /// Counts a call that was answered with 200, and writes the counters into the answer.
    pub(crate) fn spoil(&self, call: &Counted, answer: &mut Vec<u8>) {
        let mut counters = self.0.lock();
        let id = |value: &Value| {
            let id = value.get("channel_id").and_then(Value::as_str);
            id.unwrap_or_default().to_owned()
        };
        if call.path == "/messages" {
            // Each attempt counts, whether it was the first one or not.
            let channel = id(&call.body);
            for ((user, of), counter) in counters.iter_mut() {
                *counter += u64::from(*of == channel && *user != call.caller);
            }
        } else if call.path == "/read" {
            let marks = call.body.get("marks").and_then(Value::as_array);
            for mark in marks.into_iter().flatten() {
                counters.insert((call.caller.clone(), id(mark)), 0);
            }
        } else if call.path.starts_with("/unread") {
            let Ok(mut body) = serde_json::from_slice::<Value>(answer) else { return };
            let channels = body.get_mut("channels").and_then(Value::as_array_mut);
            for channel in channels.into_iter().flatten() {
                let counter = counters.entry((call.caller.clone(), id(channel))).or_default();
                if let Some(unread) = channel.get_mut("unread") {
                    *unread = Value::from((*counter).min(99));
                }
            }
            *answer = body.to_string().into_bytes();
        }
    }
}
