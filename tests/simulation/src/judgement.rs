//! Measures what a brownout costs and how soon the system recovers. The checker does not judge
//! that: a system can collapse without losing a message.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use checker::{Event, SendOutcome};

use crate::run::Report;

/// A run with a brownout, beside a run of the same world without it.
#[derive(Debug, Clone, Copy)]
pub struct Judgement {
    /// Store calls and frames to clients, from the brownout's start to ten seconds after its end.
    pub work: u64,
    /// The same in the quiet world, in the same period.
    pub quiet_work: u64,
    /// Time from the brownout's end until the p99 of deliveries is as low as in a quiet world.
    pub calm: Duration,
}

impl Judgement {
    /// Judges the time from the first fault's start to the last fault's end.
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

    /// The work during the brownout, divided by the quiet world's.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        self.work as f64 / self.quiet_work.max(1) as f64
    }

    /// Whether both bounds are met.
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

/// The work done between two times, to the second.
fn work(report: &Report, from: Duration, until: Duration) -> u64 {
    let by = |time: Duration| {
        let before = report.work.iter().take_while(|(at, _)| *at <= time);
        before.last().map_or(0, |(_, done)| *done)
    };
    by(until) - by(from)
}

/// Time from the brownout's end until the p99 of each half second is as low as in a quiet world. A
/// message that was sent before the end is timed from its answer or from the end, whichever is
/// later; one that was sent afterwards, from its sending.
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

/// How long work is still counted after the last fault's end.
const AFTER: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_millis(500);
/// The p99 in a quiet world, with the send itself: see `a_quiet_world_delivers_at_once`.
const QUIET_P99: Duration = Duration::from_millis(500);
/// Bound: the work, as a multiple of the quiet world's.
const AMPLIFICATION_MAX: f64 = 2.0;
/// Bound: the recovery time.
const CALM_MAX: Duration = Duration::from_secs(5);
