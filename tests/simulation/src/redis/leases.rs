//! The node directory, with the steps of `leases.lua`.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use redis::Value;

use super::command::{error, text};
use super::keys::{Done, Permit};
use super::server::Refusal;

/// Leases by node, and reports by `<node> <workspace> <user>`.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases {
    nodes: BTreeMap<String, Leased>,
    reports: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Clone)]
struct Leased {
    details: String,
    renewed_at: Timestamp,
    pending_until: Vec<Timestamp>,
    /// When the node was last given to each user, by `<workspace> <user>`.
    given: BTreeMap<String, Timestamp>,
}

impl Leases {
    /// Runs the script with its arguments.
    pub(super) fn run(
        &mut self,
        args: &[String],
        now: Timestamp,
        permit: Permit,
    ) -> Result<Done, Refusal> {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let [call, memory, report_memory, args @ ..] = args.as_slice() else {
            return Ok(Done::answering(error("ERR wrong number of arguments")));
        };
        let (memory, report_memory) = (ms(memory), ms(report_memory));
        match (*call, args) {
            ("renew", [node, details]) => {
                permit.to_grow()?;
                self.renew(node, details, now);
                self.forget(now, memory, report_memory);
                Ok(Done::writing(number(now.unix_ms())))
            }
            ("withdraw", [node]) => {
                permit.to_shrink()?;
                self.nodes.remove(*node);
                Ok(Done::writing(Value::Int(1)))
            }
            ("fleet", []) => {
                permit.to_shrink()?;
                self.forget(now, memory, report_memory);
                Ok(Done::answering(self.fleet(now)))
            }
            ("reserve", [ttl, workspace, user, _, most, candidates @ ..]) => {
                permit.to_grow()?;
                let user = format!("{workspace} {user}");
                let taken = self.reserve(candidates, ms(ttl), &user, count(most), now);
                Ok(Done::writing(taken))
            }
            ("report", [node, workspace, user, memory, most, most_of_one]) => {
                if !self.was_given(node, &format!("{workspace} {user}"), ms(memory), now) {
                    return Ok(Done::answering(Value::Int(0)));
                }
                permit.to_grow()?;
                self.reports.insert(format!("{node} {workspace} {user}"), now);
                let prefix = format!("{node} {workspace} ");
                keep_newest(&mut self.reports, &prefix, count(most_of_one));
                keep_newest(&mut self.reports, "", count(most));
                Ok(Done::writing(Value::Int(1)))
            }
            _ => Ok(Done::answering(error("ERR unknown call of the script"))),
        }
    }

    fn renew(&mut self, node: &str, details: &str, now: Timestamp) {
        let leased = self.nodes.entry(node.to_owned()).or_insert_with(|| Leased {
            details: String::new(),
            renewed_at: now,
            pending_until: Vec::new(),
            given: BTreeMap::new(),
        });
        (leased.details, leased.renewed_at) = (details.to_owned(), now);
    }

    fn forget(&mut self, now: Timestamp, memory: Duration, report_memory: Duration) {
        self.nodes.retain(|_, node| now.since(node.renewed_at) <= memory);
        self.reports.retain(|_, at| now.since(*at) <= report_memory);
    }

    fn fleet(&mut self, now: Timestamp) -> Value {
        let nodes = self.nodes.iter_mut().map(|(node, leased)| {
            let pending = leased.pending(now);
            let (renewed_at, age) = (leased.renewed_at, now.ms_after(leased.renewed_at));
            Value::Array(vec![
                text(node),
                Value::Int(age),
                text(&leased.details),
                number(pending),
                number(renewed_at.unix_ms()),
            ])
        });
        let nodes = Value::Array(nodes.collect());
        let reports = self
            .reports
            .iter()
            .map(|(report, at)| Value::Array(vec![text(report), Value::Int(now.ms_after(*at))]));
        Value::Array(vec![nodes, Value::Array(reports.collect())])
    }

    fn reserve(
        &mut self,
        candidates: &[&str],
        ttl: Duration,
        user: &str,
        given_max: usize,
        now: Timestamp,
    ) -> Value {
        let mut lightest: Option<(u64, &str)> = None;
        for node in candidates {
            let Some(leased) = self.nodes.get_mut(*node) else { continue };
            leased.given.insert(user.to_owned(), now);
            keep_newest(&mut leased.given, "", given_max);
            let load = leased.connections() + leased.pending(now);
            if lightest.is_none_or(|(least, _)| load < least) {
                lightest = Some((load, node));
            }
        }
        let Some((_, taken)) = lightest else { return Value::Nil };
        if let Some(leased) = self.nodes.get_mut(taken) {
            leased.pending_until.push(now.plus(ttl));
        }
        text(taken)
    }

    fn was_given(&self, node: &str, user: &str, memory: Duration, now: Timestamp) -> bool {
        let given = self.nodes.get(node).and_then(|leased| leased.given.get(user));
        given.is_some_and(|at| now.since(*at) <= memory)
    }
}

impl Leased {
    fn pending(&mut self, now: Timestamp) -> u64 {
        self.pending_until.retain(|until| *until > now);
        self.pending_until.len() as u64
    }

    fn connections(&self) -> u64 {
        let details = serde_json::from_str::<serde_json::Value>(&self.details).ok();
        details.and_then(|details| details.get("connections")?.as_u64()).unwrap_or(0)
    }
}

/// Keeps the newest `most` of the members that begin with `prefix`.
fn keep_newest(members: &mut BTreeMap<String, Timestamp>, prefix: &str, most: usize) {
    let mut newest: Vec<(Timestamp, String)> = members
        .iter()
        .filter(|(member, _)| member.starts_with(prefix))
        .map(|(member, at)| (*at, member.clone()))
        .collect();
    newest.sort();
    for (_, member) in newest.iter().rev().skip(most) {
        members.remove(member);
    }
}

fn ms(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap_or(0))
}

fn count(text: &str) -> usize {
    text.parse().unwrap_or(0)
}

fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
