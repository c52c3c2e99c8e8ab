//! The chain: every entry names the one before it, and `fill` is the one repair path (G4).

use std::collections::HashSet;
use std::mem;

use model::{Position, limits};
use protocol::publication::{Entry, Recipients};

use super::{Effect, StreamState, Turn, Workspace};
use crate::hold::Holds;
use crate::numbers::{EntryNumber, RepairId};

impl Workspace {
    /// Reads the stream from a position on. A running fill is superseded: it may have read before
    /// the event that made this one necessary.
    pub(super) fn start_fill(&mut self, from: Option<Position>, turn: &mut Turn<'_>) {
        self.repair = self.repair.next();
        self.stream = StreamState::Filling { id: self.repair, whole: from.is_none() };
        let from = from.map(|position| position.entry);
        turn.effects.push(Effect::Fill { id: self.repair, from });
    }

    /// Delivers the entry if its `prev` is the tail, drops it if it is known, and fills otherwise.
    pub(super) fn on_entry(&mut self, entry: Entry, turn: &mut Turn<'_>) {
        match self.stream {
            StreamState::Up if self.ring.contains(entry.position) => {}
            StreamState::Up if entry.prev == self.tail => self.accept(entry, turn),
            // Entries are added to the stream before they are pushed, so the fill reads this one
            // too. If a failover lost it, it is in no stream, and keeping it would cause endless
            // fills.
            StreamState::Up => {
                self.pending.clear();
                self.start_fill(self.tail, turn);
            }
            StreamState::Filling { .. } | StreamState::Backfilling
                if self.pending.len() < limits::PENDING_ENTRIES_MAX =>
            {
                self.pending.push_back(entry);
            }
            StreamState::Filling { .. } | StreamState::Backfilling => self.overflowed = true,
            // The fill after the subscription's return reads whatever is pushed before.
            StreamState::Down => {}
        }
    }

    /// Handles the stream's entries from the tail on, or all of them.
    pub(super) fn on_filled(&mut self, id: RepairId, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        let StreamState::Filling { id: expected, whole } = self.stream else { return };
        if expected != id {
            return;
        }
        let Some(tail) = self.tail else {
            self.adopt(entries, turn);
            return self.linked_up(turn);
        };
        if entries.first().is_some_and(|first| first.position == tail) {
            self.stream = StreamState::Up;
            for entry in entries.into_iter().skip(1) {
                self.accept(entry, turn);
            }
            return self.linked_up(turn);
        }
        if !whole {
            // The stream does not have the tail: find the newest entry that it has.
            return self.start_fill(None, turn);
        }
        self.stream = StreamState::Up;
        let there: HashSet<Position> = entries.iter().map(|entry| entry.position).collect();
        match self.ring.newest_where(|position| there.contains(&position)) {
            Some(common) => self.continue_after(common, entries, turn),
            None => self.start_over(entries, turn),
        }
        self.linked_up(turn);
    }

    /// Continues after a fork (a lagging replica was promoted), which cut off our newest entries.
    fn continue_after(&mut self, common: EntryNumber, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        let Some(position) = self.ring.entry_mut(common).map(|it| it.position) else { return };
        self.leave_the_fork(common);
        self.tail = Some(position);
        let new = entries.into_iter().skip_while(|entry| entry.position != position).skip(1);
        for entry in new {
            self.accept(entry, turn);
        }
    }

    /// Forgets the entries that a failover removed from the stream. Their messages are stored and the
    /// relay publishes them again, or their senders send them again (G13), so nothing is lost, whether it
    /// was delivered or held.
    fn leave_the_fork(&mut self, common: EntryNumber) {
        self.era = self.era.wrapping_add(1);
        for (_, entry) in self.ring.from(common.next()) {
            if let Some(state) = &entry.publication.subject {
                self.delivered.lost(state, self.era);
            }
        }
        self.holds.cut_after(common);
        self.ring.cut_after(common);
        self.reading.retain(|number| *number <= common);
        self.unresolved.retain(|number| *number <= common);
    }

    /// Starts over if the stream has none of our entries (trimmed, flushed): the store has them. If
    /// a failover brought back an older stream, clients resume before messages that were delivered
    /// here, and get them when the relay publishes them again.
    fn start_over(&mut self, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        self.era = self.era.wrapping_add(1);
        self.delivered.chain_lost(self.era);
        self.start_backfill();
        self.holds = Holds::default();
        self.ring.clear();
        self.reading.clear();
        self.unresolved.clear();
        self.adopt(entries, turn);
    }

    /// Checks the stream's end: if the last entry is lost on its way here, no later one shows it.
    pub(super) fn audit(&mut self, turn: &mut Turn<'_>) {
        if self.stream == StreamState::Up
            && let Some(tail) = self.tail
        {
            turn.effects.push(Effect::Audit { tail });
        }
    }

    pub(super) fn on_audited(&mut self, tail: Position, found: &[Position], turn: &mut Turn<'_>) {
        if self.stream == StreamState::Up && self.tail == Some(tail) && found != [tail] {
            self.start_fill(self.tail, turn);
        }
    }

    /// Adopts entries as history, without delivering them. Afterwards all local users' rows are
    /// read again: older reads cannot show who may see these entries, or who was revoked in them.
    fn adopt(&mut self, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        self.unread.clear();
        for entry in entries {
            self.tail = Some(entry.position);
            match &entry.publication.to {
                // Membership changes alone do not suggest that messages will follow.
                Recipients::Channel(to) if to.changes.is_empty() => {
                    self.unread.insert(to.channel_id.clone());
                }
                // A backfill does not bring its content.
                Recipients::Unknown if !self.sockets.is_empty() => {
                    self.resyncs.add_unknown(self.roster.keys(), turn.now);
                }
                Recipients::Channel(_)
                | Recipients::User(_)
                | Recipients::Workspace
                | Recipients::Nobody
                | Recipients::Unknown => {}
            }
            self.ring.push(entry.position, entry.publication);
        }
        for (user, registration) in self.roster.forget_views() {
            turn.effects.push(Effect::LoadUser { user, registration });
        }
    }

    /// Goes on after a fill: with the backfill, entries that arrived meanwhile, waiting sockets.
    pub(super) fn linked_up(&mut self, turn: &mut Turn<'_>) {
        if self.backfill.is_some() {
            return self.read_backfill(turn);
        }
        self.stream = StreamState::Up;
        while self.stream == StreamState::Up
            && let Some(entry) = self.pending.pop_front()
        {
            self.on_entry(entry, turn);
        }
        if self.stream == StreamState::Up && mem::take(&mut self.overflowed) {
            self.start_fill(self.tail, turn);
        }
        self.settle_waiting(None, turn);
    }
}
