//! Publications that are held until the view is new enough, or their text was read (G6).
//!
//! A hold lasts while it fits its bounds. Its publications are stored, so there is no hurry to give
//! it up while the store is slow. Beyond the bounds the channel is *lost*: its publications are
//! dropped, and once the store returns the channel's members, they get a `resync`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{ChannelId, Position, Timestamp};
use protocol::publication::Publication;

use crate::numbers::EntryNumber;
use crate::ring::weight;

/// What the first publication of a hold needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldReason {
    /// A view of at least this version.
    View(u64),
    /// Its message, which was too long to travel with it.
    Stored,
}

/// The held publications of a workspace, by channel, in order.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    channels: BTreeMap<ChannelId, Hold>,
    lost: BTreeMap<ChannelId, Lost>,
    /// Ring numbers that no cursor may pass, with the position of the entry before each.
    before: BTreeMap<EntryNumber, Barrier>,
    bytes: usize,
}

#[derive(Debug)]
struct Hold {
    publications: VecDeque<(EntryNumber, Arc<Publication>)>,
    bytes: usize,
    since: Timestamp,
    requested: Option<HoldReason>,
}

/// A channel whose publications were dropped before their audience was known.
#[derive(Debug)]
struct Lost {
    /// Ring number of the first of them.
    first: EntryNumber,
    /// The newest membership version that one of them needs.
    version: u64,
}

#[derive(Debug, Clone, Copy)]
struct Barrier {
    position: Position,
    /// Whether a publication is held there; if not, its audience is to read the store again.
    is_held: bool,
}

impl Holds {
    pub(crate) fn is_held(&self, channel: &ChannelId) -> bool {
        self.channels.contains_key(channel)
    }

