//! The local users and their channels: this node's part of membership (G6).
//!
//! A view holds the LOCAL members of a channel and the `members_version` that they belong to.
//! Version 0 means "no view". An attach registers its user first and then reads the user's rows. If
//! a refresh or a delta covered a channel since the registration, it overrides those rows.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use model::{ChannelId, Member, Presence, Timestamp, UserId, limits};

use crate::audience::{Audience, SocketId};
use crate::numbers::Registration;

/// A user who has a socket here, or is about to. A user gets a new key only after leaving.
pub(crate) type UserKey = Registration;

#[derive(Debug)]
pub(crate) struct LocalUser {
    pub(crate) id: UserId,
    pub(crate) sockets: Vec<SocketId>,
    /// Whether their rows were read.
    pub(crate) is_loaded: bool,
    /// What their sockets say.
    pub(crate) presence: Presence,
    registered_at: Registration,
    /// Shares the ids of the views, so that each id is in memory once.
    channels: ChannelSet,
    /// Channels in which a delta added or removed this user since the registration.
    decided: ChannelSet,
    /// Channels that they joined lately, and when: see `LoadedUser::joined`.
    pub(crate) joined: Vec<(ChannelId, Timestamp)>,
    /// While the rows are read again: the channels that their sockets know of.
    told: ChannelSet,
}

/// A sorted list of channels that uses little memory: most users have few channels, and they are
/// most of a user's memory on a node.
#[derive(Debug, Default)]
struct ChannelSet(Vec<ChannelId>);

impl ChannelSet {
    fn contains(&self, channel: &ChannelId) -> bool {
        self.0.binary_search(channel).is_ok()
    }

    fn insert(&mut self, channel: ChannelId) {
        if let Err(place) = self.0.binary_search(&channel) {
            // Long lists grow by doubling.
            if self.0.len() < EXACT_MAX {
                self.0.reserve_exact(1);
            }
            self.0.insert(place, channel);
        }
    }

    fn remove(&mut self, channel: &ChannelId) {
        if let Ok(place) = self.0.binary_search(channel) {
            self.0.remove(place);
        }
    }

    fn set(&mut self, channel: &ChannelId, is_in: bool) {
        if is_in { self.insert(channel.clone()) } else { self.remove(channel) }
    }

    fn without(&self, other: &Self) -> Vec<ChannelId> {
        self.0.iter().filter(|channel| !other.contains(channel)).cloned().collect()
    }

    fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

impl LocalUser {
    /// Notes when the user joined a channel, the last time.
    fn joins(&mut self, channel: &ChannelId, at: Timestamp) {
        self.joined.retain(|(known, _)| known != channel);
        self.joined.push((channel.clone(), at));
    }

    /// Whether a row says that the user joined a channel later than is known. Their removal before was
    /// not heard of, if they were a member all the time by what is known.
    fn is_back(&self, channel: &ChannelId, joined_at: Timestamp, now: Timestamp) -> bool {
        match self.joined.iter().find(|(known, _)| known == channel) {
            Some((_, known)) => joined_at > known.plus(limits::JOINED_MARGIN),
            // Those who joined lately when their rows were read are all known.
            None => joined_at > now.minus(limits::STREAM_TTL),
        }
    }

    /// What sockets are to be told after the rows were read again: see [`Roster::load`].
    fn news(&mut self, joined: &[(ChannelId, Timestamp)]) -> (Vec<ChannelId>, Vec<ChannelId>) {
        let told = mem::take(&mut self.told);
        if self.sockets.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let is_back = |(channel, at): &&(ChannelId, Timestamp)| {
            // Rows are lately joined ones only.
            let is_back = self.is_back(channel, *at, *at);
            told.contains(channel) && self.channels.contains(channel) && is_back
        };
        let mut came = self.channels.without(&told);
        came.extend(joined.iter().filter(is_back).map(|(channel, _)| channel.clone()));
        (came, told.without(&self.channels))
    }
}

#[derive(Debug, Default)]
struct View {
    version: u64,
    /// The greatest version that a publication had.
    heard: u64,
    touched_at: Registration,
    members: BTreeSet<UserKey>,
    /// Members on all nodes; `None` until they were read.
    size: Option<usize>,
    audience: Option<Audience>,
}

#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// Sorted, so that iteration has one order and a run can be repeated.
    users: BTreeMap<UserKey, LocalUser>,
    keys: HashMap<UserId, UserKey>,
    views: HashMap<ChannelId, View>,
    /// Counts registrations and refreshes, so that they can be compared.
    sequence: Registration,
    empty_views: usize,
}

