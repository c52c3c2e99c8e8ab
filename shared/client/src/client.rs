//! The running client: one task that holds the socket and carries out the [`Session`]'s steps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{ChannelId, DeviceId, LogId, Message, MessageId, MessageText, NodeId, limits};
use parking_lot::Mutex;
use protocol::client_frame::{ClientFrame, View};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::catch_up::{Shared, stored_so_far};
use crate::deliveries::{Deliveries, Delivery, DeliveryWaits, OutboxFull};
use crate::error::ApiError;
use crate::event::Event;
use crate::gots::Telling;
use crate::inbox::Inbox;
use crate::keeping::Keeping;
use crate::rest::Api;
use crate::retry::Retrier;
use crate::send::{Outbox, SendError, Sent};
use crate::session::Session;
use crate::store::{Resumed, Store, StoreError};
use crate::timeline::Timeline;

mod delivering;
mod meetings;
mod renewing;
mod saving;
mod sockets;
mod speech;
mod task;

pub use meetings::{Accepted, SayError};

use delivering::{Outgoing, deliver};
use meetings::{Meetings, Saying};
use renewing::Renewing;
use saving::save;
use speech::Speech;
use task::Task;

/// A client's settings.
#[derive(Debug)]
pub struct Config {
    /// The user's access to the environment.
    pub api: Api,
    /// Where to resume. It must come from the same moment as `inbox`.
    pub cursor: Option<String>,
    /// The messages that the client already has.
    pub inbox: Inbox,
    /// What the outbox of channels that deliver first starts with, for a program that keeps
    /// [`Client::deliveries`] by itself.
    pub deliveries: Vec<Delivery>,
    /// The file that keeps them, if there is one.
    pub store: Option<Store>,
    /// How many messages to read from a channel that is new to this client, at most 100.
    pub first_visit_messages: u32,
    /// Capacity of the event queue. When it is full, the socket is not read.
    pub events_max: usize,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How long a socket may be silent before it counts as lost; 1.5 ticks if that is longer.
    pub silence_max: Duration,
    /// How long the outbox of channels that deliver first waits.
    pub delivery_waits: DeliveryWaits,
    /// Whether the client begins invisible ([`Client::set_invisible`]).
    pub invisible: bool,
    /// This device, if it keeps messages for good: what all devices keep is not stored in channels of
    /// `keep: acked` (ADR 0046). A [`Store`] is one. A program that keeps messages itself is one of its own,
    /// and says what it keeps ([`Client::keeps`]).
    pub device: Option<DeviceId>,
}

impl Config {
    /// Settings of a client that reports only messages stored from now on.
    ///
    /// Reads the newest messages of each channel first, so that a later catch-up does not report
    /// them.
    ///
    /// # Errors
    /// [`ApiError`]. Each call is tried once.
    pub async fn from_now(api: Api) -> Result<Self, ApiError> {
        let inbox = stored_so_far(&api, MESSAGES_MAX).await?;
        Ok(Self { inbox, first_visit_messages: 0, ..Self::new(api) })
    }

    /// Settings of a client that resumes from its store, and keeps it up to date. This reads the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn with_store(api: Api, mut store: Store) -> Result<Self, StoreError> {
        let Resumed { cursor, inbox } = store.resume(MESSAGES_MAX)?;
        Ok(Self { cursor, inbox, store: Some(store), ..Self::new(api) })
    }

    /// Settings of a client that has nothing yet, with the protocol's limits.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self {
            api,
            cursor: None,
            inbox: Inbox::new(MESSAGES_MAX),
            deliveries: Vec::new(),
            store: None,
            first_visit_messages: limits::PAGE_MESSAGES_DEFAULT,
            events_max: EVENTS_MAX,
            backoff: Backoff::default(),
            silence_max: limits::SILENCE_MAX,
            delivery_waits: DeliveryWaits::default(),
            invisible: false,
            device: None,
        }
    }
}

/// A running client. It stops when its last handle or its event receiver is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    outbox: Outbox,
    status: Arc<Mutex<Status>>,
    control: Arc<watch::Sender<Control>>,
    says: mpsc::Sender<ClientFrame>,
    sayings: mpsc::Sender<Saying>,
    deliveries: Outgoing,
    keeping: Arc<Mutex<Keeping>>,
}

/// The task's state that handles can read.
#[derive(Debug, Default)]
struct Status {
    node_id: Option<NodeId>,
    /// Every event up to it was delivered to the program.
    cursor: Option<String>,
    /// The same for the store's queue, if there is a store.
    position: Option<String>,
    /// Whose socket it is, or whose store: workspace and user.
    owner: Option<String>,
}

/// What the handles ask the task to do.
#[derive(Debug, Default)]
struct Control {
    online: bool,
    reading: bool,
    cuts: u64,
    view: View,
    joined: BTreeSet<ChannelId>,
    is_idle: bool,
    is_invisible: bool,
}

