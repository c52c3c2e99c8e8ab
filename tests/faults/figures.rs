//! Times, and how they are told.

use std::time::Duration;

use client::{Event, How};
use model::MessageId;
use tests::person::Person;
use tokio::time::Instant;

/// A figure's line.
macro_rules! figure {
    ($($text:tt)*) => { println!("figure: {}", format_args!($($text)*)) };
}
pub(crate) use figure;

/// A percentile of some times.
pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

/// When a message reached a person first, on whatever path.
pub(crate) fn reached_at(person: &Person, id: MessageId) -> Option<Instant> {
    first(person, id, |_| true)
}

/// When a message was first pushed on a person's socket.
pub(crate) fn pushed_at(person: &Person, id: MessageId) -> Option<Instant> {
    first(person, id, |how| how == How::Pushed)
}

fn first(person: &Person, id: MessageId, wanted: impl Fn(How) -> bool) -> Option<Instant> {
    person.look(|log| {
        log.iter().find_map(|logged| match &logged.event {
            Event::Message { message, how, .. } if message.id == id && wanted(*how) => {
                Some(logged.at)
            }
            _ => None,
        })
    })
}

/// When the last of these messages reached the last of these people; `None` before that.
pub(crate) fn complete_at(people: &[Person], ids: &[MessageId]) -> Option<Instant> {
    let mut latest = None;
    for person in people {
        for id in ids {
            latest = latest.max(Some(reached_at(person, *id)?));
        }
    }
    latest
}

/// How often sockets ended without a word of the node's.
pub(crate) fn lost(people: &[Person]) -> usize {
    people.iter().map(|person| person.count(|event| matches!(event, Event::Lost { .. }))).sum()
}

/// Messages that these people's catch-ups brought, and how many of them they had.
pub(crate) fn caught_up(people: &[Person]) -> (u64, u64) {
    people.iter().fold((0, 0), |counts, person| {
        let inbox = person.client.inbox();
        inbox.timelines().fold(counts, |(read, known), (_, timeline)| {
            (read + timeline.caught_up(), known + timeline.caught_up_again())
        })
    })
}

/// Names of so many users.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user{n}")).collect()
}

/// The same as `&str`s.
pub(crate) fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