impl Roster {
    fn tick(&mut self) -> Registration {
        self.sequence = self.sequence.next();
        self.sequence
    }

    /// The key of a user, and whether the user was registered by this call.
    pub(crate) fn register(&mut self, user: &UserId) -> (UserKey, bool) {
        if let Some(key) = self.keys.get(user) {
            return (*key, false);
        }
        let key = self.tick();
        let local = LocalUser {
            id: user.clone(),
            sockets: Vec::new(),
            is_loaded: false,
            presence: Presence::Offline,
            registered_at: key,
            channels: ChannelSet::default(),
            decided: ChannelSet::default(),
            joined: Vec::new(),
            told: ChannelSet::default(),
        };
        self.keys.insert(local.id.clone(), key);
        self.users.insert(key, local);
        (key, true)
    }

    pub(crate) fn key_of(&self, user: &UserId) -> Option<UserKey> {
        self.keys.get(user).copied()
    }

    /// The key of a user whose rows were requested at this registration, and not again since.
    pub(crate) fn key_at(&self, user: &UserId, registration: Registration) -> Option<UserKey> {
        let is_current = |key: &UserKey| {
            self.users.get(key).is_some_and(|user| user.registered_at == registration)
        };
        self.key_of(user).filter(is_current)
    }

    /// Resets channels to "no view" and users to "not loaded"; returns the users, each with the
    /// registration to read the rows for.
    pub(crate) fn forget_views(&mut self) -> Vec<(UserId, Registration)> {
        self.views.clear();
        self.empty_views = 0;
        let registered_at = self.tick();
        let reset = |user: &mut LocalUser| {
            let known = mem::take(&mut user.channels);
            if mem::replace(&mut user.is_loaded, false) {
                user.told = known;
            }
            user.registered_at = registered_at;
            user.decided.clear();
            (user.id.clone(), registered_at)
        };
        self.users.values_mut().map(reset).collect()
    }

    /// The users whose rows are not read yet.
    pub(crate) fn unloaded(&self) -> BTreeSet<UserKey> {
        let unloaded = self.users.iter().filter(|(_, user)| !user.is_loaded);
        unloaded.map(|(key, _)| *key).collect()
    }

    /// The channels with local members.
    pub(crate) fn inhabited_channels(&self) -> BTreeSet<ChannelId> {
        let inhabited = self.views.iter().filter(|(_, view)| !view.members.is_empty());
        inhabited.map(|(channel, _)| channel.clone()).collect()
    }

    pub(crate) fn user(&self, key: UserKey) -> Option<&LocalUser> {
        self.users.get(&key)
    }

    /// Stores the rows that were read for a user since the registration. Returns the channels of
    /// which their sockets do not know that the user came, or came back, and those from which the
    /// user is gone.
    pub(crate) fn load(
        &mut self,
        key: UserKey,
        channels: Vec<ChannelId>,
        joined: Vec<(ChannelId, Timestamp)>,
    ) -> (Vec<ChannelId>, Vec<ChannelId>) {
        let Some(user) = self.users.get_mut(&key) else { return (Vec::new(), Vec::new()) };
        user.is_loaded = true;
        user.channels.0.reserve_exact(channels.len());
        for channel in channels {
            let view = match self.views.entry(channel) {
                Entry::Occupied(view) => view,
                Entry::Vacant(place) => place.insert_entry(View::default()),
            };
            let channel = view.key().clone();
            let view = view.into_mut();
            // A refresh covers every user registered before it, a delta covers one.
            let is_open = view.touched_at <= user.registered_at && !user.decided.contains(&channel);
            if is_open && view.members.insert(key) {
                view.audience = None;
                user.channels.insert(channel);
            }
        }
        user.decided.clear();
        let news = user.news(&joined);
        user.joined = joined;
        news
    }

    pub(crate) fn add_socket(&mut self, key: UserKey, socket: SocketId) {
        if let Some(user) = self.users.get_mut(&key) {
            // Most users have one.
            user.sockets.reserve_exact(1);
            user.sockets.push(socket);
        }
        self.forget_audiences(key);
    }

    pub(crate) fn remove_socket(&mut self, key: UserKey, socket: SocketId) {
        if let Some(user) = self.users.get_mut(&key) {
            user.sockets.retain(|other| *other != socket);
        }
        self.forget_audiences(key);
    }

    fn forget_audiences(&mut self, key: UserKey) {
        let Some(user) = self.users.get(&key) else { return };
        for channel in &user.channels.0 {
            if let Some(view) = self.views.get_mut(channel) {
                view.audience = None;
            }
        }
    }

