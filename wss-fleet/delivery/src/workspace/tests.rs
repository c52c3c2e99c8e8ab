//! The workspace, tested by its inputs and effects. Names start with the guarantee they test.
#![expect(clippy::wildcard_enum_match_arm, reason = "tests look for one effect among others")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{
    ChannelChange, EntryId, Member, Message, MessageId, MessageRef, MessageText, Presence,
    PublicationId,
};
use protocol::client_frame::ClientFrame;
use protocol::close::CloseCode;
use protocol::frame::ServerFrame;
use protocol::publication::{Payload, Publication};

use super::*;
use crate::presence::{Announced, PresenceEffect, PresenceInput};

mod attach;
mod backfill;
mod chain;
mod cut;
mod hold;
mod meetings;
mod presence;
mod receipts;
mod said;
mod signals;
mod ticks;

/// A workspace, its clock, and the effects of the last input.
struct Fixture {
    workspace: Workspace,
    now: Timestamp,
    effects: Vec<Effect>,
    /// Effects about presence, which are answered at once unless a test does it.
    of_presence: Vec<PresenceEffect>,
    book: Announced,
    entries: Vec<Entry>,
    published: u64,
    serial: u64,
}

impl Fixture {
    /// A workspace without a subscription.
    fn unlinked() -> Self {
        let now = Timestamp::from_unix_ms(1_000_000);
        Self {
            workspace: Workspace::new(
                "w".parse().unwrap(),
                "N1".parse().unwrap(),
                Bytes::from,
                now,
            ),
            now,
            effects: Vec::new(),
            of_presence: Vec::new(),
            book: Announced::Written,
            entries: Vec::new(),
            published: 0,
            serial: 0,
        }
    }

    /// A workspace whose stream holds one marker.
    fn linked() -> Self {
        let mut fixture = Self::unlinked();
        fixture.entry(marker());
        fixture.input(Input::Linked);
        assert!(
            matches!(fixture.effects[..], [Effect::Fill { from: None, .. }]),
            "{:?}",
            fixture.effects
        );
        fixture.answer_fill();
        fixture
    }

    fn input(&mut self, input: Input) -> &[Effect] {
        self.effects.clear();
        self.workspace.handle(input, self.now, &mut self.effects);
        self.answer_presence();
        &self.effects
    }

