//! The chain: every entry names the one before it, and `fill` is the one repair path (G4).

use std::collections::HashSet;
use std::mem;

use model::{Position, limits};
use protocol::publication::{Entry, Recipients};

use super::{Effect, StreamState, Turn, Workspace};
use crate::hold::Holds;
use crate::numbers::{EntryNumber, RepairId};

impl Workspace {
    /// Reads the stream from a position on. A fill that runs is superseded: it may have read
    /// before what made this one necessary.
    pub(super) fn start_fill(&mut self, from: Option<Position>, turn: &mut Turn<'_>) {
        self.repair = self.repair.next();
        self.stream = StreamState::Filling { id: self.repair, whole: from.is_none() };
        turn.effects
            .push(Effect::Fill { id: self.repair, from: from.map(|position| position.entry) });
    }

    /// `prev` is the tail: deliver. Known: drop. Anything else: fill.
    pub(super) fn on_entry(&mut self, entry: Entry, turn: &mut Turn<'_>) {
        match self.stream {
            StreamState::Up if self.ring.contains(entry.position) => {}
            StreamState::Up if entry.prev == self.tail => self.accept(entry, turn),
            // The entry is in the stream, or nowhere: it was added before it was pushed. Keeping it
            // would fill for ever where a failover has lost it.
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
            // Whatever is pushed before the link is said to be back is read by the fill after it.
            StreamState::Down => {}
        }
    }

    /// The stream's entries from the tail on, or all of them.
    pub(super) fn on_filled(&mut self, id: RepairId, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        let whole = match self.stream {
            StreamState::Filling { id: expected, whole } if expected == id => whole,
            StreamState::Filling { .. }
            | StreamState::Backfilling
            | StreamState::Up
            | StreamState::Down => return,
        };
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
            // The tail is not there: look for the newest link that is.
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

    /// The stream was forked (a replica that lagged was promoted): our newest links are not in it.
    fn continue_after(&mut self, common: EntryNumber, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        let Some(position) = self.ring.entry_mut(common).map(|link| link.position) else { return };
        self.leave_the_fork(common);
        self.tail = Some(position);
        let new = entries.into_iter().skip_while(|entry| entry.position != position).skip(1);
        for entry in new {
            self.accept(entry, turn);
        }
    }

    /// Forgets the links that a failover took out of the stream. What they told is stored, and the
    /// relay publishes it again: nothing is lost with them, whether it was delivered or held.
    fn leave_the_fork(&mut self, common: EntryNumber) {
        self.era = self.era.wrapping_add(1);
        for (_, link) in self.ring.from(common.next()) {
            if let Some(state) = &link.publication.subject
                && self.delivered.reached(state).is_some()
            {
                self.delivered.insert(state, self.era);
            }
        }
        self.holds.cut_after(common);
        self.ring.cut_after(common);
        self.reading.retain(|number| *number <= common);
        self.unresolved.retain(|number| *number <= common);
    }

    /// Nothing of ours is in the stream (trimmed, flushed): what lay between is in the store.
    fn start_over(&mut self, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        self.start_backfill();
        self.holds = Holds::default();
        self.ring.clear();
        self.reading.clear();
        self.unresolved.clear();
        self.adopt(entries, turn);
    }

    /// From time to time: a last entry that was lost on the way here is followed by nothing that
    /// would show it.
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

    /// Takes entries as history: nobody who is attached waits for them. Who is here is read anew,
    /// after it: nothing that was read before can say who may see it, or who was revoked in it.
    fn adopt(&mut self, entries: Vec<Entry>, turn: &mut Turn<'_>) {
        self.unread.clear();
        for entry in entries {
            self.tail = Some(entry.position);
            match &entry.publication.to {
                // A change of members need not mean that anybody speaks there.
                Recipients::Channel(to) if to.changes.is_empty() => {
                    self.unread.insert(to.channel_id.clone());
                }
                // A backfill does not bring what it says.
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

    /// The stream is read: what it has lost, what came meanwhile, then who waits.
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