    /// Records what a user's sockets say; returns what they said before.
    pub(crate) fn set_presence(&mut self, key: UserKey, presence: Presence) -> Presence {
        let user = self.users.get_mut(&key);
        user.map_or(presence, |user| mem::replace(&mut user.presence, presence))
    }

    /// What a user's sockets here say.
    pub(crate) fn presence_of(&self, user: &UserId) -> Presence {
        let user = self.keys.get(user).and_then(|key| self.users.get(key));
        user.map(|user| user.presence).unwrap_or_default()
    }

    /// The users who have sockets here, and what these say.
    pub(crate) fn present(&self) -> impl Iterator<Item = (UserId, Presence)> {
        let present = self.users.values().filter(|user| user.presence != Presence::Offline);
        present.map(|user| (user.id.clone(), user.presence))
    }

    /// Removes a user who has no socket here any more.
    pub(crate) fn leave(&mut self, key: UserKey) {
        self.forget_audiences(key);
        let Some(user) = self.users.remove(&key) else { return };
        self.keys.remove(&user.id);
        for channel in user.channels.0 {
            if let Some(view) = self.views.get_mut(&channel) {
                view.members.remove(&key);
                if view.members.is_empty() {
                    self.empty_views += 1;
                    if view.version == 0 {
                        self.views.remove(&channel);
                    }
                }
            }
        }
        self.sweep_empty_views();
    }

    /// Removes empty views once there may be too many (`empty_views` is an upper bound). A view
    /// that is newer than rows still being read stays, because it overrides them.
    fn sweep_empty_views(&mut self) {
        if self.empty_views > limits::EMPTY_VIEWS_MAX {
            let unloaded = self.users.values().filter(|user| !user.is_loaded);
            let oldest = unloaded.map(|user| user.registered_at).min();
            let overrides = |view: &View| oldest.is_some_and(|oldest| view.touched_at > oldest);
            self.views.retain(|_, view| !view.members.is_empty() || overrides(view));
            self.empty_views = 0;
        }
    }

    /// The version of a channel's view; 0 without a view.
    pub(crate) fn version(&self, channel: &ChannelId) -> u64 {
        self.views.get(channel).map_or(0, |view| view.version)
    }

    /// Notes that a publication of this version came. Returns the version of the channel's view; 0 without
    /// a view.
    pub(crate) fn hear(&mut self, channel: &ChannelId, version: u64) -> u64 {
        let Some(view) = self.views.get_mut(channel) else { return 0 };
        view.heard = view.heard.max(version);
        view.version
    }

    /// The greatest version of which a publication came while there was a view.
    pub(crate) fn heard(&self, channel: &ChannelId) -> u64 {
        self.views.get(channel).map_or(0, |view| view.heard)
    }

    /// Sets a view that was read from the store, strongly, version first and rows last. Ignored if
    /// the present view is newer. Returns the local users who became members by it, or became members
    /// again since, and those who ceased to be.
    pub(crate) fn refresh(
        &mut self,
        channel: &ChannelId,
        version: u64,
        members: &[Member],
        now: Timestamp,
    ) -> (Vec<UserKey>, Vec<UserKey>) {
        if version < self.version(channel) {
            return (Vec::new(), Vec::new());
        }
        let here = |member: &Member| Some((*self.keys.get(&member.user_id)?, member.joined_at));
        let joined: BTreeMap<UserKey, Timestamp> = members.iter().filter_map(here).collect();
        let local: BTreeSet<UserKey> = joined.keys().copied().collect();
        let touched_at = self.tick();
        let channel = &self.named(channel);
        let view = self.views.entry(channel.clone()).or_default();
        let gone: Vec<UserKey> = view.members.difference(&local).copied().collect();
        for gone in &gone {
            if let Some(user) = self.users.get_mut(gone) {
                user.channels.remove(channel);
            }
        }
        let mut added = Vec::new();
        for (here, joined_at) in joined {
            let Some(user) = self.users.get_mut(&here) else { continue };
            user.channels.insert(channel.clone());
            let is_added = !view.members.contains(&here);
            // Otherwise the rows that are being read say when.
            if user.is_loaded && (is_added || user.is_back(channel, joined_at, now)) {
                user.joins(channel, joined_at);
                added.push(here);
            }
        }
        self.empty_views += usize::from(local.is_empty());
        let (heard, size) = (view.heard, Some(members.len()));
        *view = View { version, heard, touched_at, members: local, size, audience: None };
        self.sweep_empty_views();
        (added, gone)
    }

