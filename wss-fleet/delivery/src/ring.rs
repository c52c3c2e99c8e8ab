//! A workspace's recent publications: the node's copy of the stream's tail (G5).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::{Position, Timestamp, limits};
use protocol::publication::{Payload, Publication};

use crate::numbers::EntryNumber;

/// One entry of the chain.
#[derive(Debug)]
pub(crate) struct RingEntry {
    pub(crate) position: Position,
    pub(crate) publication: Arc<Publication>,
    /// The frame with this entry's own position as its cursor, once it was needed.
    pub(crate) frame: Option<Bytes>,
    /// The number of the previous entry of the same subject, which may have left the ring.
    older: Option<EntryNumber>,
}

/// The result of a push.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) number: EntryNumber,
    /// As the ring keeps it: without its payload if a newer state of its subject is known.
    pub(crate) publication: Arc<Publication>,
    /// Entries of the same subject that lost their payload, because this one replaces it.
    pub(crate) replaced: Vec<EntryNumber>,
}

/// Entries in order, numbered consecutively, bounded by count and by bytes.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<RingEntry>,
    first: EntryNumber,
    bytes: usize,
    numbers: HashMap<Position, EntryNumber>,
    /// The last entry of each subject.
    subjects: HashMap<Arc<str>, EntryNumber>,
}

impl Ring {
    /// Appends an entry. Of two states of one subject, the newer one wins, whichever arrived first:
    /// a resuming client gets each message once, and no text that was deleted since.
    pub(crate) fn push(&mut self, position: Position, publication: Arc<Publication>) -> Pushed {
        let number = self.next_number();
        let older = publication
            .subject
            .as_ref()
            .and_then(|subject| self.subjects.insert(Arc::clone(&subject.of), number));
        let (is_stale, replaced) = self.compare(&publication, older);
        let publication = if is_stale { emptied(&publication) } else { publication };
        self.bytes += weight(&publication);
        self.numbers.insert(position, number);
        let entry =
            RingEntry { position, publication: Arc::clone(&publication), frame: None, older };
        self.entries.push_back(entry);
        for number in &replaced {
            self.empty(*number);
        }
        self.trim();
        Pushed { number, publication, replaced }
    }

    /// Whether a newer state is known already, and which older ones this publication replaces.
    fn compare(
        &self,
        publication: &Publication,
        mut older: Option<EntryNumber>,
    ) -> (bool, Vec<EntryNumber>) {
        let mut replaced = Vec::new();
        let Some(new) = &publication.subject else { return (false, replaced) };
        while let Some((number, entry)) =
            older.and_then(|number| Some((number, self.entry(number)?)))
        {
            if let Some(known) = &entry.publication.subject {
                if known.rev > new.rev {
                    return (true, Vec::new());
                }
                if known.rev < new.rev && (new.is_whole || !known.is_whole) {
                    replaced.push(number);
                }
            }
            older = entry.older;
        }
        (false, replaced)
    }

    fn empty(&mut self, number: EntryNumber) {
        if let Some(entry) = self.entry(number) {
            let publication = emptied(&entry.publication);
            self.set_publication(number, publication);
        }
    }

    fn entry(&self, number: EntryNumber) -> Option<&RingEntry> {
        self.entries.get(self.index_of(number)?)
    }

    fn index_of(&self, number: EntryNumber) -> Option<usize> {
        usize::try_from(number.get().checked_sub(self.first.get())?).ok()
    }

    const fn number_at(&self, index: usize) -> EntryNumber {
        EntryNumber::new(self.first.get() + index as u64)
    }

    fn trim(&mut self) {
        while self.entries.len() > limits::STREAM_ENTRIES_MAX
            || (self.bytes > limits::STREAM_BYTES_MAX && self.entries.len() > 1)
        {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes = self.bytes.saturating_sub(weight(&entry.publication));
            self.numbers.remove(&entry.position);
            if let Some(subject) = &entry.publication.subject
                && self.subjects.get(&subject.of) == Some(&self.first)
            {
                self.subjects.remove(&subject.of);
            }
            self.first = self.first.next();
        }
    }

