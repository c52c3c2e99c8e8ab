//! The chain: every entry names the one before it, and `fill` is the one repair path (G4).

use std::collections::HashSet;
use std::mem;

use model::{Position, Timestamp, limits};
use protocol::publication::{Entry, Recipients};

use super::{Effect, Link, Workspace};
use crate::hold::Holds;

impl Workspace {
    /// Reads the stream from a position on. A fill that runs is superseded: it may have read
    /// before what made this one necessary.
    pub(super) fn start_fill(&mut self, from: Option<Position>, effects: &mut Vec<Effect>) {
        self.fills += 1;
        self.link = Link::Filling { id: self.fills, whole: from.is_none() };
        effects.push(Effect::Fill { id: self.fills, from: from.map(|position| position.entry) });
    }

    /// `prev` is the tail: deliver. Known: drop. Anything else: fill.
    pub(super) fn on_entry(&mut self, entry: Entry, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.link {
            Link::Up if self.ring.contains(entry.position) => {}
            Link::Up if entry.prev == self.tail => self.accept(entry, now, effects),
            // The entry is in the stream, or nowhere: it was added before it was pushed. Keeping it
            // would fill for ever where a failover has lost it.
            Link::Up => {
                self.pending.clear();
                self.start_fill(self.tail, effects);
            }
            Link::Filling { .. } | Link::BackFilling
                if self.pending.len() < limits::PENDING_ENTRIES_MAX =>
            {
                self.pending.push_back(entry);
            }
            Link::Filling { .. } | Link::BackFilling => self.overflowed = true,
            // Whatever is pushed before the link is said to be back is read by the fill after it.
            Link::Down => {}
        }
    }

    /// The stream's entries from the tail on, or all of them.
    pub(super) fn on_filled(
        &mut self,
        id: u64,
        entries: Vec<Entry>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let whole = match self.link {
            Link::Filling { id: expected, whole } if expected == id => whole,
            Link::Filling { .. } | Link::BackFilling | Link::Up | Link::Down => return,
        };
        let Some(tail) = self.tail else {
            self.adopt(entries, now, effects);
            return self.linked_up(now, effects);
        };
        if entries.first().is_some_and(|first| first.position == tail) {
            self.link = Link::Up;
            for entry in entries.into_iter().skip(1) {
                self.accept(entry, now, effects);
            }
            return self.linked_up(now, effects);
        }
        if !whole {
            // The tail is not there: look for the newest link that is.
            return self.start_fill(None, effects);
        }
        self.link = Link::Up;
        let there: HashSet<Position> = entries.iter().map(|entry| entry.position).collect();
        match self.ring.newest_where(|position| there.contains(&position)) {
            Some(common) => self.continue_after(common, entries, now, effects),
            None => self.start_over(entries, now, effects),
        }
        self.linked_up(now, effects);
    }

    /// The stream was forked (a replica that lagged was promoted): our newest links are not in it.
    fn continue_after(
        &mut self,
        common: u64,
        entries: Vec<Entry>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(position) = self.ring.link_mut(common).map(|link| link.position) else { return };
        self.leave_the_fork(common);
        self.tail = Some(position);
        let new = entries.into_iter().skip_while(|entry| entry.position != position).skip(1);
        for entry in new {
            self.accept(entry, now, effects);
        }
    }

    /// Forgets the links that a failover took out of the stream. What they told is stored, and the
    /// relay publishes it again: nothing is lost with them, whether it was delivered or held.
    fn leave_the_fork(&mut self, common: u64) {
        self.era = self.era.wrapping_add(1);
        for (_, link) in self.ring.from(common + 1) {
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
    fn start_over(&mut self, entries: Vec<Entry>, now: Timestamp, effects: &mut Vec<Effect>) {
        self.owe();
        self.holds = Holds::default();
        self.ring.clear();
        self.reading.clear();
        self.unresolved.clear();
        self.adopt(entries, now, effects);
    }

    /// From time to time: a last entry that was lost on the way here is followed by nothing that
    /// would show it.
    pub(super) fn audit(&mut self, effects: &mut Vec<Effect>) {
        if self.link == Link::Up
            && let Some(tail) = self.tail
        {
            effects.push(Effect::Audit { tail });
        }
    }

    pub(super) fn on_audited(
        &mut self,
        tail: Position,
        found: &[Position],
        effects: &mut Vec<Effect>,
    ) {
        if self.link == Link::Up && self.tail == Some(tail) && found != [tail] {
            self.start_fill(self.tail, effects);
        }
    }

    /// Takes entries as history: nobody who is attached waits for them. Who is here is read anew,
    /// after it: nothing that was read before can say who may see it, or who was revoked in it.
    fn adopt(&mut self, entries: Vec<Entry>, now: Timestamp, effects: &mut Vec<Effect>) {
        self.unread.clear();
        for entry in entries {
            self.tail = Some(entry.position);
            match &entry.publication.to {
                Recipients::Channel(to) => {
                    self.unread.insert(to.channel_id.clone());
                }
                // A back-fill does not bring what it says.
                Recipients::Unknown if !self.sockets.is_empty() => {
                    self.resyncs.owe_unknown(self.roster.keys(), now);
                }
                Recipients::User(_)
                | Recipients::Workspace
                | Recipients::Nobody
                | Recipients::Unknown => {}
            }
            self.ring.push(entry.position, entry.publication);
        }
        for (user, registration) in self.roster.forget_views() {
            effects.push(Effect::LoadUser { user, registration });
        }
    }

    /// The stream is read: what it has lost, what came meanwhile, then who waits.
    pub(super) fn linked_up(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.debt.is_some() {
            return self.start_back_fill(now, effects);
        }
        self.link = Link::Up;
        while self.link == Link::Up
            && let Some(entry) = self.pending.pop_front()
        {
            self.on_entry(entry, now, effects);
        }
        if self.link == Link::Up && mem::take(&mut self.overflowed) {
            self.start_fill(self.tail, effects);
        }
        self.settle_waiting(None, now, effects);
    }
}
