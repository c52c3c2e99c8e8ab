//! A user at a device: the real client, and a program that records its events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use checker::{ClientId, Delivering, Event as Noted, Meeting, Shown};
use client::{
    Api, Backoff, Client, Config, Delivery, DeliveryState, DeliveryWaits, Event, Inbox, Source,
    View,
};
use memory::SeededRng;
use model::{ChannelId, DeviceId, Direction, LogId, Message, MessageId, Presence, UserId, limits};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::record::Recorder;

/// A user at a device.
#[derive(Debug)]
pub(crate) struct Person {
    /// The process.
    pub id: ClientId,
    /// The user.
    pub user: UserId,
    /// The device's id, which its processes share.
    pub device: DeviceId,
    /// The client.
    pub client: Client,
    program: Arc<Program>,
    task: AbortHandle,
}

/// How a person's client is set up.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The device.
    pub id: ClientId,
    /// The user.
    pub user: UserId,
    /// The cursor to resume from.
    pub cursor: Option<String>,
    /// The overlap of each catch-up: the protocol's, unless a bug is planted.
    pub overlap: Duration,
    /// Planted bug 7: drops every message older than the newest one as a duplicate.
    pub drops_older: bool,
    /// What an earlier process of the device had in its outbox.
    pub deliveries: Vec<Delivery>,
    /// Whether its user is invisible on it.
    pub invisible: bool,
    /// The device's id, which its processes share.
    pub device: DeviceId,
    /// How long its outbox waits.
    pub waits: DeliveryWaits,
}

/// Devices that run no process.
#[derive(Debug, Default)]
pub(crate) struct IdleDevices(Mutex<Vec<(UserId, DeviceId)>>);

impl IdleDevices {
    pub(crate) fn put(&self, person: &Person) {
        self.0.lock().push((person.user.clone(), person.device.clone()));
    }

    /// A user's device for their next process: one that runs none, or a new one.
    #[expect(clippy::expect_used, reason = "names of this file are well formed")]
    pub(crate) fn take(&self, user: &UserId, client: ClientId) -> DeviceId {
        let mut idle = self.0.lock();
        match idle.iter().position(|(of, _)| of == user) {
            Some(at) => idle.remove(at).1,
            None => DeviceId::parse(&format!("d{}", client.0)).expect("a name"),
        }
    }
}

/// The program that uses the client.
#[derive(Debug)]
struct Program {
    id: ClientId,
    drops_older: bool,
    newest: Mutex<BTreeMap<LogId, MessageId>>,
    dropped: Mutex<Vec<(LogId, MessageId)>>,
    stopped: Mutex<Option<String>>,
    /// What the device was told about the users that it views.
    present: Mutex<BTreeMap<UserId, Presence>>,
    /// Users who were ever shown as present.
    seen: Mutex<BTreeSet<UserId>>,
    /// The channels that keep nothing in which the device wants to take part, and whether it does.
    joined: Mutex<BTreeMap<ChannelId, bool>>,
    /// What it heard there.
    heard: Mutex<BTreeSet<MessageId>>,
    /// The outbox as the device's disk has it.
    disk: Mutex<Vec<Delivery>>,
    recorder: Recorder,
}

impl Person {
    /// Starts a client and its program.
    #[must_use]
    pub(crate) fn start(setup: Setup, api: Api, recorder: &Recorder, rng: &SeededRng) -> Self {
        let Setup { id, user, cursor, overlap, drops_older, deliveries, invisible, device, waits } =
            setup;
        let disk = Mutex::new(deliveries.clone());
        recorder.note(Noted::Starts { client: id, user: user.clone() });
        recorder.note(Noted::Delivering(Delivering::Runs { client: id, device: device.clone() }));
        let has_cursor = cursor.is_some();
        let config = Config {
            cursor,
            inbox: Inbox::new(MESSAGES_MAX).with_overlap(overlap),
            backoff: Backoff::seeded(rng.number()),
            // The checker expects all messages since the user became a member. In a channel that is
            // new to the client, a page of the default size may not reach back so far, and even the
            // largest one may not: then the person scrolls up.
            first_visit_messages: limits::PAGE_ROWS_MAX,
            deliveries,
            delivery_waits: waits,
            invisible,
            device: Some(device.clone()),
            ..Config::new(api.clone())
        };
        let (client, events) = Client::start(config);
        let program = Arc::new(Program {
            id,
            drops_older,
            newest: Mutex::default(),
            dropped: Mutex::default(),
            stopped: Mutex::default(),
            present: Mutex::default(),
            seen: Mutex::default(),
            joined: Mutex::default(),
            heard: Mutex::default(),
            disk,
            recorder: recorder.clone(),
        });
        let shown = client.clone();
        let running = Arc::clone(&program).run(events, has_cursor, api, shown);
        let task = tokio::spawn(running).abort_handle();
        Self { id, user, device, client, program, task }
    }

