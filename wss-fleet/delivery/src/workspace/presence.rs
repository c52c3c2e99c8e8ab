//! Who is present: what sockets of this node say, what other nodes announce, and what viewers are told.

use model::{NodeId, Presence, Timestamp, UserId};
use protocol::frame::ServerFrame;
use protocol::presence::Announcement;

use super::{DeliveryClass, Effect, Turn, Workspace};
use crate::audience::{Audience, SocketId};
use crate::presence::{PresenceInput, Told};
use crate::roster::UserKey;

impl Workspace {
    /// Whether [`PresenceInput::Fleet`] is wanted: somebody views users.
    #[must_use]
    pub fn follows_presence(&self) -> bool {
        !self.presence.watches.is_empty()
    }

    /// Whether nobody is present here by what other nodes were told: else the task must not end yet.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.is_idle() && self.presence.own.is_settled()
    }

    /// A user's sockets changed, or what they say.
    pub(super) fn note_presence(&mut self, key: UserKey, now: Timestamp) {
        let Some(user) = self.roster.user(key) else { return };
        let attached = user.sockets.iter().filter_map(|socket| self.sockets.get(socket));
        let seen = attached.filter(|one| !one.is_invisible);
        let says = seen.map(|one| if one.is_idle { Presence::Idle } else { Presence::Active });
        let (says, user) = (says.max().unwrap_or_default(), user.id.clone());
        let said = self.roster.set_presence(key, says);
        if says == said {
            return;
        }
        if says == Presence::Offline {
            return self.presence.own.leaves(&user, said, now);
        }
        let known = self.presence.own.is_back(&user).unwrap_or(said);
        if known != says {
            self.presence.own.changes(&user);
            self.presence.watches.changes(&user);
        }
    }

    pub(super) fn on_idle(&mut self, socket: SocketId, is_idle: bool, turn: &mut Turn<'_>) {
        let Some(attached) = self.sockets.get_mut(&socket) else { return };
        attached.is_idle = is_idle;
        let key = attached.key;
        self.note_presence(key, turn.now);
    }

    /// A socket views these users, and no others any more.
    pub(super) fn watch(&mut self, socket: SocketId, users: Vec<UserId>, turn: &mut Turn<'_>) {
        self.presence.watches.set(socket, users, turn.now);
        self.follow(turn);
        self.tell_presence(turn);
    }

    pub(super) fn unwatch(&mut self, socket: SocketId, turn: &mut Turn<'_>) {
        self.presence.watches.remove(socket);
        self.follow(turn);
    }

    /// Follows the other nodes while somebody here views users.
    fn follow(&mut self, turn: &mut Turn<'_>) {
        let is_wanted = self.follows_presence();
        let effect = self.presence.others.follow(is_wanted);
        turn.effects.extend(effect.map(Effect::Presence));
    }

    pub(super) fn on_presence_linked(&mut self, turn: &mut Turn<'_>) {
        self.presence.own.is_linked();
        let effect = self.presence.others.on_linked();
        turn.effects.extend(effect.map(Effect::Presence));
    }

    pub(super) fn on_presence_signal(
        &mut self,
        node: &NodeId,
        news: &Announcement,
        turn: &mut Turn<'_>,
    ) {
        if *node != self.node_id {
            let changed = self.presence.others.on_signal(node, news, turn.now);
            self.presence_changed(&changed);
        }
    }

    pub(super) fn on_presence(&mut self, input: PresenceInput, turn: &mut Turn<'_>) {
        let others = &mut self.presence.others;
        let mut changed = match input {
            PresenceInput::Announced { number, outcome } => {
                let leaving = self.presence.own.all_leaving();
                let is_deserted = self.roster.present().chain(leaving).next().is_none();
                self.presence.own.on_announced(number, outcome, is_deserted, turn.now);
                return;
            }
            PresenceInput::ReadAll { id, mut nodes, fleet } => {
                nodes.retain(|(node, _)| *node != self.node_id);
                let changed = others.on_read_all(id, nodes, turn.now);
                others.on_fleet(&fleet, turn.now);
                changed
            }
            PresenceInput::ReadNode { node, found } => others.on_read_node(&node, found, turn.now),
            PresenceInput::Fleet(fleet) => {
                others.on_fleet(&fleet, turn.now);
                Vec::new()
            }
        };
        // Nodes whose lease expired long ago are never shown.
        changed.append(&mut others.gone(turn.now));
        self.presence_changed(&changed);
        self.tell_presence(turn);
    }

    fn presence_changed(&mut self, users: &[UserId]) {
        for user in users {
            self.presence.watches.changes(user);
        }
    }

    /// What is due by time: who is gone, what is to be announced, read again or told.
    pub(super) fn on_time_of_presence(&mut self, turn: &mut Turn<'_>) {
        let mut gone = self.presence.others.gone(turn.now);
        if self.may_be_gone() {
            gone.append(&mut self.presence.own.gone(turn.now));
        }
        self.presence_changed(&gone);
        let (roster, present) = (&self.roster, &mut self.presence);
        let attached = |user: &UserId| roster.presence_of(user);
        let effect = present.own.due(turn.now, attached, || roster.present().collect());
        turn.effects.extend(effect.map(Effect::Presence));
        let reads = self.presence.others.due_reads(turn.now);
        turn.effects.extend(reads.into_iter().map(Effect::Presence));
        self.tell_presence(turn);
    }

    /// Whether a user who left may be declared gone: while pushes are missed, they may be elsewhere.
    fn may_be_gone(&self) -> bool {
        self.presence.watches.is_empty() || self.presence.others.is_current()
    }

    /// Tells viewers what they do not know yet.
    fn tell_presence(&mut self, turn: &mut Turn<'_>) {
        // What was not read yet is not offline.
        if !self.presence.others.is_read() || !self.presence.watches.has_news() {
            return;
        }
        let (roster, present) = (&self.roster, &mut self.presence);
        let (own, others) = (&present.own, &present.others);
        let of = |user: &UserId| {
            roster.presence_of(user).max(own.leaving(user)).max(others.presence_of(user))
        };
        for (Told { users, is_all }, sockets) in present.watches.due(turn.now, of) {
            let frame = (self.framing)(ServerFrame::Presence { users }.encode());
            let class = if is_all { DeliveryClass::Live } else { DeliveryClass::Signal };
            let (to, publication) = (Audience::of(sockets), None);
            turn.effects.push(Effect::Deliver { frame, to, class, publication });
        }
    }
}
