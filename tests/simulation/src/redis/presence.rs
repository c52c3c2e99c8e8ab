//! The book of presence, with the steps of `presence.lua`.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use redis::Value;

use super::command::{error, text};
use super::keys::{Done, Permit};
use super::server::Refusal;

/// The parts of all nodes, and the set of nodes of each workspace.
#[derive(Debug, Clone, Default)]
pub(super) struct Books {
    parts: BTreeMap<String, Part>,
    nodes: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

#[derive(Debug, Clone, Default)]
struct Part {
    number: u64,
    users: BTreeMap<String, String>,
    until: Timestamp,
}

impl Books {
    /// Runs the script with its keys and arguments.
    pub(super) fn run(
        &mut self,
        keys: &[String],
        args: &[String],
        now: Timestamp,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ([set, key], [call, ttl, node, args @ ..]) = (keys, args.as_slice()) else {
            return Ok(Done::answering(error("ERR wrong number of arguments")));
        };
        let ttl = Duration::from_millis(ttl.parse().unwrap_or(0));
        self.parts.retain(|_, part| part.until > now);
        let last = self.parts.get(key).map(|part| part.number);
        match (*call, args) {
            ("announce", [number, whole, left, users @ ..]) => {
                let (number, is_whole) = (number.parse().unwrap_or(0), *whole == "1");
                if last == Some(number) {
                    return Ok(Done::answering(Value::Int(1)));
                }
                let is_next = last.is_some_and(|last| last + 1 == number);
                let is_newer = last.is_none_or(|last| last < number);
                if !(if is_whole { is_newer } else { is_next }) {
                    return Ok(Done::answering(Value::Int(0)));
                }
                permit.to_grow()?;
                let mut users_before = self.parts.remove(key).unwrap_or_default().users;
                if is_whole {
                    users_before.clear();
                }
                let (left, here) = users.split_at(left.parse().unwrap_or(0).min(users.len()));
                users_before.retain(|user, _| !left.contains(&user.as_str()));
                for pair in here.chunks_exact(2) {
                    let [user, state] = pair else { continue };
                    users_before.insert((*user).to_owned(), (*state).to_owned());
                }
                if users_before.is_empty() {
                    if let Some(nodes) = self.nodes.get_mut(set) {
                        nodes.remove(*node);
                    }
                    return Ok(Done::writing(Value::Int(1)));
                }
                let until = now.plus(ttl);
                self.parts.insert(key.clone(), Part { number, users: users_before, until });
                self.keep(set, node, ttl, now);
                Ok(Done::writing(Value::Int(1)))
            }
            ("renew", [number]) => {
                let Some(part) = self.parts.get_mut(key).filter(|_| last == number.parse().ok())
                else {
                    return Ok(Done::answering(Value::Int(0)));
                };
                permit.to_grow()?;
                part.until = now.plus(ttl);
                self.keep(set, node, ttl, now);
                Ok(Done::writing(Value::Int(1)))
            }
            ("nodes", []) => {
                let nodes = self.nodes.get(set).into_iter().flatten();
                let nodes = nodes.filter(|(_, at)| now.since(**at) <= ttl);
                let nodes = nodes.map(|(node, _)| text(node)).collect();
                Ok(Done::answering(Value::Array(nodes)))
            }
            ("present", []) => {
                let part = self.parts.get(key).into_iter();
                let fields = part.flat_map(|part| {
                    let number = [text("#"), text(part.number.to_string())];
                    let users = part.users.iter().flat_map(|(user, state)| [user, state].map(text));
                    number.into_iter().chain(users)
                });
                Ok(Done::answering(Value::Array(fields.collect())))
            }
            _ => Ok(Done::answering(error("ERR unknown call of the script"))),
        }
    }

    fn keep(&mut self, set: &str, node: &str, ttl: Duration, now: Timestamp) {
        let nodes = self.nodes.entry(set.to_owned()).or_default();
        nodes.insert(node.to_owned(), now);
        nodes.retain(|_, at| now.since(*at) <= ttl);
    }
}
