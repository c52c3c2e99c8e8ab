//! What the fault tests measure, and how it is printed.

use std::collections::HashSet;
use std::fmt;

use client::{Event, Source};
use model::MessageId;
use tests::person::{Logged, Person};
use tokio::time::Instant;

/// Prints the line of a figure.
macro_rules! figure {
    ($($text:tt)*) => { println!("figure: {}", format_args!($($text)*)) };
}
pub(crate) use figure;

/// When the last of these people had all these messages; `None` if they do not have them yet.
pub(crate) fn complete_at(people: &[Person], ids: &[MessageId]) -> Option<Instant> {
    let mut latest = None;
    for person in people {
        for id in ids {
            latest = latest.max(Some(person.reached_at(*id)?));
        }
    }
    latest
}

/// What clients received, and how much of it they already had.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClientTraffic {
    /// Messages that were pushed on sockets.
    pub(crate) pushed: usize,
    /// Of these, the ones that had been pushed to this client before.
    pub(crate) pushed_again: usize,
    /// Messages that catch-ups after a gap read. What a client reads first does not count: all
    /// channels when it starts, and a channel that its user comes back to.
    pub(crate) read: usize,
    /// Of these, the ones that the client already had.
    pub(crate) read_again: usize,
    /// How often a channel started afresh, because its user came back to it.
    pub(crate) restarts: usize,
    /// Messages that were read for that.
    pub(crate) read_afresh: usize,
}

impl ClientTraffic {
    /// The sum over these people's clients.
    pub(crate) fn of(people: &[Person]) -> Self {
        let mut traffic = Self::default();
        people.iter().for_each(|person| person.look(|log| traffic.add(log)));
        traffic
    }

    fn add(&mut self, log: &[Logged]) {
        let mut pushed = HashSet::new();
        let mut is_first = true;
        let mut restarted = HashSet::new();
        for logged in log {
            match &logged.event {
                Event::Message { message, source: Source::Pushed, .. } => {
                    self.pushed += 1;
                    let key = (message.channel_id.clone(), message.id);
                    self.pushed_again += usize::from(!pushed.insert(key));
                }
                Event::Message { message, source: Source::CaughtUp, .. }
                    if restarted.contains(&message.channel_id) =>
                {
                    self.read_afresh += 1;
                }
                Event::Message { source: Source::CaughtUp, fresh, .. } if !is_first => {
                    self.read += 1;
                    self.read_again += usize::from(!fresh);
                }
                Event::Restarted { channel_id } => {
                    self.restarts += 1;
                    restarted.insert(channel_id.clone());
                }
                Event::CaughtUp { .. } => {
                    is_first = false;
                    restarted.clear();
                }
                _ => {}
            }
        }
    }

    /// The share of pushes that were duplicates.
    pub(crate) fn pushed_again_share(&self) -> f64 {
        self.pushed_again as f64 / self.pushed.max(1) as f64
    }

    /// The share of read messages that were already known.
    pub(crate) fn read_again_share(&self) -> f64 {
        self.read_again as f64 / self.read.max(1) as f64
    }
}

impl fmt::Display for ClientTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pushed, pushed_again, read, read_again, restarts, read_afresh } = self;
        write!(
            f,
            "{pushed} pushes, {pushed_again} of them again ({:.1} %); {read} rows read after gaps, \
             {read_again} of them known ({:.1} %); {restarts} channels afresh, {read_afresh} rows",
            self.pushed_again_share() * 100.0,
            self.read_again_share() * 100.0
        )
    }
}

/// How often sockets ended without a close frame from the node.
pub(crate) fn lost(people: &[Person]) -> usize {
    people
        .iter()
        .map(|person| person.count(|event| matches!(event, Event::Disconnected { .. })))
        .sum()
}

/// Names of `count` users.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user{n}")).collect()
}

/// The same as `&str`s.
pub(crate) fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