    pub(crate) fn is_lost(&self, channel: &ChannelId) -> bool {
        self.lost.contains_key(channel)
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether the publication with this number is held.
    pub(crate) fn holds(&self, number: EntryNumber) -> bool {
        self.before.get(&number).is_some_and(|barrier| barrier.is_held)
    }

    /// Whether the audience of a channel's publication is unknown.
    pub(crate) fn is_unresolved(&self, channel: &ChannelId, number: EntryNumber) -> bool {
        self.lost.get(channel).is_some_and(|lost| number >= lost.first)
    }

    /// Bytes of all held publications.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds a publication, after those of its channel.
    pub(crate) fn push(
        &mut self,
        channel: &ChannelId,
        number: EntryNumber,
        before: Position,
        publication: Arc<Publication>,
        now: Timestamp,
    ) {
        let hold = self.channels.entry(channel.clone()).or_insert_with(|| Hold {
            publications: VecDeque::new(),
            bytes: 0,
            since: now,
            requested: None,
        });
        let bytes = weight(&publication);
        hold.publications.push_back((number, publication));
        hold.bytes += bytes;
        self.bytes += bytes;
        self.before.insert(number, Barrier { position: before, is_held: true });
    }

    /// Keeps cursors before this entry until [`Holds::resyncs_sent`]: its audience is unknown.
    pub(crate) fn bar(&mut self, number: EntryNumber, before: Position) {
        self.before.insert(number, Barrier { position: before, is_held: false });
    }

    /// The first held publication of a channel, and its number.
    pub(crate) fn first(&self, channel: &ChannelId) -> Option<(EntryNumber, &Arc<Publication>)> {
        let (number, publication) = self.channels.get(channel)?.publications.front()?;
        Some((*number, publication))
    }

    /// Records what the first publication needs; true if that was not requested yet.
    pub(crate) fn request(&mut self, channel: &ChannelId, need: HoldReason) -> bool {
        let hold = self.channels.get_mut(channel);
        hold.is_some_and(|hold| hold.requested.replace(need) != Some(need))
    }

    /// Records that an answer arrived: the same need may be requested again.
    pub(crate) fn answered(&mut self, channel: &ChannelId) {
        if let Some(hold) = self.channels.get_mut(channel) {
            hold.requested = None;
        }
    }

    /// Replaces a held publication by a copy with another payload.
    pub(crate) fn set_publication(
        &mut self,
        channel: &ChannelId,
        number: EntryNumber,
        publication: &Arc<Publication>,
    ) {
        let Some(hold) = self.channels.get_mut(channel) else { return };
        let held = hold.publications.iter_mut().find(|(of, _)| *of == number);
        if let Some((_, held)) = held {
            let (less, more) = (weight(held), weight(publication));
            hold.bytes = (hold.bytes + more).saturating_sub(less);
            self.bytes = (self.bytes + more).saturating_sub(less);
            *held = Arc::clone(publication);
        }
    }

    /// Removes the first publication of a channel.
    pub(crate) fn pop(&mut self, channel: &ChannelId, now: Timestamp) {
        let Some(hold) = self.channels.get_mut(channel) else { return };
        if let Some((number, publication)) = hold.publications.pop_front() {
            let bytes = weight(&publication);
            hold.bytes = hold.bytes.saturating_sub(bytes);
            self.bytes = self.bytes.saturating_sub(bytes);
            self.before.remove(&number);
        }
        hold.since = now;
        if hold.publications.is_empty() {
            self.channels.remove(channel);
        }
    }

    /// Drops a channel's hold; returns the numbers of its publications.
    pub(crate) fn remove(&mut self, channel: &ChannelId) -> Vec<EntryNumber> {
        let Some(hold) = self.channels.remove(channel) else { return Vec::new() };
        self.bytes = self.bytes.saturating_sub(hold.bytes);
        for (number, _) in &hold.publications {
            self.before.remove(number);
        }
        hold.publications.into_iter().map(|(number, _)| number).collect()
    }

    /// The channel that holds the most bytes.
    pub(crate) fn largest(&self) -> Option<ChannelId> {
        let largest = self.channels.iter().max_by_key(|(_, hold)| hold.bytes);
        largest.map(|(channel, _)| channel.clone())
    }

    /// Drops a channel's held publications to stay within the bounds, and marks the channel as
    /// lost.
    pub(crate) fn lose(&mut self, channel: &ChannelId) {
        let Some(hold) = self.channels.get(channel) else { return };
        let recipients = hold.publications.iter().filter_map(|(_, one)| one.channel());
        let Some(version) = recipients.map(|to| to.members_version).max() else { return };
        let Some((first, _)) = self.first(channel) else { return };
        let position = self.before.get(&first).map(|barrier| barrier.position);
        self.remove(channel);
        self.lost.insert(channel.clone(), Lost { first, version });
        if let Some(position) = position {
            self.bar(first, position);
        }
    }

    /// Records that one more publication of a lost channel is dropped.
    pub(crate) fn lose_another(&mut self, channel: &ChannelId, version: u64) {
        if let Some(lost) = self.lost.get_mut(channel) {
            lost.version = lost.version.max(version);
        }
    }

    /// Records that a view of this version is known. True if the channel is no longer lost: the
    /// view's members must then read it again, and no cursor passes the dropped publications until
    /// [`Holds::resyncs_sent`].
    pub(crate) fn find(&mut self, channel: &ChannelId, version: u64) -> bool {
        let is_found = self.lost.get(channel).is_some_and(|lost| version >= lost.version);
        if is_found {
            self.lost.remove(channel);
        }
        is_found
    }

    /// Records that all resyncs were sent: removes the barriers of dropped publications, except
    /// those of channels that are still lost.
    pub(crate) fn resyncs_sent(&mut self) {
        let lost: Vec<EntryNumber> = self.lost.values().map(|lost| lost.first).collect();
        self.before.retain(|number, barrier| barrier.is_held || lost.contains(number));
    }

    /// Drops everything after this number: the stream was forked there, and does not have it.
    pub(crate) fn cut_after(&mut self, number: EntryNumber) {
        self.before.split_off(&number.next());
        self.lost.retain(|_, lost| lost.first <= number);
        for hold in self.channels.values_mut() {
            while hold.publications.back().is_some_and(|(last, _)| *last > number)
                && let Some((_, publication)) = hold.publications.pop_back()
            {
                let bytes = weight(&publication);
                hold.bytes = hold.bytes.saturating_sub(bytes);
                self.bytes = self.bytes.saturating_sub(bytes);
            }
        }
        self.channels.retain(|_, hold| !hold.publications.is_empty());
    }

    /// When the oldest hold began to wait.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.channels.values().map(|hold| hold.since).min()
    }

    /// The position before the oldest publication that is held or lost: no cursor may pass it.
    pub(crate) fn safe(&self) -> Option<Position> {
        self.before.first_key_value().map(|(_, barrier)| barrier.position)
    }

    /// The same for the entries up to `number`: what a replayed entry may carry.
    pub(crate) fn safe_at(&self, number: EntryNumber) -> Option<Position> {
        self.before.range(..=number).next().map(|(_, barrier)| barrier.position)
    }
}