    /// Sets the effects about presence aside. What was announced is written.
    fn answer_presence(&mut self) {
        let (of_presence, others) = std::mem::take(&mut self.effects)
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Presence(_)));
        self.effects = others;
        for effect in of_presence {
            let Effect::Presence(effect) = effect else { continue };
            let number = match &effect {
                PresenceEffect::Announce(news) => Some(news.number),
                PresenceEffect::Renew(number) => Some(*number),
                PresenceEffect::ReadAll(_) | PresenceEffect::ReadNode(_) => None,
            };
            self.of_presence.push(effect);
            if let Some(number) = number {
                let written = PresenceInput::Announced { number, outcome: self.book };
                let written = Input::Presence(written);
                self.workspace.handle(written, self.now, &mut Vec::new());
            }
        }
    }

    /// As if everything about presence were announced.
    fn forget_presence(&mut self) {
        self.workspace.presence = Present::new(self.now);
    }

    /// Adds an entry to the stream without pushing it.
    fn entry(&mut self, what: What) -> Entry {
        let n = self.entries.len() as u64 + 1;
        self.published += 1;
        let random = u128::from(self.published) * 7_919;
        let id = MessageId::mint(Timestamp::from_unix_ms(n), random).into();
        let prev = self.entries.last().map(|entry| entry.position);
        let position = position(n, prev, id);
        let entry = Entry { position, prev, publication: Arc::new(what(id)) };
        self.entries.push(entry.clone());
        entry
    }

    fn frame(&mut self, socket: SocketId, frame: ClientFrame) -> Vec<(SocketId, String)> {
        self.input(Input::Said { socket, frame });
        self.delivered()
    }

    /// Adds an entry to the stream and pushes it.
    fn push(&mut self, what: What) -> &[Effect] {
        let entry = self.entry(what);
        self.input(Input::Entry(entry))
    }

    /// Answers the last effects' fill from the stream.
    fn answer_fill(&mut self) -> &[Effect] {
        let (id, from) = self
            .effects
            .iter()
            .find_map(|effect| match effect {
                Effect::Fill { id, from } => Some((*id, *from)),
                _ => None,
            })
            .expect("a fill was asked for");
        let from = from.unwrap_or_default();
        let entries: Vec<Entry> =
            self.entries.iter().filter(|entry| entry.position.entry >= from).cloned().collect();
        self.input(Input::Filled { id, entries })
    }

    fn attach_with(&mut self, name: &str, cursor: Option<String>) -> SocketId {
        self.attach_as(name, cursor, false)
    }

    fn attach_as(&mut self, name: &str, cursor: Option<String>, is_invisible: bool) -> SocketId {
        self.serial += 1;
        let socket =
            SocketId { shard: u16::from(self.serial.is_multiple_of(2)), serial: self.serial };
        let connection_id = format!("S{}", self.serial).parse().unwrap();
        let (user, ends_at, takes_going) = (user(name), ends_at(self.serial), self.serial != 2);
        let attach = Attach {
            socket,
            connection_id,
            user,
            cursor,
            ends_at,
            takes_going,
            is_invisible,
            device: Some(format!("of-{name}").parse().unwrap()),
        };
        self.input(Input::Attach(attach));
        socket
    }

    /// Attaches a user who is a member of these channels; the rows are read at once.
    fn attach(&mut self, name: &str, channels: &[&ChannelId]) -> SocketId {
        let socket = self.attach_with(name, None);
        self.load(name, channels);
        socket
    }

    fn load(&mut self, name: &str, channels: &[&ChannelId]) -> &[Effect] {
        let Some(registration) = self.effects.iter().find_map(|effect| match effect {
            Effect::LoadUser { registration, .. } => Some(*registration),
            _ => None,
        }) else {
            return &self.effects;
        };
        let channels = channels.iter().map(|id| (*id).clone()).collect();
        let loaded = Some(LoadedUser { channels, ..LoadedUser::default() });
        self.input(Input::UserLoaded { user: user(name), registration, loaded })
    }

    fn refreshed(&mut self, channel: &ChannelId, version: u64, members: &[&str]) -> &[Effect] {
        self.refreshed_since(channel, version, members, 0)
    }

    /// The same, with the time at which all of them joined.
    fn refreshed_since(
        &mut self,
        channel: &ChannelId,
        version: u64,
        members: &[&str],
        ms: u64,
    ) -> &[Effect] {
        let members = members.iter().map(|name| member(name, ms)).collect();
        let members = Some(ChannelMembers { version, members });
        self.input(Input::Refreshed { channel: channel.clone(), members })
    }

    fn after(&mut self, duration: Duration) -> &[Effect] {
        self.now = self.now.plus(duration);
        self.input(Input::Time)
    }

    /// Lets one tick interval pass.
    fn tick(&mut self) -> &[Effect] {
        self.now = self.now.plus(limits::TICK);
        self.input(Input::Tick)
    }

    /// The message texts that the last effects delivered, with their sockets, in order.
    fn delivered(&self) -> Vec<(SocketId, String)> {
        let mut delivered = Vec::new();
        for effect in &self.effects {
            match effect {
                Effect::Deliver { frame, to, .. } => {
                    delivered.extend(to.sockets().map(|socket| (socket, text_of(frame))));
                }
                Effect::Replay { frames, to } => {
                    for frame in frames {
                        delivered.extend(to.sockets().map(|socket| (socket, text_of(frame))));
                    }
                }
                Effect::Ready { socket, frames } => {
                    delivered.extend(frames.iter().map(|frame| (*socket, text_of(frame))));
                }
                _ => {}
            }
        }
        delivered
    }

    fn cursor_of_last(&self) -> String {
        let frames = self.effects.iter().filter_map(|effect| match effect {
            Effect::Deliver { frame, .. } => Some(frame),
            Effect::Ready { frames, .. } | Effect::Replay { frames, .. } => frames.last(),
            _ => None,
        });
        let frame: serde_json::Value = serde_json::from_slice(frames.last().unwrap()).unwrap();
        frame["cursor"].as_str().unwrap().to_owned()
    }

    /// The channels that the last effects tell sockets to read again; `None` means all.
    fn rereads(&self) -> Vec<(SocketId, Option<Vec<ChannelId>>)> {
        let mut rereads = Vec::new();
        for effect in &self.effects {
            if let Effect::Deliver { frame, to, .. } = effect
                && let Some(ServerFrame::Resync { channels, .. }) =
                    ServerFrame::decode(std::str::from_utf8(frame).unwrap())
            {
                rereads.extend(to.sockets().map(|socket| (socket, channels.clone())));
            }
        }
        rereads.sort();
        rereads
    }

    fn resynced(&self) -> Vec<SocketId> {
        let mut sockets: Vec<SocketId> = self
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Deliver { frame, to, .. } if text_of(frame) == "resync" => {
                    Some(to.sockets())
                }
                _ => None,
            })
            .flatten()
            .collect();
        sockets.sort();
        sockets
    }
}

/// When the token of the socket with this number expires.
fn ends_at(serial: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_900_000_000_000 + serial)
}

/// Alice and bob in a channel.
fn two() -> (Fixture, ChannelId, SocketId, SocketId) {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let [alice, bob] = ["alice", "bob"].map(|name| fixture.attach(name, &[&c]));
    fixture.refreshed(&c, 3, &["alice", "bob"]);
    (fixture, c, alice, bob)
}

