//! Records the history of a run, for the checker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use checker::{Bounds, Change, ClientId, Event, History, SendId, SendOutcome, Shown, StoredItem};
use client::{Api, Draft, Outbox, SendError};
use messaging::Ports;
use messaging::ports::{LogEntry, PageQuery};
use model::{Channel, ChannelId, LogId, MessageId, MessageText, Timestamp, UserId};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::cluster::user;
use crate::person::Person;

/// Records the history of a run.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    history: Mutex<History>,
    channels: Mutex<BTreeSet<ChannelId>>,
    sends: AtomicU64,
    clients: AtomicU32,
}

/// Sends and records a user's messages. Each message is one send, however many attempts it takes.
#[derive(Debug, Clone)]
pub struct Sender {
    recorder: Arc<Recorder>,
    outbox: Outbox,
    name: UserId,
}

impl Recorder {
    /// An empty history.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            history: Mutex::default(),
            channels: Mutex::default(),
            sends: AtomicU64::new(0),
            clients: AtomicU32::new(0),
        })
    }

    /// Records an event.
    pub fn record(&self, event: Event) {
        // The time is read under the lock, so that times and events have the same order.
        let mut history = self.history.lock();
        history.record(self.began.elapsed(), event);
    }

    /// Records that a fault begins.
    pub fn fault(&self, kind: &str) {
        self.record(Event::FaultBegan { kind: kind.to_owned() });
    }

    /// Records that a fault ends.
    pub fn healed(&self, kind: &str) {
        self.record(Event::FaultEnded { kind: kind.to_owned() });
    }

    /// Creates a group.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn group(&self, creator: &str, api: &Api, members: &[&str]) -> Channel {
        let users: Vec<UserId> = members.iter().map(|name| user(name)).collect();
        let channel = api.create_channel("general", &users).await.expect("a channel");
        for user in std::iter::once(user(creator)).chain(users) {
            let (id, change) = (channel.id.clone(), Change::Add);
            self.record(Event::ChangeStarted { channel: id.clone(), user: user.clone(), change });
            self.record(Event::ChangeReturned { channel: id, user, change });
        }
        self.channels().insert(channel.id.clone());
        channel
    }

    /// Adds or removes a member. Returns whether the call succeeded.
    pub async fn change(&self, api: &Api, id: &ChannelId, name: &str, change: Change) -> bool {
        let (channel, user) = (id.clone(), user(name));
        let started = Event::ChangeStarted { channel: channel.clone(), user: user.clone(), change };
        self.record(started);
        let done = match change {
            Change::Add => api.add_member(id, &user).await,
            Change::Remove => api.remove_member(id, &user).await,
        };
        if done.is_ok() {
            self.record(Event::ChangeReturned { channel, user, change });
        }
        done.is_ok()
    }

    /// A recorded sender for a user.
    #[must_use]
    pub fn sender(self: &Arc<Self>, name: &str, api: &Api) -> Sender {
        let outbox = Outbox::new(api.clone());
        Sender { recorder: Arc::clone(self), outbox, name: user(name) }
    }

    /// Starts a user's client whose events are recorded, and does not wait for it.
    #[must_use]
    pub fn follow(self: &Arc<Self>, name: &str, api: Api) -> Person {
        let id = ClientId(self.clients.fetch_add(1, Ordering::Relaxed));
        self.record(Event::Starts { client: id, user: user(name) });
        let recorder = Arc::clone(self);
        let mut follows = false;
        Person::observed(name, api, id.0, move |event| recorder.saw(id, event, &mut follows))
    }

    fn saw(&self, client: ClientId, event: &client::Event, follows: &mut bool) {
        match event {
            client::Event::Message { message, fresh, .. } => {
                let (log, id, fresh) = (message.log(), message.id, *fresh);
                let rev = message.rev.clone();
                self.record(Event::Seen { client, log, id, rev, fresh });
            }
            client::Event::Restarted { channel_id } => {
                self.record(Event::Restarts { client, channel: channel_id.clone() });
            }
            client::Event::CaughtUp { .. } if !*follows => {
                *follows = true;
                self.record(Event::Follows { client });
            }
            client::Event::Ready { resumed: false, after: Some(_), .. }
            | client::Event::Resync { .. } => self.record(Event::Resynced { client }),
            _ => {}
        }
    }

    /// The verdict on the history so far, compared with the store's current content.
    ///
    /// # Panics
    /// If the store cannot be read.
    pub async fn verdict(
        &self,
        ports: &Ports,
        people: &[&Person],
        bounds: &Bounds,
    ) -> checker::Verdict {
        let channels = self.channels().clone();
        let mut history = self.history.lock().clone();
        for channel in &channels {
            history.stored.extend(stored(ports, channel).await);
        }
        for person in people {
            for channel in &channels {
                history.shown.extend(shown(
                    ClientId(person.number),
                    &person.client.inbox(),
                    channel,
                ));
            }
        }
        checker::check(&history, bounds)
    }

    /// How many `resync` frames clients got.
    #[must_use]
    pub fn resyncs(&self) -> usize {
        let is = |(_, event): &&(Duration, Event)| matches!(event, Event::Resynced { .. });
        self.history.lock().events.iter().filter(is).count()
    }

    fn channels(&self) -> MutexGuard<'_, BTreeSet<ChannelId>> {
        self.channels.lock()
    }
}

