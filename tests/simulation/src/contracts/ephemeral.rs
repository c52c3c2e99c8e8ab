//! Channels that keep nothing (G15): people create and end them, join, leave, speak, are removed while
//! they take part, and come back after every fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use checker::{Change, Event, Meeting as Noted, SayOutcome};
use client::SayError;
use http::Method;
use memory::SeededRng;
use messaging::ports::Seal;
use model::{ChannelId, ErrorCode, MessageId, MessageText, UserId, WorkspaceId};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::calls::{Terms, call, create_channel};
use crate::person::Person;
use crate::work;
use crate::world::{CreatedChannel, Space, World};

mod settling;

pub(crate) use settling::Settling;

/// A channel that keeps nothing.
#[derive(Debug)]
pub(crate) struct Meeting {
    /// Its workspace.
    space: Arc<Space>,
    /// The channel.
    channel: CreatedChannel,
    /// Whether somebody has ended it, or is about to.
    is_over: AtomicBool,
}

/// All of them, in the order of their creation, and what the people in them need.
#[derive(Debug, Default)]
pub(crate) struct Meetings {
    all: Mutex<Vec<Arc<Meeting>>>,
    /// How many sockets were recorded.
    pub sockets: Arc<AtomicU64>,
}

impl Meeting {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn has(&self, user: &UserId) -> bool {
        let members = self.channel.members.iter().filter_map(|at| self.space.users.get(*at));
        members.into_iter().any(|member| member.id == *user)
    }
}

/// Creates meetings in a workspace, one after the other, and ends them, all but the first one.
pub(crate) async fn host(world: World, space: Arc<Space>, rng: SeededRng, until: Instant) {
    let mut first = true;
    let mut changes = JoinSet::new();
    while Instant::now() < until {
        let Some(meeting) = create(&world, &space, &rng, until).await else { continue };
        world.meetings.all.lock().push(Arc::clone(&meeting));
        let (of, rng_of) = (Arc::clone(&meeting), rng.fork());
        changes.spawn(change(world.clone(), of, rng_of, until));
        if std::mem::take(&mut first) {
            continue;
        }
        sleep(rng.s(6..=20)).await;
        end(&world, &meeting, &rng).await;
    }
    changes.join_all().await;
}

async fn create(
    world: &World,
    space: &Arc<Space>,
    rng: &SeededRng,
    until: Instant,
) -> Option<Arc<Meeting>> {
    let channel = create_channel(world, space, Terms::of("ephemeral"), rng, until).await?;
    let is_over = AtomicBool::new(false);
    Some(Arc::new(Meeting { space: Arc::clone(space), channel, is_over }))
}

/// Ends a meeting: repeats the call until it is answered.
async fn end(world: &World, meeting: &Meeting, rng: &SeededRng) {
    let creator = meeting.channel.members.first().and_then(|at| meeting.space.users.get(*at));
    let Some(creator) = creator else { return };
    meeting.is_over.store(true, Ordering::Relaxed);
    let path = format!("/channels/{}", meeting.channel.id);
    for _ in 0..CALLS {
        if call(creator, Method::DELETE, &path, "").await.is_ok() {
            let channel = meeting.channel.id.clone();
            return world.recorder.note(Event::Meeting(Noted::Over { channel }));
        }
        sleep(rng.ms(200..=1_500)).await;
    }
}

/// Removes members and adds them again, while others speak.
async fn change(world: World, meeting: Arc<Meeting>, rng: SeededRng, until: Instant) {
    let Some(every) = world.plan.change_every_ms.clone() else { return };
    let Meeting { space, channel, .. } = &*meeting;
    while Instant::now() < until && !meeting.is_over() {
        // Less often than elsewhere: there are more of these channels.
        sleep(rng.ms(every.clone()) * 2).await;
        let victims = channel.members.get(1..).unwrap_or_default();
        let (Some(victim), false) = (rng.pick(victims).copied(), meeting.is_over()) else { return };
        work::change_once(&world, space, channel, victim, Change::Remove).await;
        // What is said from now on must never reach the removed member.
        for _ in 0..rng.within(1..=3) {
            if let Some(person) = somebody(&world, &meeting, &rng) {
                say(&world, &person, &channel.id, &rng).await;
            }
        }
        sleep(rng.ms(0..=if rng.one_in(2) { 100 } else { 3_000 })).await;
        work::change_once(&world, space, channel, victim, Change::Add).await;
    }
}

/// The device of a member.
fn somebody(world: &World, meeting: &Meeting, rng: &SeededRng) -> Option<Arc<Person>> {
    let mut people = world.people();
    people.retain(|person| meeting.has(&person.user));
    rng.pick(&people).cloned()
}

