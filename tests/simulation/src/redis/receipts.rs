//! The watermarks of channels, and who keeps which message, with the steps of `receipts.lua` and `keepers.lua`.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use redis::Value;

use super::command::{error, text};
use super::keys::{Done, Permit};
use super::server::Refusal;

/// The hash of each channel and of each message, and until when it lives.
#[derive(Debug, Clone, Default)]
pub(super) struct Receipts(BTreeMap<String, (Timestamp, BTreeMap<String, String>)>);

impl Receipts {
    /// Runs the script with its keys and arguments.
    pub(super) fn run(
        &mut self,
        keys: &[String],
        args: &[String],
        now: Timestamp,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        let ([key, topic], [life, signal, marks @ ..]) = (keys, args) else {
            return Ok(Done::answering(error("ERR wrong number of arguments")));
        };
        permit.to_grow()?;
        let (until, fields) = self.0.entry(key.clone()).or_default();
        if *until <= now {
            fields.clear();
        }
        for pair in marks.chunks_exact(2) {
            if let [field, id] = pair
                && fields.get(field).is_none_or(|known| known < id)
            {
                fields.insert(field.clone(), id.clone());
            }
        }
        *until = now.plus(Duration::from_millis(life.parse().unwrap_or(0)));
        let push = Some((topic.clone(), signal.clone()));
        Ok(Done { push, ..Done::writing(text("OK")) })
    }

    /// Runs `keepers.lua` with its keys and arguments.
    pub(super) fn note_keepers(
        &mut self,
        keys: &[String],
        args: &[String],
        now: Timestamp,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        let [life, devices @ ..] = args else {
            return Ok(Done::answering(error("ERR wrong number of arguments")));
        };
        permit.to_grow()?;
        for (key, device) in keys.iter().zip(devices) {
            let (until, fields) = self.0.entry(key.clone()).or_default();
            if *until <= now {
                fields.clear();
            }
            fields.insert(device.clone(), String::new());
            *until = now.plus(Duration::from_millis(life.parse().unwrap_or(0)));
        }
        Ok(Done::writing(text("OK")))
    }

    /// `HGETALL`.
    pub(super) fn read(&self, key: &str, now: Timestamp) -> Value {
        let known = self.0.get(key).filter(|(until, _)| *until > now);
        let fields = known.into_iter().flat_map(|(_, fields)| fields);
        Value::Array(fields.flat_map(|(name, value)| [text(name), text(value)]).collect())
    }
}
