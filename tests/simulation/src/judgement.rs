//! What a trouble costs while it lasts, and how soon it is over: the judgement that the checker does
//! not make, since nothing needs to be lost in a collapse.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use checker::{Event, SendOutcome};

use crate::run::Report;

/// A run with a trouble, beside a run of the same world without it.
#[derive(Debug, Clone, Copy)]
pub struct Judgement {
    /// Calls of the store and frames to clients, from the trouble's beginning until some seconds
    /// after its end.
    pub work: u64,
    /// The same in the quiet world, at the same time.
    pub quiet_work: u64,
    /// From the trouble's end until the p99 of deliveries is that of a quiet world.
    pub calm: Duration,
}

impl Judgement {
    /// Judges a run by its first fault's beginning and its last one's end.
    #[must_use]
    pub fn of(troubled: &Report, quiet: &Report) -> Self {
        let events = &troubled.history.events;
        let began = events.iter().find(|(_, event)| matches!(event, Event::FaultBegan { .. }));
        let ended = events.iter().rfind(|(_, event)| matches!(event, Event::FaultEnded { .. }));
        let began = began.map_or(Duration::ZERO, |(at, _)| *at);
        let ended = ended.map_or(Duration::MAX, |(at, _)| *at);
        let until = ended.saturating_add(AFTER);
        Self {
            work: work(troubled, began, until),
            quiet_work: work(quiet, began, until),
            calm: calm(troubled, ended),
        }
    }

    /// How many times the work of the quiet world was done.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        self.work as f64 / self.quiet_work.max(1) as f64
    }

    /// Whether both bars are met.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.amplification() <= AMPLIFICATION_MAX && self.calm <= CALM_MAX
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "amplification x{:.2} ({} calls and frames, quiet {}; bar x{AMPLIFICATION_MAX}), calm after \
             {:.1?} (bar {CALM_MAX:?})",
            self.amplification(),
            self.work,
            self.quiet_work,
            self.calm
        )
    }
}

/// What was done between two times, to the second.
fn work(report: &Report, from: Duration, until: Duration) -> u64 {
    let by = |time: Duration| {
        let before = report.work.iter().take_while(|(at, _)| *at <= time);
        before.last().map_or(0, |(_, done)| *done)
    };
    by(until) - by(from)
}

/// From the end until the p99 of what arrives in each half of a second is a quiet world's. What was
/// sent before is late from its answer or the end, whichever is later; what was sent afterwards,
/// from its sending.
fn calm(report: &Report, ended: Duration) -> Duration {
    let (mut started, mut due) = (BTreeMap::new(), BTreeMap::new());
    let mut windows: BTreeMap<u128, Vec<Duration>> = BTreeMap::new();
    for (at, event) in &report.history.events {
        if let Event::SendStarted { send, .. } = event {
            started.entry(*send).or_insert(*at);
        }
        if let Event::SendEnded { send, outcome: SendOutcome::Stored(id) } = event {
            let began = started.get(send).copied().unwrap_or(*at);
            due.entry(*id).or_insert(if began >= ended { began } else { ended.max(*at) });
        }
    }
    for (at, event) in &report.history.events {
        if let Event::Seen { id, fresh: true, .. } = event
            && *at > ended
            && let Some(due) = due.get(id)
        {
            let window = (*at - ended).as_millis() / WINDOW.as_millis();
            windows.entry(window).or_default().push(at.saturating_sub(*due));
        }
    }
    let restless = windows.into_iter().filter_map(|(window, mut late)| {
        late.sort_unstable();
        let p99 = late.get((late.len() - 1) * 99 / 100)?;
        (*p99 > QUIET_P99).then_some(window)
    });
    restless
        .max()
        .map_or(Duration::ZERO, |window| WINDOW * u32::try_from(window + 1).unwrap_or(u32::MAX))
}

/// What is counted after the last fault's end.
const AFTER: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_millis(500);
/// What a delivery takes in a quiet world, with a send's own time: see `a_quiet_world_delivers_at_once`.
const QUIET_P99: Duration = Duration::from_millis(500);
/// Bar: how many times the quiet work.
const AMPLIFICATION_MAX: f64 = 2.0;
/// Bar: how long until all is as before.
const CALM_MAX: Duration = Duration::from_secs(5);