/// Takes part in meetings, until `until`.
pub(crate) async fn take_part(world: World, person: Arc<Person>, rng: SeededRng, until: Instant) {
    let Some(every) = world.plan.meet_every_ms.clone() else { return };
    let mut speaking = JoinSet::new();
    while Instant::now() < until {
        sleep(rng.ms(every.clone())).await;
        while speaking.try_join_next().is_some() {}
        let mut known = world.meetings.all.lock().clone();
        known.retain(|meeting| meeting.has(&person.user));
        let (first, last) = (known.first(), known.last());
        let Some(meeting) = (if rng.one_in(3) { last } else { first }) else { continue };
        let channel = &meeting.channel.id;
        if !person.has_joined(channel) && rng.one_in(2) {
            person.rejoin(channel).await;
        }
        match rng.index(12) {
            0 => person.leave(channel),
            1 if world.plan.types => {
                if let Some(room) = rng.pick(&meeting.space.channels) {
                    person.client.typing(&room.id);
                }
                continue;
            }
            // More than a client may say at once.
            2 if rng.one_in(4) => {
                for _ in 0..BURST {
                    let task =
                        speak(world.clone(), Arc::clone(&person), channel.clone(), rng.fork());
                    speaking.spawn(task);
                }
            }
            _ => {}
        }
        speaking.spawn(speak(world.clone(), Arc::clone(&person), channel.clone(), rng.fork()));
    }
    speaking.join_all().await;
}

async fn speak(world: World, person: Arc<Person>, channel: ChannelId, rng: SeededRng) {
    say(&world, &person, &channel, &rng).await;
}

/// Says something once, and again under the same id if nobody knows whether it was heard.
async fn say(
    world: &World,
    person: &Person,
    channel: &ChannelId,
    rng: &SeededRng,
) -> Option<MessageId> {
    let id = MessageId::mint(person.client.api().server_now(), rng.bits());
    let mut text = format!("{NEEDLE} {id}");
    if rng.one_in(40) {
        // More than the contract takes.
        text.push_str(&" and so on".repeat(450));
    }
    let text = MessageText::from_stored(text);
    for _ in 0..ATTEMPTS {
        let (say, channel) = (world.next_send(), channel.clone());
        world.recorder.note(Event::Meeting(Noted::Says { say, channel: channel.clone(), id }));
        let answered = timeout(SAY_WAIT, person.client.say_as(&channel, id, text.clone())).await;
        let outcome = match answered {
            Ok(Ok(accepted)) => accepted.n.map_or(SayOutcome::Unknown, SayOutcome::Accepted),
            // The bus did not answer the node in time. It may have pushed all the same.
            Ok(Err(SayError::Refused(refused)))
                if refused.code == ErrorCode::Unavailable.as_str() =>
            {
                SayOutcome::Unknown
            }
            Ok(Err(SayError::Refused(_) | SayError::NoSocket)) => SayOutcome::Refused,
            Ok(Err(SayError::Unknown(_))) | Err(_) => SayOutcome::Unknown,
        };
        world.recorder.note(Event::Meeting(Noted::SayEnded { say, outcome }));
        match outcome {
            SayOutcome::Accepted(_) => return Some(id),
            SayOutcome::Refused => return None,
            SayOutcome::Unknown => sleep(rng.ms(100..=2_000)).await,
        }
    }
    None
}

/// Where what was said is found: in no table, stream or key.
pub(super) fn found(world: &World) -> Vec<String> {
    let mut found = world.redis.find(&[NEEDLE, SEALED]);
    if world.log.has_text(NEEDLE) {
        found.push("the messages table".to_owned());
    }
    found
}

/// Makes a text unreadable, and easy to find.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FindableSeal;

impl Seal for FindableSeal {
    fn seal(&self, of: &WorkspaceId, channel: &ChannelId, text: &str, _nonce: [u8; 24]) -> String {
        let hidden: String = text.chars().rev().collect();
        format!("{SEALED} {of} {channel} {hidden}")
    }

    fn open(&self, of: &WorkspaceId, channel: &ChannelId, sealed: &str) -> Option<String> {
        let hidden = sealed.strip_prefix(&format!("{SEALED} {of} {channel} "))?;
        Some(hidden.chars().rev().collect())
    }
}

/// What every text begins with. Nothing else has it.
const NEEDLE: &str = "needle";
/// What every sealed text begins with.
const SEALED: &str = "sealed!";
const BURST: usize = model::limits::UNANSWERED_MAX + 4;
/// Attempts to say something.
const ATTEMPTS: usize = 2;
const CALLS: usize = 60;
/// How long somebody waits for an answer. A socket ends before.
const SAY_WAIT: Duration = Duration::from_secs(60);