    /// Removes all entries after this one.
    pub(crate) fn cut_after(&mut self, number: EntryNumber) {
        while self.next_number() > number.next()
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes = self.bytes.saturating_sub(weight(&entry.publication));
            self.numbers.remove(&entry.position);
            if let Some(subject) = &entry.publication.subject {
                match entry.older.filter(|older| *older >= self.first) {
                    Some(older) => self.subjects.insert(Arc::clone(&subject.of), older),
                    None => self.subjects.remove(&subject.of),
                };
            }
        }
    }

    /// Removes all entries; numbers continue.
    pub(crate) fn clear(&mut self) {
        self.first = self.next_number();
        self.entries.clear();
        self.numbers.clear();
        self.subjects.clear();
        self.bytes = 0;
    }

    /// Whether a subject is a message that was published since then, and is stored only if some device
    /// lacks it.
    pub(crate) fn is_until_acked(&self, subject: &str, since: Timestamp) -> bool {
        let entry = self.subjects.get(subject).and_then(|number| self.entry(*number));
        let entry = entry.filter(|entry| entry.position.entry.ms >= since.unix_ms());
        let subject = entry.and_then(|entry| entry.publication.subject.as_ref());
        subject.is_some_and(|subject| subject.until_acked)
    }

    pub(crate) fn number_of(&self, position: Position) -> Option<EntryNumber> {
        self.numbers.get(&position).copied()
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        self.numbers.contains_key(&position)
    }

    /// The number of the oldest entry, or of the next one if there is none.
    pub(crate) const fn oldest(&self) -> EntryNumber {
        self.first
    }

    pub(crate) fn next_number(&self) -> EntryNumber {
        self.number_at(self.entries.len())
    }

    pub(crate) fn entry_mut(&mut self, number: EntryNumber) -> Option<&mut RingEntry> {
        let index = self.index_of(number)?;
        self.entries.get_mut(index)
    }

    /// Entries from a number on, or from the oldest one if that is gone, with their numbers.
    pub(crate) fn from(
        &self,
        number: EntryNumber,
    ) -> impl Iterator<Item = (EntryNumber, &RingEntry)> {
        let skip = self.index_of(number.max(self.first)).unwrap_or(usize::MAX);
        let skip = skip.min(self.entries.len());
        let numbers = (skip..).map(|index| self.number_at(index));
        numbers.zip(self.entries.range(skip..))
    }

    /// The newest entry whose position satisfies `is_there`.
    pub(crate) fn newest_where(&self, is_there: impl Fn(Position) -> bool) -> Option<EntryNumber> {
        let found = self.entries.iter().rposition(|entry| is_there(entry.position))?;
        Some(self.number_at(found))
    }

    /// Replaces an entry's publication by a copy with another payload.
    pub(crate) fn set_publication(&mut self, number: EntryNumber, publication: Arc<Publication>) {
        let Some(entry) = self.entry_mut(number) else { return };
        let before = weight(&entry.publication);
        let after = weight(&publication);
        entry.publication = publication;
        entry.frame = None;
        self.bytes = (self.bytes + after).saturating_sub(before);
        self.trim();
    }
}

/// The same publication without its payload.
fn emptied(publication: &Publication) -> Arc<Publication> {
    Arc::new(publication.with_payload(Payload::Nothing))
}

/// The approximate memory of an entry: its frame, its users, and a few hundred bytes of names.
pub(crate) fn weight(publication: &Publication) -> usize {
    const NAMES: usize = 256;
    const USER: usize = 32;
    let users = publication.channel().map_or(0, |to| to.changes.len() + to.also.len());
    let frame = match &publication.payload {
        Payload::Frame(frame) => frame.len(),
        Payload::Stored(_) | Payload::Close(_) | Payload::Nothing => 0,
    };
    NAMES + users * USER + frame
}

#[cfg(test)]
mod tests {
    use model::{EntryId, MessageId, Rev, Timestamp};
    use protocol::publication::Subject;

    use super::*;

    fn position(n: u64) -> Position {
        Position { entry: EntryId { ms: n, sequence: 0 }, history: 7 }
    }