impl Sender {
    /// Sends a text with the client's retries. Returns the stored id if an attempt succeeded.
    pub async fn says(&self, channel: &ChannelId, text: &str) -> Option<MessageId> {
        let draft = self.outbox.draft(channel, text);
        self.sends(&draft).await
    }

    /// A draft, which can be sent more than once.
    #[must_use]
    pub fn draft(&self, channel: &ChannelId, text: &str) -> Draft {
        self.outbox.draft(channel, text)
    }

    /// Sends a draft as a new send.
    pub async fn sends(&self, draft: &Draft) -> Option<MessageId> {
        let send = SendId(self.recorder.sends.fetch_add(1, Ordering::Relaxed));
        self.sends_as(send, draft).await
    }

    /// Sends a draft again, as the same send.
    pub async fn sends_as(&self, send: SendId, draft: &Draft) -> Option<MessageId> {
        self.recorder.record(Event::SendStarted {
            send,
            log: draft.log.clone(),
            sender: self.name.clone(),
            text: MessageText::from_stored(draft.text.clone()).digest(),
            after: draft.after,
        });
        let sent = self.outbox.send_draft(draft).await;
        let outcome = match &sent {
            Ok(sent) => SendOutcome::Stored(sent.message.id),
            Err(SendError::NotStored { .. }) => SendOutcome::NotStored,
            Err(SendError::OutcomeUnknown { .. }) => SendOutcome::Unknown,
        };
        self.recorder.record(Event::SendEnded { send, outcome });
        sent.ok().map(|sent| sent.message.id)
    }
}

/// What a client shows of a channel, its threads included.
#[must_use]
pub fn shown(client: ClientId, inbox: &client::Inbox, channel: &ChannelId) -> Vec<Shown> {
    let main = inbox.timeline(channel).map(|timeline| (None, timeline));
    let threads = inbox.threads(channel).map(|(root, timeline)| (Some(root), timeline));
    main.into_iter()
        .chain(threads)
        .map(|(thread, timeline)| {
            let shown = timeline.messages().map(|message| (message.id, message.rev.clone()));
            let (ids, revs) = shown.unzip();
            Shown { client, log: LogId::new(channel.clone(), thread), ids, revs }
        })
        .collect()
}

/// A channel's messages in the store, its threads included.
async fn stored(ports: &Ports, channel: &ChannelId) -> Vec<StoredItem> {
    let mut items = stored_in(ports, channel.into()).await;
    let roots: Vec<MessageId> = items.iter().map(|item| item.id).collect();
    for root in roots {
        items.extend(stored_in(ports, LogId::new(channel.clone(), Some(root))).await);
    }
    items
}

async fn stored_in(ports: &Ports, log: LogId) -> Vec<StoredItem> {
    let mut items = Vec::new();
    let mut lowest = MessageId::MIN;
    loop {
        let query = PageQuery {
            log: log.clone(),
            lowest,
            highest: MessageId::last_of(Timestamp::from_unix_ms(u64::MAX >> 17)),
            newest_first: false,
            limit: 100,
            strong: true,
        };
        let page = ports.messages.page(&query).await.expect("a page of the store");
        let mut next = None;
        for entry in page.entries {
            let id = entry.id();
            next = id.next();
            if let LogEntry::Message(stored) = entry {
                items.push(StoredItem {
                    log: log.clone(),
                    id,
                    sender: stored.message.sender_id,
                    text: stored.message.text.digest(),
                    rev: stored.message.rev,
                    present: stored.message.text.digest(),
                    is_deleted: stored.message.deleted.is_some(),
                    is_pinned: stored.message.pinned.is_some(),
                    replies: stored.message.replies.map(|replies| *replies),
                    reactions: stored
                        .message
                        .reactions
                        .into_iter()
                        .map(|reaction| (reaction.emoji, reaction.count))
                        .collect(),
                });
            }
        }
        match next {
            Some(next) if page.more => lowest = next,
            _ => return items,
        }
    }
}
