//! A workspace's recent publications: the node's copy of the stream's tail (G5).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::{Position, limits};
use protocol::publication::{Payload, Publication};

/// One link of the chain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) position: Position,
    pub(crate) publication: Arc<Publication>,
    /// The frame with this link's own position as its cursor, once somebody needed it.
    pub(crate) frame: Option<Bytes>,
    /// The number of the link before it of the same subject, which may have left the ring.
    older: Option<u64>,
}

/// What became of a link that was pushed.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) number: u64,
    /// As the ring has it: without its payload if a newer state of its subject is there.
    pub(crate) publication: Arc<Publication>,
    /// Links of the same subject whose payload it replaces: they have none any more.
    pub(crate) replaced: Vec<u64>,
}

/// Links in order, capped by count and by bytes. Every link has a number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    links: VecDeque<Link>,
    first: u64,
    bytes: usize,
    numbers: HashMap<Position, u64>,
    /// The last link of each subject.
    subjects: HashMap<Arc<str>, u64>,
}

impl Ring {
    /// Appends a link. Of two states of one subject the newer one stays, whichever came first: so a
    /// resuming client gets each thing once, and no text that was deleted since.
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
        let link = Link { position, publication: Arc::clone(&publication), frame: None, older };
        self.links.push_back(link);
        for number in &replaced {
            self.empty(*number);
        }
        self.trim();
        Pushed { number, publication, replaced }
    }

    /// Whether a newer state is there already, and which older ones a publication replaces.
    fn compare(&self, publication: &Publication, mut older: Option<u64>) -> (bool, Vec<u64>) {
        let mut replaced = Vec::new();
        let Some(new) = &publication.subject else { return (false, replaced) };
        while let Some((number, link)) = older.and_then(|number| Some((number, self.link(number)?)))
        {
            if let Some(known) = &link.publication.subject {
                if known.rev > new.rev {
                    return (true, Vec::new());
                }
                if known.rev < new.rev && (new.is_whole || !known.is_whole) {
                    replaced.push(number);
                }
            }
            older = link.older;
        }
        (false, replaced)
    }

    fn empty(&mut self, number: u64) {
        if let Some(link) = self.link(number) {
            let publication = emptied(&link.publication);
            self.set_publication(number, publication);
        }
    }

    fn link(&self, number: u64) -> Option<&Link> {
        let index = number.checked_sub(self.first)?;
        self.links.get(usize::try_from(index).ok()?)
    }

    fn trim(&mut self) {
        while self.links.len() > limits::STREAM_ENTRIES_MAX
            || (self.bytes > limits::STREAM_BYTES_MAX && self.links.len() > 1)
        {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        if let Some(link) = self.links.pop_front() {
            self.bytes = self.bytes.saturating_sub(weight(&link.publication));
            self.numbers.remove(&link.position);
            if let Some(subject) = &link.publication.subject
                && self.subjects.get(&subject.of) == Some(&self.first)
            {
                self.subjects.remove(&subject.of);
            }
            self.first += 1;
        }
    }

    /// Forgets everything newer than a link that stays.
    pub(crate) fn cut_after(&mut self, number: u64) {
        while self.next_number() > number + 1
            && let Some(link) = self.links.pop_back()
        {
            self.bytes = self.bytes.saturating_sub(weight(&link.publication));
            self.numbers.remove(&link.position);
            if let Some(subject) = &link.publication.subject {
                match link.older.filter(|older| *older >= self.first) {
                    Some(older) => self.subjects.insert(Arc::clone(&subject.of), older),
                    None => self.subjects.remove(&subject.of),
                };
            }
        }
    }

    /// Forgets everything; numbers go on.
    pub(crate) fn clear(&mut self) {
        self.first = self.next_number();
        self.links.clear();
        self.numbers.clear();
        self.subjects.clear();
        self.bytes = 0;
    }

    pub(crate) fn number_of(&self, position: Position) -> Option<u64> {
        self.numbers.get(&position).copied()
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        self.numbers.contains_key(&position)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.links.len() as u64
    }

    pub(crate) fn link_mut(&mut self, number: u64) -> Option<&mut Link> {
        let index = number.checked_sub(self.first)?;
        self.links.get_mut(usize::try_from(index).ok()?)
    }

    /// Links from a number on (from the oldest kept one if it is gone), with their numbers.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Link)> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let start = self.first + skip.min(self.links.len()) as u64;
        (start..).zip(self.links.range(skip.min(self.links.len())..))
    }

    /// The newest link whose position is among those of `is_there`.
    pub(crate) fn newest_where(&self, is_there: impl Fn(Position) -> bool) -> Option<u64> {
        let found = self.links.iter().rposition(|link| is_there(link.position))?;
        Some(self.first + found as u64)
    }

    /// Puts another payload into a link.
    pub(crate) fn set_publication(&mut self, number: u64, publication: Arc<Publication>) {
        let Some(link) = self.link_mut(number) else { return };
        let before = weight(&link.publication);
        let after = weight(&publication);
        link.publication = publication;
        link.frame = None;
        self.bytes = (self.bytes + after).saturating_sub(before);
        self.trim();
    }
}

/// The same publication without its payload.
fn emptied(publication: &Publication) -> Arc<Publication> {
    Arc::new(publication.with_payload(Payload::Nothing))
}

/// What a link costs in memory, near enough: its frame, its users, and a few hundred bytes of names.
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
    use model::{EntryId, MessageId, Timestamp};
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
        let subject = Some(Subject { of: "it".into(), rev: rev.into(), is_whole });
        Arc::new(Publication { subject, payload, ..(*publication()).clone() })
    }

    /// The revisions that a ring's links say; `-` for a link that says nothing.
    fn said(ring: &Ring) -> Vec<&str> {
        fn rev(link: &Link) -> &str {
            let is_said = matches!(link.publication.payload, Payload::Frame(_));
            let subject = link.publication.subject.as_ref().filter(|_| is_said);
            subject.map_or("-", |subject| &subject.rev)
        }
        ring.from(0).map(|(_, link)| rev(link)).collect()
    }

    #[test]
    fn a_newer_state_replaces_what_it_makes_superfluous() {
        // `+` is whole; `-` leaves out what is in an older one.
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
        ring.cut_after(1);
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
            assert_eq!(ring.push(position(n), publication()).number, n);
        }
        assert_eq!(ring.number_of(position(9)), None);
        assert_eq!(ring.number_of(position(10)), Some(10));
        assert_eq!(ring.from(0).next().map(|(number, _)| number), Some(10));
        assert_eq!(ring.from(5_009).count(), 1);
        assert_eq!(ring.from(9_999).count(), 0);
    }

    #[test]
    fn a_cut_forgets_what_is_newer() {
        let mut ring = Ring::default();
        for n in 0..5 {
            ring.push(position(n), publication());
        }
        ring.cut_after(2);
        assert_eq!(ring.newest_where(|_| true), Some(2));
        assert!(!ring.contains(position(3)));
        assert_eq!(ring.push(position(30), publication()).number, 3);
        ring.clear();
        assert_eq!(ring.push(position(31), publication()).number, 4);
    }
}