    fn publication() -> Arc<Publication> {
        let id = MessageId::mint(Timestamp::from_unix_ms(1), 1).into();
        Arc::new(Publication::marker(id))
    }

    /// A state of one subject.
    fn state(rev: &str, is_whole: bool) -> Arc<Publication> {
        let payload = Payload::Frame(format!(r#"{{"rev":"{rev}"}}"#).into());
        let subject = Some(Subject {
            of: "it".into(),
            rev: Rev::parse(rev).unwrap(),
            is_whole,
            is_unstored: false,
            until_acked: false,
        });
        Arc::new(Publication { subject, payload, ..(*publication()).clone() })
    }

    /// The revisions of a ring's entries; `-` for an entry without a payload.
    fn said(ring: &Ring) -> Vec<String> {
        fn rev(entry: &RingEntry) -> String {
            let is_said = matches!(entry.publication.payload, Payload::Frame(_));
            let subject = entry.publication.subject.as_ref().filter(|_| is_said);
            subject.map_or("-".to_owned(), |subject| subject.rev.to_string())
        }
        ring.from(EntryNumber::default()).map(|(_, entry)| rev(entry)).collect()
    }

    #[test]
    fn a_newer_state_replaces_what_it_makes_superfluous() {
        // `+` is whole; `-` leaves out what an older one has.
        for (states, wanted) in [
            ("1+ 2+", "- 2"),
            ("1+ 2-", "1 2"),
            ("1+ 2- 3-", "1 - 3"),
            ("1+ 2- 3+", "- - 3"),
            ("2+ 1+ 3-", "2 - 3"),
            ("1+ 1+", "1 1"),
        ] {
            let mut ring = Ring::default();
            for (n, one) in (1..).zip(states.split(' ')) {
                let (rev, is_whole) = (one.trim_end_matches(['+', '-']), one.ends_with('+'));
                ring.push(position(n), state(rev, is_whole));
            }
            assert_eq!(said(&ring).join(" "), wanted, "{states}");
        }
    }

    #[test]
    fn a_state_that_a_cut_or_the_end_took_is_compared_with_no_more() {
        let mut ring = Ring::default();
        ring.push(position(1), state("1", true));
        ring.push(position(2), publication());
        ring.push(position(3), state("3", false));
        ring.cut_after(EntryNumber::new(1));
        ring.push(position(4), state("2", true));
        assert_eq!(said(&ring), ["-", "-", "2"]);
        for n in 5..limits::STREAM_ENTRIES_MAX as u64 + 5 {
            ring.push(position(n), publication());
        }
        assert!(ring.subjects.is_empty());
        let pushed = ring.push(position(9_999), state("1", true));
        assert!(pushed.replaced.is_empty() && pushed.publication.payload != Payload::Nothing);
    }

    #[test]
    fn it_keeps_the_newest_and_their_numbers() {
        let mut ring = Ring::default();
        for n in 0..limits::STREAM_ENTRIES_MAX as u64 + 10 {
            assert_eq!(ring.push(position(n), publication()).number, EntryNumber::new(n));
        }
        assert_eq!(ring.number_of(position(9)), None);
        assert_eq!(ring.number_of(position(10)), Some(EntryNumber::new(10)));
        assert_eq!(
            ring.from(EntryNumber::default()).next().map(|(number, _)| number),
            Some(EntryNumber::new(10))
        );
        assert_eq!(ring.from(EntryNumber::new(5_009)).count(), 1);
        assert_eq!(ring.from(EntryNumber::new(9_999)).count(), 0);
    }

    #[test]
    fn a_cut_forgets_what_is_newer() {
        let mut ring = Ring::default();
        for n in 0..5 {
            ring.push(position(n), publication());
        }
        ring.cut_after(EntryNumber::new(2));
        assert_eq!(ring.newest_where(|_| true), Some(EntryNumber::new(2)));
        assert!(!ring.contains(position(3)));
        assert_eq!(ring.push(position(30), publication()).number, EntryNumber::new(3));
        ring.clear();
        assert_eq!(ring.push(position(31), publication()).number, EntryNumber::new(4));
    }
}