    /// Applies a membership change of the next version.
    pub(crate) fn apply(
        &mut self,
        channel: &ChannelId,
        version: u64,
        (user, is_member): (&UserId, bool),
        now: Timestamp,
    ) {
        let key = self.keys.get(user).copied();
        let channel = &self.named(channel);
        let view = self.views.entry(channel.clone()).or_default();
        (view.version, view.audience) = (version, None);
        let change = |size: usize| if is_member { size + 1 } else { size.saturating_sub(1) };
        view.size = view.size.map(change);
        let Some(key) = key else { return };
        let Some(local) = self.users.get_mut(&key) else { return };
        if !local.is_loaded {
            local.decided.insert(channel.clone());
            // The change's own frame tells them.
            local.told.set(channel, is_member);
        }
        if is_member {
            view.members.insert(key);
            local.channels.insert(channel.clone());
            local.joins(channel, now);
        } else {
            view.members.remove(&key);
            local.channels.remove(channel);
        }
    }

    /// The id that the channel's view uses, if there is a view.
    fn named(&self, channel: &ChannelId) -> ChannelId {
        let known = self.views.get_key_value(channel);
        known.map_or_else(|| channel.clone(), |(known, _)| known.clone())
    }

    /// The local members of a channel.
    pub(crate) fn members(&self, channel: &ChannelId) -> impl Iterator<Item = UserKey> {
        self.views.get(channel).into_iter().flat_map(|view| view.members.iter().copied())
    }

    /// How many members a channel has on all nodes, if they were read.
    pub(crate) fn size(&self, channel: &ChannelId) -> Option<usize> {
        self.views.get(channel)?.size
    }

    /// All local users.
    pub(crate) fn keys(&self) -> impl Iterator<Item = UserKey> {
        self.users.keys().copied()
    }

    pub(crate) fn is_member(&self, channel: &ChannelId, key: UserKey) -> bool {
        self.views.get(channel).is_some_and(|view| view.members.contains(&key))
    }

    /// The sockets of a channel's local members. Recomputed only after a change.
    pub(crate) fn audience(&mut self, channel: &ChannelId) -> Audience {
        let Some(view) = self.views.get_mut(channel) else { return Audience::default() };
        let users = &self.users;
        view.audience.get_or_insert_with(|| Audience::of(sockets(users, &view.members))).clone()
    }

    /// The sockets of a user.
    pub(crate) fn audience_of(&self, user: &UserId) -> Audience {
        Audience::of(sockets(&self.users, self.keys.get(user)))
    }

    /// All sockets.
    pub(crate) fn everyone(&self) -> Audience {
        Audience::of(sockets(&self.users, self.users.keys()))
    }

    /// The sockets of a channel's members and of more users.
    pub(crate) fn audience_and(&mut self, channel: &ChannelId, users: &[UserId]) -> Audience {
        let members = self.audience(channel);
        let keys = users.iter().filter_map(|user| self.keys.get(user));
        let others = keys.filter(|key| !self.is_member(channel, **key));
        let mut concerned = sockets(&self.users, others).peekable();
        if concerned.peek().is_none() {
            return members;
        }
        Audience::of(members.sockets().chain(concerned))
    }
}

fn sockets<'a>(
    users: &BTreeMap<UserKey, LocalUser>,
    keys: impl IntoIterator<Item = &'a UserKey>,
) -> impl Iterator<Item = SocketId> {
    let users = keys.into_iter().filter_map(|key| users.get(key));
    users.flat_map(|user| user.sockets.iter().copied())
}

/// Lists longer than this reserve room in advance.
const EXACT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g6_a_sweep_forgets_no_refresh_that_late_rows_would_contradict() {
        let (mut roster, now) = (Roster::default(), Timestamp::from_unix_ms(0));
        let alice = UserId::parse("alice").unwrap();
        let channel = |n: u64| ChannelId::mint_group(Timestamp::from_unix_ms(n), u128::from(n));
        // Alice's rows are read slowly; then she is removed, which arrives as a refresh.
        let (key, _) = roster.register(&alice);
        roster.refresh(&channel(1), 2, &[], now);
        for n in 0..=limits::EMPTY_VIEWS_MAX as u64 {
            roster.refresh(&channel(n + 2), 1, &[], now);
        }
        roster.load(key, vec![channel(1)], Vec::new());
        assert!(!roster.is_member(&channel(1), key), "the rows were older");
        // No rows are being read: empty views are removed.
        for n in 0..=2 * limits::EMPTY_VIEWS_MAX as u64 {
            roster.refresh(&channel(n + 2), 1, &[], now);
        }
        assert!(roster.views.len() <= 2 * limits::EMPTY_VIEWS_MAX, "{}", roster.views.len());
    }
}