    /// What the client shows of a channel and its threads at the end.
    #[must_use]
    pub(crate) fn shown(&self, channel: &ChannelId) -> Vec<Shown> {
        let dropped = self.program.dropped.lock();
        let inbox = self.client.inbox();
        let main = inbox.timeline(channel).map(|timeline| (None, timeline));
        let threads = inbox.threads(channel).map(|(root, timeline)| (Some(root), timeline));
        let mut shown = Vec::new();
        for (thread, timeline) in main.into_iter().chain(threads) {
            let log = LogId::new(channel.clone(), thread);
            let kept = timeline
                .messages()
                .filter(|message| !dropped.contains(&(log.clone(), message.id)))
                .map(|message| (message.id, message.rev.clone()));
            let (ids, revs) = kept.unzip();
            shown.push(Shown { client: self.id, log, ids, revs });
        }
        shown
    }

    /// Shows these logs, and these users with whether they are present.
    pub(crate) fn views(&self, logs: Vec<LogId>, users: impl Iterator<Item = UserId>) {
        self.client.set_view(View { logs, users: users.collect() });
    }

    /// Whether the device takes part in a channel that keeps nothing.
    #[must_use]
    pub(crate) fn has_joined(&self, channel: &ChannelId) -> bool {
        self.program.joined.lock().get(channel) == Some(&true)
    }

    /// Leaves such a channel.
    pub(crate) fn leave(&self, channel: &ChannelId) {
        self.program.joined.lock().remove(channel);
        self.client.leave(channel);
    }

    /// Whether it heard a message there.
    #[must_use]
    pub(crate) fn heard(&self, id: MessageId) -> bool {
        self.program.heard.lock().contains(&id)
    }

    /// Joins such a channel, also if the client was refused before.
    pub(crate) async fn rejoin(&self, channel: &ChannelId) {
        self.leave(channel);
        // Until the client has noticed.
        sleep(Duration::from_millis(20)).await;
        self.program.joined.lock().insert(channel.clone(), false);
        self.client.join(channel);
    }

    /// What the outbox has on the device's disk.
    #[must_use]
    pub(crate) fn disk(&self) -> Vec<Delivery> {
        self.program.disk.lock().clone()
    }

    /// Kills the device's process.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    /// What the device shows about a user, if it was told.
    #[must_use]
    pub(crate) fn presence_of(&self, user: &UserId) -> Option<Presence> {
        self.program.present.lock().get(user).copied()
    }

    /// Whether it ever showed a user as present.
    pub(crate) fn has_seen(&self, user: &UserId) -> bool {
        self.program.seen.lock().contains(user)
    }

