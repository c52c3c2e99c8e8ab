//! The client at work: one task that holds the socket and follows the [`Session`]'s steps.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{ChannelId, NodeId, limits};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::catch_up::{Shared, stored_so_far};
use crate::error::ApiError;
use crate::event::Event;
use crate::inbox::Inbox;
use crate::lock;
use crate::pace::Pace;
use crate::rest::Api;
use crate::send::{Outbox, SendError, Sent};
use crate::session::Session;
use crate::timeline::Timeline;

mod task;

use task::Task;

/// How a client is set up.
#[derive(Debug)]
pub struct Config {
    /// Whose client it is, and where.
    pub api: Api,
    /// Where to resume; goes together with the inbox that was filled up to there.
    pub cursor: Option<String>,
    /// What is already here.
    pub inbox: Inbox,
    /// How many messages of a channel are read when it is seen for the first time, at most 100.
    pub first_visit_messages: u32,
    /// How many events wait for the program before the socket does.
    pub events_max: usize,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How long a socket may be silent; or one and a half of its ticks, where that is longer.
    pub silence_max: Duration,
}

impl Config {
    /// A client that reports only what is stored from now on.
    ///
    /// Reads the newest messages of each channel first, so that a later reading does not report
    /// them.
    ///
    /// # Errors
    /// [`ApiError`]: one attempt each, no retries.
    pub async fn from_now(api: Api) -> Result<Self, ApiError> {
        let inbox = stored_so_far(&api, MESSAGES_MAX).await?;
        Ok(Self { inbox, first_visit_messages: 0, ..Self::new(api) })
    }

    /// A first visit with the protocol's own bounds.
    #[must_use]
    pub fn new(api: Api) -> Self {
        Self {
            api,
            cursor: None,
            inbox: Inbox::new(MESSAGES_MAX),
            first_visit_messages: limits::PAGE_MESSAGES_DEFAULT,
            events_max: EVENTS_MAX,
            backoff: Backoff::default(),
            silence_max: limits::SILENCE_MAX,
        }
    }
}

/// A running client. It stops when its last handle or its receiver of events is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    api: Api,
    inbox: Arc<Mutex<Inbox>>,
    outbox: Outbox,
    view: Arc<Mutex<View>>,
    control: Arc<watch::Sender<Control>>,
}

/// What the task shows of its state.
#[derive(Debug, Default)]
struct View {
    node_id: Option<NodeId>,
    cursor: Option<String>,
}

/// What the handle wants of the task.
#[derive(Debug)]
struct Control {
    online: bool,
    reading: bool,
    cuts: u64,
}

impl Client {
    /// Starts a client. Its events must be taken: they are what slows it down.
    ///
    /// Runs on the current tokio runtime.
    #[must_use]
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(config.events_max.max(1));
        let inbox = Arc::new(Mutex::new(config.inbox));
        let (api, mut backoff) = (config.api, config.backoff);
        let shared = Shared {
            api: api.clone(),
            inbox: Arc::clone(&inbox),
            events,
            first_visit_messages: config.first_visit_messages,
            pace: Pace::new(backoff.fork()),
            node_clock: Arc::default(),
        };
        let control = Control { online: true, reading: true, cuts: 0 };
        let (control, orders) = watch::channel(control);
        let view = Arc::new(Mutex::new(View { node_id: None, cursor: config.cursor.clone() }));
        let outbox = Outbox::beside(api.clone(), Arc::clone(&inbox), backoff.fork());
        let task = Task {
            shared,
            view: Arc::clone(&view),
            orders,
            readings: JoinSet::new(),
            pending: None,
            spread: backoff.fork(),
            session: Session::new(config.cursor, backoff),
            silence_max: config.silence_max,
            tick: Duration::ZERO,
            ready_at: None,
            lost_at: None,
        };
        tokio::spawn(task.run());
        (Self { api, inbox, outbox, view, control: Arc::new(control) }, receiver)
    }

    /// Sends a text, with retries: [`Outbox::send`]. It comes back as an event like any other.
    ///
    /// # Errors
    /// [`SendError`]: not stored, or outcome unknown.
    pub async fn send(&self, channel: &ChannelId, text: &str) -> Result<Sent, SendError> {
        self.outbox.send(channel, text).await
    }

    /// The outbox: for drafts that outlive a failed send.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The REST side.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// The node of the socket; `None` while there is none.
    #[must_use]
    pub fn node_id(&self) -> Option<NodeId> {
        lock(&self.view).node_id.clone()
    }

    /// Where the stream is safe to resume.
    #[must_use]
    pub fn cursor(&self) -> Option<String> {
        lock(&self.view).cursor.clone()
    }

    /// A channel's timeline as it is now.
    #[must_use]
    pub fn timeline(&self, channel: &ChannelId) -> Timeline {
        lock(&self.inbox).timeline(channel).cloned().unwrap_or_default()
    }

    /// All timelines as they are now: what to keep, with the cursor, for a later start.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        lock(&self.inbox).clone()
    }

    /// Drops TCP without a close frame, as a cable does. The client comes back by itself.
    pub fn cut(&self) {
        self.control.send_modify(|control| control.cuts += 1);
    }

    /// Drops TCP and makes no call until [`Client::go_online`].
    pub fn go_offline(&self) {
        self.control.send_modify(|control| control.online = false);
    }

    /// Ends [`Client::go_offline`].
    pub fn go_online(&self) {
        self.control.send_modify(|control| control.online = true);
    }

    /// Leaves the socket unread, as a busy program does; its silence is not held against it.
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

#[cfg(test)]
mod tests;