/// A message's text, `ready`/`ready+` (resumed), a change's name, or the frame's type.
fn text_of(frame: &[u8]) -> String {
    let text = std::str::from_utf8(frame).unwrap();
    match ServerFrame::decode(text).unwrap() {
        ServerFrame::Message { message, .. } => message.text.as_str().to_owned(),
        ServerFrame::Ready(ready) if ready.resumed => "ready+".to_owned(),
        ServerFrame::Ready(_) => "ready".to_owned(),
        ServerFrame::Channel { change, .. } => change.map_or("?", ChannelChange::as_str).to_owned(),
        ServerFrame::Resync { .. } => "resync".to_owned(),
        ServerFrame::Tick { fresh, .. } => format!("tick {fresh}"),
        ServerFrame::Read { mark, .. } => format!("read {mark}"),
        ServerFrame::Accepted { n, .. } => format!("accepted {n:?}"),
        ServerFrame::Refused(refused) => format!("refused {}", refused.code),
        ServerFrame::Joined { at, missed, .. } => format!("joined {} missed {missed:?}", at.n),
        ServerFrame::Said { n, message } => format!("said {n} {}", message.text.as_str()),
        ServerFrame::Ended { .. } => "ended".to_owned(),
        ServerFrame::Pong { fresh, .. } => format!("pong {fresh}"),
        ServerFrame::Typing { users, more, .. } => {
            let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
            format!("typing {} +{more}", users.join(","))
        }
        ServerFrame::Receipts { delivered, read, archived, .. } => {
            let marks = |of: &[(UserId, MessageId)]| {
                of.iter().map(|(user, id)| format!("{user} {}", id.time().unix_ms())).collect()
            };
            let (delivered, read): (Vec<_>, Vec<_>) = (marks(&delivered), marks(&read));
            let archived: Vec<u64> = archived.iter().map(|id| id.time().unix_ms()).collect();
            format!("receipts {delivered:?} {read:?} {archived:?}")
        }
        ServerFrame::Presence { users } => {
            let said = |(user, is): &(UserId, Presence)| format!(" {user}:{}", is.as_str());
            format!("presence{}", users.iter().map(said).collect::<String>())
        }
        ServerFrame::Going(_) => "going".to_owned(),
        ServerFrame::Renewed { expires_at, .. } => format!("renewed {}", expires_at.unix_ms()),
        ServerFrame::Unknown { .. } => "?".to_owned(),
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn channel(n: u64) -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(n), u128::from(n))
}

/// A position as Redis makes it: its history includes the one before.
fn position(n: u64, prev: Option<Position>, id: PublicationId) -> Position {
    let before = prev.map_or(0, |prev| prev.history);
    let [.., a, b, c, d] = *id.to_string().as_bytes() else { unreachable!("26 characters") };
    let history = before.wrapping_mul(31).wrapping_add(u32::from_be_bytes([a, b, c, d]));
    Position { entry: EntryId { ms: n, sequence: 0 }, history }
}

/// Makes a publication with a given id.
type What = Box<dyn Fn(PublicationId) -> Publication>;

fn marker() -> What {
    Box::new(Publication::marker)
}

fn unknown() -> What {
    Box::new(Publication::unknown)
}

fn message(channel: &ChannelId, version: u64, text: &str) -> What {
    let (channel, text) = (channel.clone(), text.to_owned());
    Box::new(move |id| {
        let payload = Payload::message(&said(&channel, id, &text));
        Publication::of_message(&said(&channel, id, ""), version).with_payload(payload)
    })
}

/// A message that is too long to travel with its publication.
fn long_message(channel: &ChannelId, version: u64) -> What {
    let channel = channel.clone();
    Box::new(move |id| {
        let long = said(&channel, id, "");
        let payload = Payload::Stored(MessageRef { id: long.id, thread: None });
        Publication::of_message(&long, version).with_payload(payload)
    })
}

/// A message with a publication's id.
fn said(channel: &ChannelId, id: PublicationId, text: &str) -> Message {
    Message::new(
        MessageId::parse(&id.to_string()).unwrap(),
        channel.clone(),
        user("sender"),
        MessageText::from_stored(text.to_owned()),
    )
}

fn change(channel: &ChannelId, version: u64, change: ChannelChange, name: &str) -> What {
    changes(channel, version, change, &[name], &[])
}

fn member(name: &str, joined_ms: u64) -> Member {
    Member { user_id: user(name), joined_at: Timestamp::from_unix_ms(joined_ms) }
}

fn changes(
    channel: &ChannelId,
    version: u64,
    change: ChannelChange,
    names: &[&str],
    members: &[&str],
) -> What {
    let users = |names: &[&str]| names.iter().map(|name| user(name)).collect::<Vec<_>>();
    let (channel, names, members) = (channel.clone(), users(names), users(members));
    let members = if members.is_empty() { names.clone() } else { members };
    Box::new(move |id| Publication::of_change(id, &channel, change, version, &names, &members))
}
