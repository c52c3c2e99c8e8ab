//! Which sockets view which users, and what each of them was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use model::{Presence, Timestamp, UserId, limits};

use super::{UserPresence, is_over};
use crate::audience::SocketId;

/// The sockets that view users. Others cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    sockets: HashMap<SocketId, Watch>,
    viewers: BTreeMap<UserId, BTreeSet<SocketId>>,
    /// Sockets that are to be told something.
    due: BTreeSet<SocketId>,
}

#[derive(Debug)]
struct Watch {
    /// Sorted, each with what the socket was told.
    users: Vec<UserPresence>,
    news: What,
    told_at: Option<Timestamp>,
    told_all_at: Timestamp,
    /// Whether changes were told since then: each of those frames may have been dropped.
    has_told_changes: bool,
}

/// What sockets are told.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) users: Vec<UserPresence>,
    /// Whether it is all that they view. That must not be lost: while nothing changes, it is not said again.
    pub(crate) is_all: bool,
}

/// What a socket is to be told.
#[derive(Debug, PartialEq, Eq)]
enum What {
    /// All users that it views.
    All,
    /// These changed: places in the list.
    Changes(BTreeSet<usize>),
}

impl Watches {
    /// Replaces the users that a socket views, sorted. It is to be told all of them.
    pub(crate) fn set(&mut self, socket: SocketId, users: Vec<UserId>, now: Timestamp) {
        let told_at = self.sockets.get(&socket).and_then(|watch| watch.told_at);
        self.remove(socket);
        if users.is_empty() {
            return;
        }
        for user in &users {
            self.viewers.entry(user.clone()).or_default().insert(socket);
        }
        let users = users.into_iter().map(|user| (user, Presence::Offline)).collect();
        let (news, told_all_at) = (What::All, now);
        let watch = Watch { users, news, told_at, told_all_at, has_told_changes: false };
        self.sockets.insert(socket, watch);
        self.due.insert(socket);
    }

    /// Forgets a socket.
    pub(crate) fn remove(&mut self, socket: SocketId) {
        self.due.remove(&socket);
        let Some(watch) = self.sockets.remove(&socket) else { return };
        for (user, _) in &watch.users {
            let Some(viewers) = self.viewers.get_mut(user) else { continue };
            viewers.remove(&socket);
            if viewers.is_empty() {
                self.viewers.remove(user);
            }
        }
    }

    /// Whether no socket views users.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.due.is_empty()
    }

    /// Records that a user's presence may have changed.
    pub(crate) fn changes(&mut self, user: &UserId) {
        for socket in self.viewers.get(user).into_iter().flatten() {
            let Some(watch) = self.sockets.get_mut(socket) else { continue };
            if let What::Changes(places) = &mut watch.news
                && let Ok(place) = watch.users.binary_search_by(|(known, _)| known.cmp(user))
            {
                places.insert(place);
            }
            self.due.insert(*socket);
        }
    }

    /// A socket is alive: after changes, it is told everything again from time to time.
    pub(crate) fn refresh(&mut self, socket: SocketId, now: Timestamp) {
        if let Some(watch) = self.sockets.get_mut(&socket)
            && watch.has_told_changes
            && is_over(watch.told_all_at, limits::PRESENCE_TOLD_AGAIN, now)
        {
            watch.news = What::All;
            self.due.insert(socket);
        }
    }

    /// What sockets are to be told now: users, and the sockets that are told the same about them.
    pub(crate) fn due(
        &mut self,
        now: Timestamp,
        of: impl Fn(&UserId) -> Presence,
    ) -> BTreeMap<Told, Vec<SocketId>> {
        let mut due: BTreeMap<Told, Vec<SocketId>> = BTreeMap::new();
        let sockets = &mut self.sockets;
        self.due.retain(|socket| {
            let Some(watch) = sockets.get_mut(socket) else { return false };
            if !watch.is_due(now) {
                return true;
            }
            let news = watch.tell(now, &of);
            if !news.users.is_empty() {
                due.entry(news).or_default().push(*socket);
            }
            false
        });
        due
    }
}

impl Watch {
    fn is_due(&self, now: Timestamp) -> bool {
        let wait: Duration = match self.news {
            What::All => limits::PRESENCE_ANSWER_EVERY,
            What::Changes(_) => limits::PRESENCE_TOLD_EVERY,
        };
        self.told_at.is_none_or(|at| is_over(at, wait, now))
    }

    fn tell(&mut self, now: Timestamp, of: impl Fn(&UserId) -> Presence) -> Told {
        let mut news = Vec::new();
        let what = std::mem::replace(&mut self.news, What::Changes(BTreeSet::new()));
        let is_all = what == What::All;
        match what {
            What::All => {
                for (user, told) in &mut self.users {
                    *told = of(user);
                }
                news.clone_from(&self.users);
                (self.told_all_at, self.has_told_changes) = (now, false);
            }
            What::Changes(places) => {
                for place in places {
                    let Some((user, told)) = self.users.get_mut(place) else { continue };
                    let presence = of(user);
                    if *told != presence {
                        *told = presence;
                        news.push((user.clone(), presence));
                    }
                }
                self.has_told_changes |= !news.is_empty();
            }
        }
        if !news.is_empty() {
            self.told_at = Some(now);
        }
        Told { users: news, is_all }
    }
}
