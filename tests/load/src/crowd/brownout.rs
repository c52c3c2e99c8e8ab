//! A brownout as the crowd sees it: what arrives while the store is silent, and afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Crowd, pump};
use crate::Failed;
use crate::client::Arrival;
use crate::publish::{Publisher, Schedule};

/// An open loop through a brownout: how much arrived of what was published before and after its
/// end, how late it was, and how many resyncs each socket got.
pub(super) fn through(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    schedule: Schedule,
    per_second: u64,
    back_s: f64,
    listen_s: u64,
) -> Result<serde_json::Value, Failed> {
    let each: Vec<u64> = schedule.channels().map(|channel| crowd.here(channel)).collect();
    let mut due: Vec<u64> =
        each.iter().copied().cycle().take(usize::try_from(schedule.messages)?).collect();
    let before = |number: u64| (number as f64) < back_s * per_second as f64;
    let mut counts = BrownoutCounts::new(crowd.clients.len(), due.iter().sum());
    let numbers = (0..schedule.messages).zip(&due);
    counts.backlog = numbers.filter(|(number, _)| before(*number)).map(|(_, due)| due).sum();
    let gone_before = crowd.gone;
    let begun = Instant::now();
    publisher.publish(schedule)?;
    let times = Arc::clone(&publisher.times);
    while begun.elapsed().as_secs() < listen_s {
        let (clients, gone) = (&mut crowd.clients, &mut crowd.gone);
        let now = || begun.elapsed().as_secs_f64();
        pump(
            &crowd.epoll,
            clients,
            &mut crowd.buffer,
            LISTEN,
            |client, _, arrival| match arrival {
                Arrival::Message(number) => {
                    let left = usize::try_from(number).ok().and_then(|number| due.get_mut(number));
                    let Some(left) = left.filter(|left| **left > 0) else {
                        counts.again += 1;
                        return;
                    };
                    *left -= 1;
                    let late = times.of(number).elapsed().as_secs_f64() * 1e3;
                    counts.delivered(now(), back_s, before(number), late);
                }
                Arrival::Resync => counts.resync(client, now()),
                Arrival::End => *gone += 1,
                Arrival::Upgraded | Arrival::Ready => {}
            },
        )?;
    }
    Ok(counts.json(crowd.gone - gone_before))
}

/// What arrived during a brownout and after it.
#[derive(Debug)]
struct BrownoutCounts {
    due: u64,
    missing: u64,
    /// Deliveries of what was published before the end that have not arrived yet.
    backlog: u64,
    /// Seconds from the end until all of these had arrived.
    backlog_s: Option<f64>,
    while_silent: u64,
    again: u64,
    live_ms: Vec<f64>,
    resyncs: Vec<u32>,
    deliveries_a_second: Vec<u64>,
    resyncs_a_second: Vec<u64>,
}

impl BrownoutCounts {
    fn new(sockets: usize, due: u64) -> Self {
        Self {
            due,
            missing: due,
            backlog: 0,
            backlog_s: None,
            while_silent: 0,
            again: 0,
            live_ms: Vec::new(),
            resyncs: vec![0; sockets],
            deliveries_a_second: Vec::new(),
            resyncs_a_second: Vec::new(),
        }
    }

    fn delivered(&mut self, now: f64, back_s: f64, is_backlog: bool, late_ms: f64) {
        self.missing -= 1;
        add(&mut self.deliveries_a_second, now);
        self.while_silent += u64::from(now < back_s);
        if is_backlog {
            self.backlog -= 1;
            if self.backlog == 0 {
                self.backlog_s = Some((now - back_s).max(0.0));
            }
        } else {
            self.live_ms.push(late_ms);
        }
    }

    fn resync(&mut self, client: usize, now: f64) {
        add(&mut self.resyncs_a_second, now);
        if let Some(count) = self.resyncs.get_mut(client) {
            *count += 1;
        }
    }

    fn json(&self, gone: usize) -> serde_json::Value {
        let resyncs: u64 = self.resyncs.iter().map(|count| u64::from(*count)).sum();
        json!({ "due": self.due, "delivered": self.due - self.missing, "missing": self.missing,
                "while_silent": self.while_silent, "again": self.again,
                "backlog_s": self.backlog_s,
                "live_p99_ms": crate::stats::percentile(&self.live_ms, 99.0),
                "resyncs": resyncs, "resyncs_a_socket": self.resyncs.iter().max(),
                "gone": gone, "deliveries_a_second": self.deliveries_a_second,
                "resyncs_a_second": self.resyncs_a_second })
    }
}

/// Counts one event in its second.
fn add(a_second: &mut Vec<u64>, now: f64) {
    let second = usize::try_from(Duration::from_secs_f64(now.max(0.0)).as_secs()).unwrap_or(0);
    if a_second.len() <= second {
        a_second.resize(second + 1, 0);
    }
    if let Some(count) = a_second.get_mut(second) {
        *count += 1;
    }
}

/// How long one wait for input lasts.
const LISTEN: Duration = Duration::from_millis(100);
