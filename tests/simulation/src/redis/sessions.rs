//! Sessions of channels that keep nothing, with the steps of `session.lua`.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;

use super::command::{error, text};
use super::keys::{By, Done, Permit};
use super::server::Refusal;

/// The sessions by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    by_key: BTreeMap<String, Session>,
    ignores_histories: bool,
}

#[derive(Debug, Clone)]
struct Session {
    id: String,
    n: u64,
    /// The history in which it was counted.
    history: String,
    seen: Timestamp,
    until: Timestamp,
}

impl Sessions {
    /// Runs the script with its keys and arguments.
    pub(super) fn run(
        &mut self,
        keys: &[String],
        args: &[String],
        by: &By,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        let (Some(key), [new, idle, life, around @ ..]) = (keys.first(), args) else {
            return Ok(Done::answering(error("ERR wrong number of arguments")));
        };
        let topic = keys.get(1);
        permit.to_grow()?;
        let By { at: now, history } = by;
        let is_whole = |session: &&Session| {
            session.until > *now
                && (session.history == *history || self.ignores_histories)
                && now.since(session.seen) <= ms(idle)
        };
        let known = self.by_key.get(key).filter(is_whole);
        let (id, n) = known.map_or((new.clone(), 0), |known| (known.id.clone(), known.n));
        let n = n + u64::from(topic.is_some());
        let (history, until) = (history.clone(), now.plus(ms(life)));
        let answer = format!("{id}:{n}");
        let push = match (topic, around) {
            (Some(topic), [before, after]) => {
                Some((topic.clone(), format!(r#"{before}{id}","n":{n}{after}"#)))
            }
            _ => None,
        };
        self.by_key.insert(key.clone(), Session { id, n, history, seen: *now, until });
        Ok(Done { push, ..Done::writing(text(answer)) })
    }

    /// Planted bug 21.
    pub(super) fn ignore_histories(&mut self) {
        self.ignores_histories = true;
    }

    /// No sessions, and the same bug.
    pub(super) fn emptied(&self) -> Self {
        Self { by_key: BTreeMap::new(), ..*self }
    }
}

fn ms(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap_or(0))
}
