//! A user with the reference client. It keeps all received events.

use std::sync::Arc;
use std::time::Duration;

use client::{Api, Client, Config, Event, Source};
use model::{ChannelId, MessageId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{SOON, eventually};

/// One event, and when it arrived.
#[derive(Debug)]
pub struct Logged {
    /// When it arrived.
    pub at: Instant,
    /// The event.
    pub event: Event,
}

/// A connected user.
#[derive(Debug)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their API client.
    pub api: Api,
    /// Their client.
    pub client: Client,
    /// The client's number in a recorded run.
    pub number: u32,
    log: Arc<Mutex<Vec<Logged>>>,
}

impl Person {
    /// Connects and waits until the socket is ready and the first catch-up is complete.
    pub async fn start(name: &str, api: Api) -> Self {
        let person = Self::start_without_waiting(name, api);
        person.until("caught up", |event| matches!(event, Event::CaughtUp { .. })).await;
        person
    }

    /// Starts to connect, and does not wait.
    #[must_use]
    pub fn start_without_waiting(name: &str, api: Api) -> Self {
        Self::observed(name, api, 0, |_| {})
    }

    /// Starts to connect with these settings, and does not wait.
    #[must_use]
    pub fn with(name: &str, config: Config) -> Self {
        Self::of(name, config, 0, |_| {})
    }

    /// Starts to connect. Every event goes to the observer first.
    pub fn observed(
        name: &str,
        api: Api,
        number: u32,
        observer: impl FnMut(&Event) + Send + 'static,
    ) -> Self {
        Self::of(name, Config::new(api), number, observer)
    }

    fn of(
        name: &str,
        config: Config,
        number: u32,
        mut observer: impl FnMut(&Event) + Send + 'static,
    ) -> Self {
        let api = config.api.clone();
        let (client, mut events) = Client::start(config);
        let log: Arc<Mutex<Vec<Logged>>> = Arc::default();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                observer(&event);
                let logged = Logged { at: Instant::now(), event };
                kept.lock().push(logged);
            }
        });
        Self { name: name.to_owned(), api, client, number, log }
    }

    /// Applies a function to all events so far.
    pub fn look<T>(&self, look: impl FnOnce(&[Logged]) -> T) -> T {
        look(&self.log.lock())
    }

    /// How many events so far match `wanted`.
    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.look(|log| log.iter().filter(|logged| wanted(&logged.event)).count())
    }

    /// Waits until an event matches `wanted`.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Event) -> bool) {
        eventually(&format!("{}: {what}", self.name), SOON, async || self.count(&wanted) > 0).await;
    }

    /// The texts of a channel's timeline, in id order.
    #[must_use]
    pub fn texts(&self, channel: &ChannelId) -> Vec<String> {
        let timeline = self.client.timeline(channel);
        timeline.messages().map(|message| message.text.as_str().to_owned()).collect()
    }

    /// The ids of a channel's timeline, in order.
    #[must_use]
    pub fn ids(&self, channel: &ChannelId) -> Vec<MessageId> {
        self.client.timeline(channel).ids()
    }

    /// Waits until a text is in a channel's timeline.
    pub async fn hears(&self, channel: &ChannelId, text: &str) {
        self.hears_within(channel, text, SOON).await;
    }

    /// Like [`Self::hears`], with another deadline.
    pub async fn hears_within(&self, channel: &ChannelId, text: &str, within: Duration) {
        let what = format!("{} hears {text}", self.name);
        eventually(&what, within, async || self.texts(channel).iter().any(|heard| heard == text))
            .await;
    }

    /// Sends a message, with the client's retries.
    ///
    /// # Panics
    /// If it is not stored.
    pub async fn says(&self, channel: &ChannelId, text: &str) -> MessageId {
        let sent = self.client.send(channel, text).await;
        sent.unwrap_or_else(|error| panic!("{} says {text}: {error}", self.name)).message.id
    }

    /// When a message first reached them, by any path.
    #[must_use]
    pub fn reached_at(&self, id: MessageId) -> Option<Instant> {
        self.first(id, |_| true)
    }

    /// When a message was first pushed on their socket, live or replayed. Catch-ups do not count.
    #[must_use]
    pub fn pushed_at(&self, id: MessageId) -> Option<Instant> {
        self.first(id, |how| how == Source::Pushed)
    }

    fn first(&self, id: MessageId, wanted: impl Fn(Source) -> bool) -> Option<Instant> {
        self.look(|log| {
            log.iter().find_map(|logged| match &logged.event {
                Event::Message { message, source, .. } if message.id == id && wanted(*source) => {
                    Some(logged.at)
                }
                _ => None,
            })
        })
    }

    /// The texts that were pushed on a socket, live or replayed, in the order of arrival.
    #[must_use]
    pub fn pushed(&self, channel: &ChannelId) -> Vec<String> {
        self.look(|log| {
            log.iter()
                .filter_map(|logged| match &logged.event {
                    Event::Message { message, source: Source::Pushed, .. }
                        if message.channel_id == *channel =>
                    {
                        Some(message.text.as_str().to_owned())
                    }
                    _ => None,
                })
                .collect()
        })
    }
}
