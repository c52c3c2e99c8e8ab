//! A workspace's recent publications: the node's copy of the stream's tail (G5).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::{Position, limits};
use protocol::publication::{Publication, PublicationBody};

/// One link of the chain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) position: Position,
    pub(crate) publication: Arc<Publication>,
    /// The frame with this link's own position as its cursor, once somebody needed it.
    pub(crate) frame: Option<Bytes>,
}

/// Links in order, capped by count and by bytes. Every link has a number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    links: VecDeque<Link>,
    first: u64,
    bytes: usize,
    numbers: HashMap<Position, u64>,
}

impl Ring {
    pub(crate) fn push(&mut self, position: Position, publication: Arc<Publication>) -> u64 {
        let number = self.first + self.links.len() as u64;
        self.bytes += weight(&publication);
        self.numbers.insert(position, number);
        self.links.push_back(Link { position, publication, frame: None });
        self.trim();
        number
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
        }
    }

    /// Forgets everything; numbers go on.
    pub(crate) fn clear(&mut self) {
        self.first = self.next_number();
        self.links.clear();
        self.numbers.clear();
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

    /// Puts a text that was read from the store into its link.
    pub(crate) fn set_publication(&mut self, number: u64, publication: Arc<Publication>) {
        let Some(link) = self.link_mut(number) else { return };
        let before = weight(&link.publication);
        let after = weight(&publication);
        link.publication = publication;
        self.bytes = (self.bytes + after).saturating_sub(before);
        self.trim();
    }
}

/// What a link costs in memory, near enough: its text and a few hundred bytes of names.
pub(crate) fn weight(publication: &Publication) -> usize {
    const NAMES: usize = 256;
    NAMES
        + match &publication.body {
            PublicationBody::Message(message) => {
                message.text.as_ref().map_or(0, |text| text.as_str().len())
            }
            PublicationBody::Channel(change) => change.members.len() * 32,
            PublicationBody::Revoked { .. }
            | PublicationBody::Marker
            | PublicationBody::Unreadable => 0,
        }
}

#[cfg(test)]
mod tests {
    use model::{EntryId, MessageId, Timestamp};

    use super::*;

    fn position(n: u64) -> Position {
        Position { entry: EntryId { ms: n, sequence: 0 }, history: 7 }
    }

    fn publication() -> Arc<Publication> {
        let id = MessageId::mint(Timestamp::from_unix_ms(1), 1).into();
        Arc::new(Publication { id, body: PublicationBody::Marker })
    }

    #[test]
    fn it_keeps_the_newest_and_their_numbers() {
        let mut ring = Ring::default();
        for n in 0..limits::STREAM_ENTRIES_MAX as u64 + 10 {
            assert_eq!(ring.push(position(n), publication()), n);
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
        assert_eq!(ring.push(position(30), publication()), 3);
        ring.clear();
        assert_eq!(ring.push(position(31), publication()), 4);
    }
}
