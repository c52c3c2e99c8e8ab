//! Ticks: each socket has a moment of its own, an interval after its `ready` and after each tick, so
//! that a workspace of many does not write to all of them at once.

use std::time::Duration;

use model::{Timestamp, limits};
use protocol::frame::ServerFrame;

use super::{DeliveryClass, Effect, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::delivered::Era;
use crate::roster::UserKey;

/// A socket that is attached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attached {
    /// Whose it is.
    pub(super) key: UserKey,
    /// The era in which it attached.
    pub(super) era: Era,
    /// The last bits of the moment of its next tick: within an interval from now, else long ago.
    tick: u16,
}

impl Attached {
    /// Who comes in a herd is spread a little.
    pub(super) fn new(key: UserKey, socket: SocketId, era: Era, now: Timestamp) -> Self {
        let earlier = bits(socket.serial % SPREAD);
        let tick = bits(moment_of(now)).wrapping_add(MOMENTS).wrapping_sub(earlier);
        Self { key, era, tick }
    }

    /// Moments until it is due; none if it is. A clock that was set leaves it behind: due.
    fn ahead(&self, moment: u16) -> u16 {
        let ahead = self.tick.wrapping_sub(moment);
        if ahead > MOMENTS { 0 } else { ahead }
    }

    /// An interval after the moment that it had, or from now if that is over as well.
    fn go_on(&mut self, moment: u16) {
        self.tick = self.tick.wrapping_add(MOMENTS);
        if self.ahead(moment) == 0 {
            self.tick = moment.wrapping_add(MOMENTS);
        }
    }
}

impl Workspace {
    /// When [`super::Input::Tick`] has something to do. Asked again whenever a socket was attached.
    #[must_use]
    pub fn next_tick(&self, now: Timestamp) -> Timestamp {
        let moment = moment_of(now);
        let ahead = self.sockets.values().map(|attached| attached.ahead(bits(moment)));
        // Of many sockets some are in the next moment: not worth a look at each.
        let is_crowded = self.sockets.len() > CROWD;
        let soonest = if is_crowded { 1 } else { ahead.min().unwrap_or(MOMENTS) };
        let next = Timestamp::from_unix_ms((moment + u64::from(soonest)) * MOMENT_MS);
        if self.sockets.is_empty() { next } else { next.min(self.audit_at) }
    }

    /// Ticks for the sockets that are due.
    pub(super) fn on_tick(&mut self, turn: &mut Turn<'_>) {
        let moment = bits(moment_of(turn.now));
        let mut due = Vec::new();
        for (socket, attached) in &mut self.sockets {
            if attached.ahead(moment) == 0 {
                attached.go_on(moment);
                due.push(*socket);
            }
        }
        if !due.is_empty() {
            // In one order, so that a run can be repeated.
            due.sort_unstable();
            let (cursor, fresh) = (self.cursor(), self.is_fresh());
            let tick = ServerFrame::Tick { cursor, server_time: turn.now, fresh, every: None };
            let frame = (self.framing)(tick.encode());
            let to = Audience::of(due);
            turn.effects.push(Effect::Deliver {
                frame,
                to,
                class: DeliveryClass::Live,
                publication: None,
            });
        }
        let is_audit_due = turn.now >= self.audit_at || self.audit_at.since(turn.now) > AUDIT;
        if is_audit_due && !self.sockets.is_empty() {
            self.audit_at = turn.now.plus(AUDIT);
            self.audit(turn);
        }
    }
}

fn moment_of(now: Timestamp) -> u64 {
    now.unix_ms() / MOMENT_MS
}

#[expect(clippy::cast_possible_truncation, reason = "the last bits are what is wanted")]
const fn bits(moment: u64) -> u16 {
    moment as u16
}

/// Moments of an interval. Sockets of one moment are written to together.
const MOMENTS: u16 = 300;
const MOMENT_MS: u64 = limits::TICK.as_secs() * 1_000 / MOMENTS as u64;
/// Over so many moments, two seconds, first ticks of sockets that were attached at once are spread.
const SPREAD: u64 = 40;
/// More sockets than this are looked at in each moment.
const CROWD: usize = 256;
/// How often the tail is compared with the stream's.
pub(super) const AUDIT: Duration = Duration::from_secs(30);
