//! Ticks: each socket has a moment of the interval of its own, so that a workspace of many does not
//! write to all of them at once. The moments are the clock's: who comes in a herd is spread as well.

use model::{Timestamp, limits};
use protocol::frame::ServerFrame;

use super::{Effect, Workspace};
use crate::audience::{Audience, SocketId};

/// How far a workspace's ticks and audits are.
#[derive(Debug)]
pub(super) struct Ticks {
    /// The last moment whose sockets had theirs.
    moment: u64,
    audit_at: Timestamp,
}

impl Ticks {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { moment: moment_of(now), audit_at: now.plus(AUDIT) }
    }

    /// How many moments after the last one a socket is due: 1 to all of them.
    fn ahead(&self, socket: SocketId) -> u64 {
        let (last, own) = (self.moment % MOMENTS, socket.serial % MOMENTS);
        (own + MOMENTS - last - 1) % MOMENTS + 1
    }
}

impl Workspace {
    /// When [`super::Input::Tick`] has something to do. Earlier once a socket was attached whose
    /// moment comes before.
    #[must_use]
    pub fn next_tick(&self) -> Timestamp {
        let ahead = self.sockets.keys().map(|socket| self.ticks.ahead(*socket));
        // Of many sockets some are in the next moment: not worth a look at each.
        let is_crowded = self.sockets.len() > CROWD;
        let soonest = if is_crowded { 1 } else { ahead.min().unwrap_or(MOMENTS) };
        let next = Timestamp::from_unix_ms((self.ticks.moment + soonest) * MOMENT_MS);
        if self.sockets.is_empty() { next } else { next.min(self.ticks.audit_at) }
    }

    /// Ticks for the sockets whose moment has come since the last time.
    pub(super) fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let moment = moment_of(now);
        // A clock that was set back, or far ahead, has left all of them behind.
        let passed = moment.checked_sub(self.ticks.moment).unwrap_or(MOMENTS);
        let is_due = |socket: &SocketId| self.ticks.ahead(*socket) <= passed;
        let mut due: Vec<SocketId> = self.sockets.keys().copied().filter(is_due).collect();
        self.ticks.moment = moment;
        if !due.is_empty() {
            // In one order, so that a run can be repeated.
            due.sort_unstable();
            let (cursor, fresh) = (self.cursor(), self.is_fresh());
            let tick = ServerFrame::Tick { cursor, server_time: now, fresh };
            let frame = (self.framing)(tick.encode());
            let to = Audience::of(due);
            effects.push(Effect::Deliver { frame, to, is_live: true, publication: None });
        }
        let is_audit_due = now >= self.ticks.audit_at || self.ticks.audit_at.since(now) > AUDIT;
        if is_audit_due && !self.sockets.is_empty() {
            self.ticks.audit_at = now.plus(AUDIT);
            self.audit(effects);
        }
    }
}

fn moment_of(now: Timestamp) -> u64 {
    now.unix_ms() / MOMENT_MS
}

/// Into how many moments an interval is divided: of 10,000 sockets 167 are written to in one, some
/// milliseconds of a core.
const MOMENTS: u64 = 300;
/// More sockets than this are looked at in each moment.
const CROWD: usize = 256;
const MOMENT_MS: u64 = limits::TICK.as_secs() * 1_000 / MOMENTS;
/// How often the tail is compared with the stream's.
const AUDIT: std::time::Duration = std::time::Duration::from_secs(30);
