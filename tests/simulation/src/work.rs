//! What people do: they send in every way that the protocol allows, come and go, and add and remove
//! each other while others send.

use std::sync::Arc;
use std::time::Duration;

use checker::{Change, Event, SendId, SendOutcome};
use client::{Api, ApiError, Outbox, SendError};
use memory::SeededRng;
use model::{
    ChangeId, ChannelId, Emoji, ErrorCode, LogId, Message, MessageId, MessageText, UserId,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::person::Person;
use crate::world::{CreatedChannel, Space, World};

/// Sends in one channel until `until`.
pub(crate) async fn talk(world: World, space: Arc<Space>, at: usize, until: Instant) {
    let rng = world.rng.fork();
    let mut sends = JoinSet::new();
    if at % 2 == 1 {
        sleep(world.plan.half_silent).await;
    }
    while Instant::now() < until {
        sleep(rng.ms(world.plan.send_every_ms.clone())).await;
        let Some(channel) = space.channels.get(at) else { return };
        if let Some(sender) = rng.pick(&channel.members).copied() {
            sends.spawn(send(world.clone(), Arc::clone(&space), at, sender));
        }
        while sends.try_join_next().is_some() {}
    }
    while sends.join_next().await.is_some() {}
}

/// Sends one message, in a way chosen at random.
async fn send(world: World, space: Arc<Space>, at: usize, sender: usize) {
    let (Some(channel), Some(user)) = (space.channels.get(at), space.users.get(sender)) else {
        return;
    };
    let name = world.next_send();
    let mut text = format!("{} of {}", name.0, user.id);
    // A long text travels as a reference, and each node reads it from the store (G3).
    if world.rng.one_in(25) {
        text.push_str(&" and so on".repeat(450));
    }
    let log = log_for(&world, &channel.id);
    match world.rng.index(10) {
        0 => send_without_id(&world, &log, &user.id, &user.api, name, &text).await,
        1 => send_twice(&world, &log, &user.id, &user.api, name, &text).await,
        2 => send_old(&world, &log, &user.id, &user.api, name, &text).await,
        _ => {
            let people = world.people();
            let own: Vec<&Arc<Person>> = people.iter().filter(|one| one.user == user.id).collect();
            let Some(person) = world.rng.pick(&own) else { return };
            send_by_outbox(&world, &log, &user.id, person.client.outbox(), name, &text).await;
        }
    }
}

/// Where a message is sent: to the channel, or as a reply to one of its last messages.
fn log_for(world: &World, channel: &ChannelId) -> LogId {
    if !world.plan.replies || !world.rng.one_in(3) {
        return channel.into();
    }
    let people = world.people();
    let shown = world.rng.pick(&people).map(|person| person.client.timeline(channel).ids());
    let recent: Vec<MessageId> = shown.unwrap_or_default().into_iter().rev().take(6).collect();
    LogId::new(channel.clone(), world.rng.pick(&recent).copied())
}

fn started(
    world: &World,
    log: &LogId,
    user: &UserId,
    name: SendId,
    text: &str,
    after: Option<MessageId>,
) {
    let text = MessageText::from_stored(text.to_owned()).digest();
    let (send, log, sender) = (name, log.clone(), user.clone());
    world.recorder.note(Event::SendStarted { send, log, sender, text, after });
}

fn ended(world: &World, name: SendId, outcome: SendOutcome) {
    world.recorder.note(Event::SendEnded { send: name, outcome });
}

/// Sends like the reference client: retries keep the id.
async fn send_by_outbox(
    world: &World,
    log: &LogId,
    user: &UserId,
    outbox: &Outbox,
    name: SendId,
    text: &str,
) {
    for _ in 0..2 {
        let draft = outbox.draft(log, text);
        started(world, log, user, name, text, draft.after);
        match outbox.send_draft(&draft).await {
            Ok(sent) => return ended(world, name, SendOutcome::Stored(sent.message.id)),
            Err(SendError::OutcomeUnknown { draft, .. }) => {
                ended(world, name, SendOutcome::Unknown);
                world.unresolved.lock().push((name, outbox.clone(), *draft));
                return;
            }
            Err(SendError::NotStored { source }) => {
                ended(world, name, SendOutcome::NotStored);
                if source.code() != Some(ErrorCode::IdOutOfRange) {
                    return;
                }
            }
        }
    }
}

async fn attempt(
    world: &World,
    log: &LogId,
    api: &Api,
    name: SendId,
    text: &str,
    id: Option<MessageId>,
) -> bool {
    match api.post_message(log, text, id, None).await {
        Ok(posted) => {
            ended(world, name, SendOutcome::Stored(posted.message.id));
            true
        }
        Err(error) => {
            ended(world, name, outcome_of(&error));
            !error.is_retryable()
        }
    }
}

fn outcome_of(error: &ApiError) -> SendOutcome {
    if error.outcome_unknown() { SendOutcome::Unknown } else { SendOutcome::NotStored }
}

/// Makes one attempt, whatever its outcome.
async fn send_without_id(
    world: &World,
    log: &LogId,
    user: &UserId,
    api: &Api,
    name: SendId,
    text: &str,
) {
    started(world, log, user, name, text, None);
    attempt(world, log, api, name, text, None).await;
}

/// Makes two attempts at once, and repeats that until both are answered (5).
async fn send_twice(
    world: &World,
    log: &LogId,
    user: &UserId,
    api: &Api,
    name: SendId,
    text: &str,
) {
    let id = Some(MessageId::mint(api.server_now(), world.rng.bits()));
    for _ in 0..RAW_ATTEMPTS {
        started(world, log, user, name, text, None);
        started(world, log, user, name, text, None);
        let one = attempt(world, log, api, name, text, id);
        let other = async {
            sleep(world.rng.ms(0..=30)).await;
            attempt(world, log, api, name, text, id).await
        };
        let (one, other) = tokio::join!(one, other);
        if one && other {
            return;
        }
        sleep(world.rng.ms(500..=3_000)).await;
    }
}

/// Sends with an id of another time: seconds, an hour, a day ago, or minutes ahead (2, 3).
async fn send_old(world: &World, log: &LogId, user: &UserId, api: &Api, name: SendId, text: &str) {
    let now = api.server_now();
    let at = match world.rng.index(5) {
        0 => now.minus(Duration::from_secs(3)),
        1 => now.minus(Duration::from_secs(15)),
        2 => now.minus(Duration::from_secs(3_600)),
        3 => now.minus(Duration::from_secs(25 * 3_600)),
        _ => now.plus(Duration::from_secs(180)),
    };
    let id = Some(MessageId::mint(at, world.rng.bits()));
    for _ in 0..RAW_ATTEMPTS {
        started(world, log, user, name, text, None);
        if attempt(world, log, api, name, text, id).await {
            return;
        }
        sleep(world.rng.ms(500..=3_000)).await;
    }
}

/// Sends drafts with an unknown outcome again, to find out what became of them.
pub(crate) async fn resolve(world: World) {
    let mut resolving = JoinSet::new();
    for (name, outbox, draft) in std::mem::take(&mut *world.unresolved.lock()) {
        let world = world.clone();
        resolving.spawn(async move {
            // It is the same send: its start is already recorded, and its outcome is still open.
            if let Ok(sent) = outbox.send_draft(&draft).await {
                ended(&world, name, SendOutcome::Stored(sent.message.id));
            }
        });
    }
    while resolving.join_next().await.is_some() {}
}

/// Removes members of a group and adds them again while others send, until `until` (25, 26).
pub(crate) async fn change(world: World, space: Arc<Space>, at: usize, until: Instant) {
    let Some(every) = world.plan.change_every_ms.clone() else { return };
    let rng = world.rng.fork();
    while Instant::now() < until {
        sleep(rng.ms(every.clone())).await;
        let Some(channel) = space.channels.get(at) else { return };
        let victims = channel.members.get(1..).unwrap_or_default();
        let Some(victim) = rng.pick(victims).copied() else { return };
        for _ in 0..rng.within(1..=2) {
            let racing: JoinSet<()> = (0..rng.within(1..=3))
                .filter_map(|_| rng.pick(&channel.members).copied())
                .map(|sender| {
                    let (world, space) = (world.clone(), Arc::clone(&space));
                    async move {
                        sleep(world.rng.ms(0..=60)).await;
                        send(world.clone(), space, at, sender).await;
                    }
                })
                .collect();
            change_once(&world, &space, channel, victim, Change::Remove).await;
            // A message whose sending begins now must never reach the removed member.
            let sender = channel.members.first().copied().unwrap_or_default();
            send(world.clone(), Arc::clone(&space), at, sender).await;
            sleep(rng.ms(0..=if rng.one_in(2) { 100 } else { 3_000 })).await;
            change_once(&world, &space, channel, victim, Change::Add).await;
            racing.join_all().await;
        }
    }
}

/// Makes one change, and repeats the call until it is answered.
pub(crate) async fn change_once(
    world: &World,
    space: &Space,
    channel: &CreatedChannel,
    victim: usize,
    change: Change,
) {
    let creator = channel.members.first().and_then(|at| space.users.get(*at));
    let (Some(creator), Some(user)) = (creator, space.users.get(victim)) else { return };
    let caller = if change == Change::Remove && world.rng.one_in(4) { user } else { creator };
    let (changed, of) = (channel.id.clone(), user.id.clone());
    world.recorder.note(Event::ChangeStarted { channel: changed, user: of, change });
    for _ in 0..CHANGE_ATTEMPTS {
        let answered = match change {
            Change::Add => caller.api.add_member(&channel.id, &user.id).await,
            Change::Remove => caller.api.remove_member(&channel.id, &user.id).await,
        };
        match answered {
            Ok(()) => {
                let (channel, user) = (channel.id.clone(), user.id.clone());
                return world.recorder.note(Event::ChangeReturned { channel, user, change });
            }
            Err(error) if error.is_retryable() => sleep(world.rng.ms(200..=900)).await,
            Err(_) => return,
        }
    }
}

/// Edits and deletes messages that their senders see, until `until`.
pub(crate) async fn revise(world: World, space: Arc<Space>, at: usize, until: Instant) {
    let Some(every) = world.plan.revise_every_ms.clone() else { return };
    let rng = world.rng.fork();
    let mut changes = JoinSet::new();
    while Instant::now() < until {
        sleep(rng.ms(every.clone())).await;
        let Some(channel) = space.channels.get(at).map(|channel| channel.id.clone()) else {
            return;
        };
        let Some(person) = rng.pick(&world.people()).cloned() else { continue };
        let log = shown_log(&person, &channel, &rng);
        let timeline = person.client.timeline(&log);
        let is_own =
            |message: &&Message| message.sender_id == person.user && message.deleted.is_none();
        let own: Vec<MessageId> = timeline.messages().filter(is_own).map(|one| one.id).collect();
        if let Some(id) = rng.pick(&own).copied() {
            changes.spawn(revise_once(world.clone(), person, log, id));
        }
        while changes.try_join_next().is_some() {}
    }
    while changes.join_next().await.is_some() {}
}

/// Makes one change, and repeats the call until it is answered.
async fn revise_once(world: World, person: Arc<Person>, log: LogId, id: MessageId) {
    let api = person.client.api();
    let change_id = ChangeId::mint(api.server_now(), world.rng.bits());
    let deletes = world.plan.deletes && world.rng.one_in(5);
    let text = format!("{change_id} of {}", person.user);
    if !deletes {
        let (log, text) = (log.clone(), MessageText::from_stored(text.clone()).digest());
        world.recorder.note(Event::Edits { log, id, change_id, text });
    }
    for _ in 0..RAW_ATTEMPTS {
        let answered = if deletes {
            api.delete_message(&log, id).await
        } else {
            let edited = api.edit_message(&log, id, &text, change_id, None).await;
            edited.map(|edited| edited.message)
        };
        match answered {
            Ok(Message { rev, .. }) => {
                let change_id = (!deletes).then_some(change_id);
                return world.recorder.note(Event::Revised { log, id, rev, change_id });
            }
            Err(error) if error.is_retryable() => sleep(world.rng.ms(200..=900)).await,
            Err(_) => return,
        }
    }
}

/// Makes and withdraws reactions to recent messages, until `until`.
pub(crate) async fn react(world: World, space: Arc<Space>, at: usize, until: Instant) {
    let Some(every) = world.plan.react_every_ms.clone() else { return };
    let rng = world.rng.fork();
    let mut acts = JoinSet::new();
    while Instant::now() < until {
        sleep(rng.ms(every.clone())).await;
        let Some(channel) = space.channels.get(at).map(|channel| channel.id.clone()) else {
            return;
        };
        let Some(person) = rng.pick(&world.people()).cloned() else { continue };
        let log = shown_log(&person, &channel, &rng);
        let timeline = person.client.timeline(&log);
        let recent: Vec<MessageId> = timeline.ids().into_iter().rev().take(12).collect();
        let Some(id) = rng.pick(&recent).copied() else { continue };
        // Often several at once, so that acts meet.
        for _ in 0..rng.within(1..=3) {
            let Some(person) = rng.pick(&world.people()).cloned() else { continue };
            acts.spawn(react_once(world.clone(), person, log.clone(), id));
        }
        while acts.try_join_next().is_some() {}
    }
    while acts.join_next().await.is_some() {}
}

/// Makes or withdraws one reaction, and repeats the call until it is answered.
async fn react_once(world: World, person: Arc<Person>, log: LogId, id: MessageId) {
    let api = person.client.api();
    let change_id = ChangeId::mint(api.server_now(), world.rng.bits());
    let Some(emoji) = rng_emoji(&world) else { return };
    let (is_made, user) = (!world.rng.one_in(3), person.user.clone());
    let reacts =
        Event::Reacts { log: log.clone(), id, user, emoji: emoji.clone(), change_id, is_made };
    world.recorder.note(reacts);
    for _ in 0..RAW_ATTEMPTS {
        let answered = if is_made {
            api.react(&log, id, &emoji, Some(change_id)).await
        } else {
            api.unreact(&log, id, &emoji, Some(change_id)).await
        };
        match answered {
            Ok(_) => return world.recorder.note(Event::Acted { change_id }),
            Err(error) if error.is_retryable() => sleep(world.rng.ms(200..=900)).await,
            Err(_) => return,
        }
    }
}

/// Pins and unpins recent messages, until `until`.
pub(crate) async fn pin(world: World, space: Arc<Space>, at: usize, until: Instant) {
    let Some(every) = world.plan.pin_every_ms.clone() else { return };
    let rng = world.rng.fork();
    let mut acts = JoinSet::new();
    while Instant::now() < until {
        sleep(rng.ms(every.clone())).await;
        let Some(channel) = space.channels.get(at).map(|channel| channel.id.clone()) else {
            return;
        };
        let Some(person) = rng.pick(&world.people()).cloned() else { continue };
        let log = shown_log(&person, &channel, &rng);
        let timeline = person.client.timeline(&log);
        let recent: Vec<MessageId> = timeline.ids().into_iter().rev().take(4).collect();
        if let Some(id) = rng.pick(&recent).copied() {
            acts.spawn(pin_once(world.clone(), person, log, id));
        }
        while acts.try_join_next().is_some() {}
    }
    while acts.join_next().await.is_some() {}
}

/// Makes or withdraws one pin, and repeats the call until it is answered.
async fn pin_once(world: World, person: Arc<Person>, log: LogId, id: MessageId) {
    let api = person.client.api();
    let change_id = ChangeId::mint(api.server_now(), world.rng.bits());
    let is_made = !world.rng.one_in(3);
    world.recorder.note(Event::Pins { log: log.clone(), id, change_id, is_made });
    for _ in 0..RAW_ATTEMPTS {
        let answered = if is_made {
            api.pin(&log, id, Some(change_id)).await
        } else {
            api.unpin(&log, id, Some(change_id)).await
        };
        match answered {
            Ok(_) => return world.recorder.note(Event::Acted { change_id }),
            Err(error) if error.is_retryable() => sleep(world.rng.ms(200..=900)).await,
            Err(_) => return,
        }
    }
}

/// A log of a channel that a person sees: its main log, or a thread.
fn shown_log(person: &Person, channel: &ChannelId, rng: &SeededRng) -> LogId {
    let inbox = person.client.inbox();
    let threads: Vec<MessageId> = inbox.threads(channel).map(|(root, _)| root).collect();
    let thread = if threads.is_empty() || rng.one_in(2) { None } else { rng.pick(&threads) };
    LogId::new(channel.clone(), thread.copied())
}

fn rng_emoji(world: &World) -> Option<Emoji> {
    let emoji = ["👍", "🎉", ":ship-it:"];
    world.rng.pick(&emoji).and_then(|emoji| Emoji::parse(emoji).ok())
}

/// Cuts a client's connection, takes it offline or stops its reading, until `until`.
pub(crate) async fn be_restless(world: World, person: Arc<Person>, until: Instant) {
    let rng = world.rng.fork();
    while Instant::now() < until {
        sleep(rng.s(4..=25)).await;
        match rng.index(4) {
            0 => person.client.cut(),
            1 => {
                person.client.go_offline();
                sleep(rng.ms(100..=25_000)).await;
                person.client.go_online();
            }
            2 => {
                person.client.pause_reading();
                sleep(rng.ms(100..=15_000)).await;
                person.client.resume_reading();
            }
            _ => {}
        }
    }
    person.client.go_online();
    person.client.resume_reading();
}

const RAW_ATTEMPTS: usize = 6;
const CHANGE_ATTEMPTS: usize = 60;