    /// Why the client stopped by itself, if it did.
    #[must_use]
    pub(crate) fn stopped(&self) -> Option<String> {
        self.program.stopped.lock().clone()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Program {
    fn on_presence(&self, users: Vec<(UserId, Presence)>) {
        let present = users.iter().filter(|(_, shown)| *shown != Presence::Offline);
        self.seen.lock().extend(present.map(|(user, _)| user.clone()));
        self.present.lock().extend(users);
    }

    async fn run(
        self: Arc<Self>,
        mut events: mpsc::Receiver<Event>,
        mut has_cursor: bool,
        api: Api,
        shown: Client,
    ) {
        let (client, mut follows) = (self.id, false);
        let (mut restarted, mut known) = (BTreeSet::new(), BTreeSet::new());
        while let Some(event) = events.recv().await {
            if is_frame(&event) {
                self.recorder.frame();
            }
            match event {
                Event::Message { message, fresh, .. } => {
                    let log = message.log();
                    if !self.drops(&log, message.id) {
                        shown.keeps(&message);
                        let Message { id, rev, .. } = message;
                        self.recorder.note(Noted::Seen { client, log, id, rev, fresh });
                    }
                }
                Event::Ready { resumed, .. } => {
                    if resumed && !follows {
                        follows = true;
                        self.recorder.note(Noted::Follows { client });
                    }
                    if has_cursor && !resumed {
                        self.recorder.note(Noted::Resynced { client });
                    }
                    has_cursor = true;
                }
                Event::Resync { .. } => self.recorder.note(Noted::Resynced { client }),
                Event::CaughtUp { .. } => {
                    // Of a channel that is new, the client reads the newest page.
                    let channels: Vec<ChannelId> =
                        shown.inbox().timelines().map(|(channel, _)| channel.clone()).collect();
                    let new = channels.into_iter().filter(|channel| known.insert(channel.clone()));
                    restarted.extend(new.filter(|_| follows));
                    if !follows {
                        follows = true;
                        self.recorder.note(Noted::Follows { client });
                    }
                    for channel in std::mem::take(&mut restarted) {
                        let ids = shown.timeline(&channel).ids();
                        if ids.len() >= A_PAGE {
                            tokio::spawn(Arc::clone(&self).scroll_up(api.clone(), channel));
                        }
                    }
                }
                Event::Presence { users } => self.on_presence(users),
                Event::Stopped { reason } => *self.stopped.lock() = Some(reason.to_string()),
                Event::Restarted { channel_id: channel } => {
                    restarted.insert(channel.clone());
                    self.recorder.note(Noted::Restarts { client, channel });
                }
                Event::Delivery { channel_id: channel, id, state } => {
                    // A program learns what is on the disk, as from a client with a store.
                    *self.disk.lock() = shown.deliveries();
                    if matches!(state, DeliveryState::Failed { .. }) {
                        self.recorder.note(Noted::Delivering(Delivering::Failed { channel, id }));
                    }
                }
                Event::Channel { .. }
                | Event::Read { .. }
                | Event::Typing { .. }
                | Event::Receipts { .. }
                | Event::Joined { .. }
                | Event::NotJoined { .. }
                | Event::Said { .. }
                | Event::Ended { .. }
                | Event::Tick { .. }
                | Event::Disconnected { .. } => self.in_meetings(event),
            }
        }
    }

    fn in_meetings(&self, event: Event) {
        match event {
            Event::Joined { channel_id, .. } => self.takes_part(&channel_id, true),
            Event::NotJoined { channel_id, .. } | Event::Ended { channel_id } => {
                self.takes_part(&channel_id, false);
            }
            Event::Disconnected { .. } => {
                self.joined.lock().values_mut().for_each(|joined| *joined = false);
            }
            Event::Said { n, message, missing } => {
                self.heard.lock().insert(message.id);
                let (client, channel) = (self.id, message.channel_id);
                let heard = Meeting::Heard { client, channel, n, missing };
                self.recorder.note(Noted::Meeting(heard));
            }
            _ => {}
        }
    }

    fn takes_part(&self, channel: &ChannelId, is_joined: bool) {
        // What comes late may be about a channel that was left.
        if let Some(joined) = self.joined.lock().get_mut(channel) {
            *joined = is_joined;
        }
    }

    /// Reads a channel's history back to its beginning, with its threads. What is here already says not
    /// from where on: older messages than those of the newest page may have been pushed late.
    async fn scroll_up(self: Arc<Self>, api: Api, channel: ChannelId) {
        let mut logs = vec![LogId::from(channel)];
        while let Some(log) = logs.pop() {
            for Message { channel_id, id, replies, .. } in self.scroll(&api, &log).await {
                if replies.is_some() {
                    logs.push(LogId::new(channel_id, Some(id)));
                }
            }
        }
    }

    async fn scroll(&self, api: &Api, log: &LogId) -> Vec<Message> {
        let (mut offset, mut attempts, mut read) = (None, 0, Vec::new());
        while attempts < SCROLLS_MAX {
            attempts += 1;
            let limit = limits::PAGE_ROWS_MAX;
            match api.scroll(log, offset, limit, Direction::Older).await {
                Ok(page) => {
                    for Message { id, rev, .. } in &page.messages {
                        let (client, fresh) = (self.id, false);
                        let (log, id, rev) = (log.clone(), *id, rev.clone());
                        self.recorder.note(Noted::Seen { client, log, id, rev, fresh });
                    }
                    read.extend(page.messages);
                    offset = page.next_offset;
                    if offset.is_none() {
                        break;
                    }
                }
                Err(_) => sleep(Duration::from_secs(1)).await,
            }
        }
        read
    }

    fn drops(&self, log: &LogId, id: MessageId) -> bool {
        if !self.drops_older {
            return false;
        }
        let mut newest = self.newest.lock();
        let newest = newest.entry(log.clone()).or_insert(id);
        let drops = id < *newest;
        *newest = id.max(*newest);
        if drops {
            self.dropped.lock().push((log.clone(), id));
        }
        drops
    }
}

/// Whether an event is a frame that a node sent.
const fn is_frame(event: &Event) -> bool {
    matches!(
        event,
        Event::Ready { .. }
            | Event::Message { source: Source::Pushed, .. }
            | Event::Channel { .. }
            | Event::Read { .. }
            | Event::Typing { .. }
            | Event::Presence { .. }
            | Event::Receipts { .. }
            | Event::Delivery { .. }
            | Event::Tick { .. }
            | Event::Resync { .. }
    )
}

const MESSAGES_MAX: usize = 100_000;
/// Messages of the page with which a client starts a channel.
const A_PAGE: usize = limits::PAGE_ROWS_MAX as usize;
/// Pages that a person scrolls up, failed attempts included.
const SCROLLS_MAX: usize = 20;
