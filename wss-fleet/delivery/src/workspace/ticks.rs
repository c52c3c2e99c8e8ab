//! Ticks. Each socket has its own moment, one interval after its `ready` and after each tick, so
//! that a large workspace does not write to all sockets at once.

use std::time::Duration;

use model::{Timestamp, limits};
use protocol::frame::ServerFrame;

use super::{Attach, Turn, Workspace};
use crate::audience::Audience;
use crate::delivered::Era;
use crate::roster::UserKey;

/// A socket that is attached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attached {
    /// Its user.
    pub(super) key: UserKey,
    /// The era in which it attached, or its user last joined a channel.
    pub(super) era: Era,
    /// The low bits of the moment of its next tick, which is at most an interval from now.
    tick: u16,
    /// Whether its user is away from it.
    pub(super) is_idle: bool,
    /// Whether its user is invisible on it.
    pub(super) is_invisible: bool,
    /// Whether its client handles `going`.
    pub(super) takes_going: bool,
    /// When its user's token expires.
    pub(super) ends_at: Timestamp,
}

impl Attached {
    /// Spreads the first ticks of sockets that were attached together.
    pub(super) fn new(key: UserKey, attach: &Attach, era: Era, now: Timestamp) -> Self {
        let earlier = bits(attach.socket.serial % SPREAD);
        let tick = bits(moment_of(now)).wrapping_add(MOMENTS).wrapping_sub(earlier);
        let Attach { ends_at, takes_going, is_invisible, .. } = *attach;
        Self { key, era, tick, is_idle: false, is_invisible, takes_going, ends_at }
    }

    /// Moments until the tick is due; 0 if it is. If the clock was set, the tick counts as due.
    fn ahead(&self, moment: u16) -> u16 {
        let ahead = self.tick.wrapping_sub(moment);
        if ahead > MOMENTS { 0 } else { ahead }
    }

    /// Moves the tick on by an interval, or to an interval from now if that is in the past.
    fn go_on(&mut self, moment: u16) {
        self.tick = self.tick.wrapping_add(MOMENTS);
        if self.ahead(moment) == 0 {
            self.tick = moment.wrapping_add(MOMENTS);
        }
    }
}

impl Workspace {
    /// When [`super::Input::Tick`] is due next. Call it again after each attach.
    #[must_use]
    pub fn next_tick(&self, now: Timestamp) -> Timestamp {
        let moment = moment_of(now);
        let ahead = self.sockets.values().map(|attached| attached.ahead(bits(moment)));
        // With many sockets, some are due in the next moment: looking at each is not worth it.
        let is_crowded = self.sockets.len() > CROWD;
        let soonest = if is_crowded { 1 } else { ahead.min().unwrap_or(MOMENTS) };
        let next = Timestamp::from_unix_ms((moment + u64::from(soonest)) * MOMENT_MS);
        let renew_at = self.presence.own.renew_at().unwrap_or(next);
        if self.sockets.is_empty() { next } else { next.min(self.audit_at).min(renew_at) }
    }

    /// Sends ticks to the sockets that are due.
    pub(super) fn on_tick(&mut self, turn: &mut Turn<'_>) {
        let moment = bits(moment_of(turn.now));
        let mut due = Vec::new();
        for (socket, attached) in &mut self.sockets {
            if attached.ahead(moment) == 0 {
                attached.go_on(moment);
                due.push(*socket);
            }
        }
        self.keep_meetings(turn);
        if !due.is_empty() {
            // Sorted, so that a run can be repeated.
            due.sort_unstable();
            for socket in &due {
                self.presence.watches.refresh(*socket, turn.now);
            }
            let (cursor, fresh) = (self.cursor(), self.is_fresh());
            let tick = ServerFrame::Tick { cursor, server_time: turn.now, fresh, every: None };
            self.send(&tick, Audience::of(due), turn);
        }
        let is_audit_due = turn.now >= self.audit_at || self.audit_at.since(turn.now) > AUDIT;
        if is_audit_due && !self.sockets.is_empty() {
            self.audit_at = turn.now.plus(AUDIT);
            self.audit(turn);
        }
        self.on_time_of_presence(turn);
    }
}

fn moment_of(now: Timestamp) -> u64 {
    now.unix_ms() / MOMENT_MS
}

#[expect(clippy::cast_possible_truncation, reason = "the last bits are what is wanted")]
const fn bits(moment: u64) -> u16 {
    moment as u16
}

/// Moments per interval. Sockets with the same moment are written to together.
const MOMENTS: u16 = 300;
const MOMENT_MS: u64 = limits::TICK.as_secs() * 1_000 / MOMENTS as u64;
/// The first ticks of sockets attached together are spread over this many moments: two seconds.
const SPREAD: u64 = 40;
/// With more sockets than this, ticks are checked at every moment.
const CROWD: usize = 256;
/// How often the node's tail is compared with the stream's.
pub(super) const AUDIT: Duration = Duration::from_secs(30);