impl Client {
    /// Starts a client on the current tokio runtime. The program must receive its events: when
    /// their queue is full, the client stops reading its socket.
    #[must_use]
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let events_max = config.events_max.max(1);
        let (events, receiver) = mpsc::channel(events_max);
        let (mut backoff, mut inbox) = (config.backoff, config.inbox);
        inbox.keep_journal(config.store.is_some());
        let inbox = Arc::new(Mutex::new(inbox));
        let mut shared = Shared {
            api: config.api.clone(),
            inbox: Arc::clone(&inbox),
            events,
            is_saved: config.store.is_some(),
            first_visit_messages: config.first_visit_messages,
            retrier: Retrier::new(backoff.fork()),
            gots: Arc::default(),
            keeping: Arc::default(),
            node_clock: Arc::default(),
        };
        let (control, control_rx) = watch::channel(Control {
            online: true,
            reading: true,
            is_invisible: config.invisible,
            ..Control::default()
        });
        let (says, said) = mpsc::channel(SAYS_MAX);
        let (sayings, to_say) = mpsc::channel(SAYS_MAX);
        let cursor = config.cursor.clone();
        let status = Status { cursor: cursor.clone(), position: cursor, ..Status::default() };
        let status = Arc::new(Mutex::new(status));
        let now = Instant::now();
        let outbox = Outbox::beside(config.api, inbox, backoff.fork());
        let mut task_backoff = backoff.fork();
        let mut deliveries = Deliveries::new(config.delivery_waits, task_backoff.fork(), now);
        deliveries.restore(config.deliveries);
        let deliveries = Outgoing::new(deliveries);
        let mut device = config.device;
        if let Some(store) = config.store {
            device = Some(store.device().clone());
            save(store, &mut shared, &deliveries, &status, events_max);
        }
        let keeping = Arc::clone(&shared.keeping);
        let mut deliverer = JoinSet::new();
        deliverer.spawn(deliver(shared.clone(), deliveries.clone()));
        let task = Task {
            shared,
            status: Arc::clone(&status),
            control: control_rx,
            said,
            speech: Speech::default(),
            to_say,
            meetings: Meetings::default(),
            deliveries: deliveries.clone(),
            deliverer,
            renewing: Renewing::default(),
            device,
            outgoing: Vec::new(),
            catch_ups: JoinSet::new(),
            next_catch_up: None,
            backoff: task_backoff,
            session: Session::new(config.cursor, backoff),
            silence_max: config.silence_max,
            tick: Duration::ZERO,
            user: None,
            ready_at: None,
            lost_at: None,
        };
        tokio::spawn(task.run());
        let control = Arc::new(control);
        (Self { outbox, status, says, sayings, deliveries, keeping, control }, receiver)
    }

    /// Sends a text, with retries: [`Outbox::send`]. The message also arrives as an event.
    ///
    /// # Errors
    /// [`SendError`]: not stored, or outcome unknown.
    pub async fn send(&self, log: impl Into<LogId>, text: &str) -> Result<Sent, SendError> {
        self.outbox.send(log, text).await
    }

    /// Puts a message for a channel that delivers first into the outbox and returns its id at once. It is
    /// sent by the socket, by calls if there is none or Redis is full, and again until it is stored;
    /// [`Event::Delivery`] says how far it has come.
    ///
    /// # Errors
    /// [`OutboxFull`].
    pub fn deliver(&self, channel: &ChannelId, text: MessageText) -> Result<MessageId, OutboxFull> {
        let seen = self.outbox.inbox.lock().newest_seen(channel);
        let minting = (self.api().server_now(), self.api().transport().random());
        self.deliveries.change(|outbox| outbox.add(channel, text, seen, minting))
    }

    /// The messages in the outbox of channels that deliver first: those that are not stored yet, and
    /// those that were refused for good.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().list()
    }

    /// The program of a [`Config::device`] without a [`Store`] says that it keeps a message for good, also after
    /// a crash. What some device does not keep is stored by the server.
    pub fn keeps(&self, message: &Message) {
        let channel = &message.channel_id;
        let telling = self.outbox.inbox.lock().keeping(channel);
        if telling != Telling::Never {
            self.keeping.lock().note(channel, message.id, Instant::now());
            self.deliveries.wake();
        }
    }

    /// Forgets a message that was refused for good. Returns its text; `None` if there is no such
    /// message, or it is still being sent.
    pub fn discard(&self, channel: &ChannelId, id: MessageId) -> Option<MessageText> {
        self.deliveries.change(|outbox| outbox.discard(channel, id))
    }

    /// The outbox, to send a draft again after a failed send.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The REST side.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.outbox.api
    }

    /// The node that the socket is open to; `None` while there is no socket.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        self.status.lock().node_id.clone()
    }

    /// The cursor to resume from: every event up to it was delivered to the program.
    #[must_use]
    pub fn cursor(&self) -> Option<String> {
        self.status.lock().cursor.clone()
    }

    /// A copy of the current timeline of a channel, or of a thread as far as it reached this client.
    #[must_use]
    pub fn timeline(&self, log: impl Into<LogId>) -> Timeline {
        self.outbox.inbox.lock().timeline(log).cloned().unwrap_or_default()
    }

    /// A copy of all current timelines. Store it with the cursor to resume after a restart.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.outbox.inbox.lock().clone()
    }

    /// Says what is on the screen, now and on later sockets: signals about a log or a user reach only
    /// who views it.
    pub fn set_view(&self, view: View) {
        self.control.send_modify(|control| control.view = view);
    }

    /// Says whether the user is away from this client, now and on later sockets: others see them as idle
    /// while they are away from all of theirs.
    pub fn set_idle(&self, is_idle: bool) {
        self.control.send_modify(|control| control.is_idle = is_idle);
    }

    /// Makes the user invisible on this client's socket, or visible again: others see them as offline while
    /// every socket of theirs is invisible. Meanwhile nobody hears that they type here, or what was delivered
    /// to them here. What they send tells on them, and so do read marks that they share: use
    /// [`Api::mark_read_privately`].
    pub fn set_invisible(&self, is_invisible: bool) {
        self.control.send_modify(|control| control.is_invisible = is_invisible);
    }

    /// Says that the user types in a log. Call it on every key: the client says it every 3 s at most.
    /// It is lost while there is no socket.
    pub fn typing(&self, log: impl Into<LogId>) {
        self.says.try_send(ClientFrame::Typing(log.into())).unwrap_or_default();
    }

    /// Takes part in a channel that keeps nothing, on this socket and on later ones, until
    /// [`Client::leave`], or until it has ended. [`Event::Joined`] says from where on.
    pub fn join(&self, channel: &ChannelId) {
        self.control.send_if_modified(|control| control.joined.insert(channel.clone()));
    }

    /// Takes part no more.
    pub fn leave(&self, channel: &ChannelId) {
        self.control.send_if_modified(|control| control.joined.remove(channel));
    }

    /// Says something in a channel that keeps nothing, once. Those who have joined hear it as
    /// [`Event::Said`], the sender too.
    ///
    /// # Errors
    /// [`SayError`].
    pub async fn say(&self, channel: &ChannelId, text: MessageText) -> Result<Accepted, SayError> {
        let minting = (self.api().server_now(), self.api().transport().random());
        let id = self.deliveries.lock().mint(channel, None, minting);
        self.say_as(channel, id, text).await
    }

    /// Says something under an id, as after [`SayError::Unknown`].
    ///
    /// # Errors
    /// [`SayError`].
    pub async fn say_as(
        &self,
        channel: &ChannelId,
        id: MessageId,
        text: MessageText,
    ) -> Result<Accepted, SayError> {
        let (answer, answered) = oneshot::channel();
        let saying = Saying { channel_id: channel.clone(), id, text, answer };
        self.sayings.send(saying).await.or(Err(SayError::NoSocket))?;
        answered.await.unwrap_or(Err(SayError::NoSocket))
    }

    /// Checks at once whether the path to the node is alive, as after a change of the network: without
    /// an answer in 5 s the socket counts as lost.
    pub fn ping(&self) {
        self.says.try_send(ClientFrame::Ping).unwrap_or_default();
    }

    /// Drops TCP without a close frame, as a pulled cable would. The client reconnects by itself.
    pub fn cut(&self) {
        self.control.send_modify(|control| control.cuts += 1);
    }

    /// Drops the TCP connection and makes no calls until [`Client::go_online`].
    pub fn go_offline(&self) {
        self.control.send_modify(|control| control.online = false);
        self.deliveries.change(|outbox| outbox.set_online(false, Instant::now()));
    }

    /// Ends [`Client::go_offline`].
    pub fn go_online(&self) {
        self.control.send_modify(|control| control.online = true);
        self.deliveries.change(|outbox| outbox.set_online(true, Instant::now()));
    }

    /// Stops reading the socket, as a busy program would. The silence timeout is suspended.
    pub fn pause_reading(&self) {
        self.control.send_modify(|control| control.reading = false);
    }

    /// Ends [`Client::pause_reading`].
    pub fn resume_reading(&self) {
        self.control.send_modify(|control| control.reading = true);
    }
}

const MESSAGES_MAX: usize = 100_000;
const EVENTS_MAX: usize = 1_024;
/// Frames that wait for the socket's task; more are lost, as without a socket.
const SAYS_MAX: usize = 16;

#[cfg(test)]
mod tests;
