//! Channels that deliver first (G13, G14): people send in them through the outbox of their client, whose
//! process dies and goes on with what its disk kept, or whose device is lost for good.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use checker::{Change, Delivering as Noted, Event};
use client::Delivery;
use http::Method;
use memory::SeededRng;
use model::{
    ChannelId, Direction, Epoch, LogId, MessageText, ReadMark, UserId, WorkspaceId, limits,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::calls::{Terms, call, create_channel, create_dm};
use crate::person::Person;
use crate::work;
use crate::world::{CreatedChannel, Space, World};

mod archive;

pub(crate) use archive::{Environment, archive};

/// A channel that delivers first.
#[derive(Debug)]
pub(crate) struct Room {
    space: Arc<Space>,
    channel: CreatedChannel,
    keeps_acked: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Vec<Arc<Room>>>);

impl Rooms {
    /// Those of a user, whether a member now or not.
    fn of(&self, user: &UserId) -> Vec<Arc<Room>> {
        let mut rooms = self.0.lock().clone();
        rooms.retain(|room| {
            let members = room.channel.members.iter().filter_map(|at| room.space.users.get(*at));
            members.into_iter().any(|member| member.id == *user)
        });
        rooms
    }

    /// The logs of a workspace.
    pub(crate) fn logs(&self, workspace: &WorkspaceId) -> Vec<LogId> {
        let rooms = self.0.lock();
        let of = rooms.iter().filter(|room| room.space.id == *workspace);
        of.map(|room| LogId::from(&room.channel.id)).collect()
    }

    fn ids(&self) -> Vec<ChannelId> {
        self.0.lock().iter().map(|room| room.channel.id.clone()).collect()
    }
}

/// Creates the channels, before anything goes wrong.
pub(crate) async fn open(world: &World, rng: &SeededRng) {
    let until = Instant::now() + OPENING;
    for space in world.spaces() {
        let mut made = Vec::new();
        for _ in 0..world.plan.delivering_rooms {
            made.push((FIRST, create_channel(world, &space, FIRST, rng, until).await));
        }
        made.push((FIRST, create_dm(world, &space, FIRST, rng, until).await));
        if world.plan.keeps_acked {
            made.push((ACKED, create_channel(world, &space, ACKED, rng, until).await));
        }
        for (terms, channel) in made {
            let Some(channel) = channel else { continue };
            let keeps_acked = terms.keep.is_some();
            note(world, Noted::Opened { channel: channel.id.clone(), keeps_acked });
            let space = Arc::clone(&space);
            world.rooms.0.lock().push(Arc::new(Room { space, channel, keeps_acked }));
        }
    }
}

/// Every room, with the work of its members.
pub(crate) fn rooms(world: &World) -> Vec<Arc<Room>> {
    world.rooms.0.lock().clone()
}

fn note(world: &World, event: Noted) {
    world.recorder.note(Event::Delivering(event));
}

/// Sends from one device, until `until`. Its process dies now and then.
pub(crate) async fn send(world: World, person: Arc<Person>, rng: SeededRng, until: Instant) {
    let Some(every) = world.plan.deliver_every_ms.clone() else { return };
    let mut person = person;
    while Instant::now() < until {
        sleep(rng.ms(every.clone())).await;
        let rooms = world.rooms.of(&person.user);
        let Some(room) = rng.pick(&rooms) else { return };
        take(&world, &person, &room.channel.id, &rng);
        if rng.one_in(world.plan.dies_one_in) {
            person = die(&world, &person, &room.space.id, &rng).await;
        }
    }
}

fn take(world: &World, person: &Person, channel: &ChannelId, rng: &SeededRng) {
    let mut text = format!("{} first of {}", world.next_send().0, person.user);
    if rng.one_in(25) {
        text.push_str(&" and so on".repeat(450));
    }
    let text = MessageText::from_stored(text);
    let digest = text.digest();
    // It takes more when messages are stored.
    let Ok(id) = person.client.deliver(channel, text) else { return };
    let (client, channel) = (person.id, channel.clone());
    note(world, Noted::Takes { client, channel, id, text: digest });
}

/// Kills a device's process. Another one goes on with what its disk kept; or the device is lost, and its
/// user gets another one. Returns the device that there is then.
async fn die(
    world: &World,
    person: &Arc<Person>,
    workspace: &WorkspaceId,
    rng: &SeededRng,
) -> Arc<Person> {
    let in_memory = person.client.deliveries();
    let disk = if rng.one_in(world.plan.lost_one_in) { Vec::new() } else { person.disk() };
    let kept: BTreeSet<_> = disk.iter().map(|kept| kept.id).collect();
    for Delivery { channel_id: channel, id, .. } in in_memory {
        if !kept.contains(&id) {
            note(world, Noted::Abandoned { channel, id });
        }
    }
    world.bury(person);
    sleep(rng.ms(50..=6_000)).await;
    let successor = world.succeed(workspace, &person.user, disk);
    crate::presence::view_everybody(world);
    successor
}

/// Removes members and adds them again, while others send.
pub(crate) async fn change(world: World, room: Arc<Room>, rng: SeededRng, until: Instant) {
    let Some(every) = world.plan.change_every_ms.clone() else { return };
    let Room { space, channel, .. } = &*room;
    // The members of a DM never change.
    if !channel.is_group {
        return;
    }
    while Instant::now() < until {
        // A user who is added again lacks the messages of the time between. If that happened often, no message
        // would reach all devices.
        let pause = if room.keeps_acked { 12 } else { 2 };
        sleep(rng.ms(every.clone()) * pause).await;
        let victims = channel.members.get(1..).unwrap_or_default();
        let Some(victim) = rng.pick(victims).copied() else { return };
        work::change_once(&world, space, channel, victim, Change::Remove).await;
        // What is sent from now on must never reach the removed member.
        let creator = channel.members.first().and_then(|at| space.users.get(*at));
        let people = world.people();
        let mut own = people.iter().filter(|one| creator.is_some_and(|user| user.id == one.user));
        if let Some(person) = own.next() {
            take(&world, person, &channel.id, &rng);
        }
        sleep(rng.ms(0..=if rng.one_in(2) { 100 } else { 3_000 })).await;
        work::change_once(&world, space, channel, victim, Change::Add).await;
    }
}

/// Reads the newest page of a channel again and again, until `until`.
pub(crate) async fn read(world: World, room: Arc<Room>, rng: SeededRng, until: Instant) {
    let Some(creator) = room.channel.members.first().and_then(|at| room.space.users.get(*at))
    else {
        return;
    };
    while Instant::now() < until {
        sleep(rng.ms(PAGES_EVERY_MS)).await;
        let (log, began) = (LogId::from(&room.channel.id), world.clock.elapsed());
        let limit = limits::PAGE_ROWS_MAX;
        let read = creator.api.scroll(&log, None, limit, Direction::Older).await;
        let Ok(page) = read else { continue };
        let ids: BTreeSet<_> = page.messages.iter().map(|message| message.id).collect();
        let from = page.next_offset.and_then(|_| ids.first().copied());
        note(&world, Noted::Page { channel: room.channel.id.clone(), began, from, ids });
    }
}

/// Says to the other members now and then how far a person has read, until `until`.
pub(crate) async fn share(world: World, person: Arc<Person>, rng: SeededRng, until: Instant) {
    while Instant::now() < until {
        sleep(rng.ms(SHARE_EVERY_MS)).await;
        let rooms = world.rooms.of(&person.user);
        let Some(room) = rng.pick(&rooms) else { return };
        let channel = room.channel.id.clone();
        let seen = person.client.timeline(&channel).ids();
        let newest: Vec<_> = seen.into_iter().rev().take(6).collect();
        let Some(up_to) = rng.pick(&newest).copied() else { continue };
        let Some(user) = room.space.users.iter().find(|user| user.id == person.user) else {
            return;
        };
        let shared = rng.one_in(2);
        if shared {
            let (user, channel) = (person.user.clone(), channel.clone());
            note(&world, Noted::Shares { user, channel, up_to });
        }
        let mark = json!({
            "channel_id": channel.as_str(), "up_to": up_to.to_string(), "share": shared,
        });
        let body = json!({ "marks": [mark] }).to_string();
        // One that fails is said again with the next.
        let Ok(answer) = call(user, Method::POST, "/read", &body).await else { continue };
        if let Some(mark) = mark_in(&answer) {
            let user = person.user.clone();
            world.recorder.note(Event::Marked { user, channel, mark });
        }
    }
}

/// The only mark of an answer.
fn mark_in(answer: &[u8]) -> Option<ReadMark> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let mark = answer.get("marks")?.get(0)?;
    let epoch = Epoch::new(mark.get("epoch")?.as_u64()?)?;
    Some(ReadMark { epoch, up_to: mark.get("up_to")?.as_str()?.parse().ok()? })
}

/// What outboxes still have to send.
pub(crate) fn wrong(world: &World) -> Vec<String> {
    let ids = world.rooms.ids();
    let mut wrong = Vec::new();
    for person in world.people().iter().filter(|_| !ids.is_empty()) {
        let kept = person.client.deliveries();
        let failed = |kept: &Delivery| matches!(kept.state, client::DeliveryState::Failed { .. });
        let kept = kept.iter().filter(|kept| !failed(kept)).count();
        if kept > 0 {
            wrong.push(format!("{:?} has {kept} messages that are not stored", person.id));
        }
    }
    wrong
}

const FIRST: Terms = Terms::of("deliver_first");
/// Nobody stores there what all devices have.
const ACKED: Terms = Terms { keep: Some("acked"), ..FIRST };
const OPENING: Duration = Duration::from_secs(5);
/// The pause between two marks that a person sets.
const SHARE_EVERY_MS: std::ops::RangeInclusive<u64> = 1_500..=5_000;
/// The pause between two readings of a page.
const PAGES_EVERY_MS: std::ops::RangeInclusive<u64> = 1_500..=6_000;
