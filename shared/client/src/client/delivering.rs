//! Carries out what the outbox of channels that deliver first decides, beside the socket's task: makes
//! the calls and tells the program.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use protocol::client_frame::ClientFrame;
use protocol::frame::ServerFrame;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::catch_up::Shared;
use crate::deliveries::{Deliveries, Key, Post, Posted};
use crate::event::Event;
use crate::rest::Api;

/// The outbox, and who is to look at it.
#[derive(Debug, Clone)]
pub(super) struct Outgoing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    deliveries: Mutex<Deliveries>,
    /// The task of [`deliver`] has something to do.
    changed: Notify,
    /// The socket's task may have something to send.
    sendable: Notify,
}

impl Outgoing {
    pub(super) fn new(deliveries: Deliveries) -> Self {
        let deliveries = Mutex::new(deliveries);
        Self(Arc::new(Inner { deliveries, changed: Notify::new(), sendable: Notify::new() }))
    }

    /// The outbox, to look at it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Deliveries> {
        self.0.deliveries.lock()
    }

    /// Changes the outbox, and wakes who acts on that.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Deliveries) -> T) -> T {
        let result = change(&mut self.0.deliveries.lock());
        self.0.changed.notify_one();
        self.0.sendable.notify_one();
        result
    }

    /// Handles a frame that is not of the stream. Returns whether it was for the outbox only.
    pub(super) fn on_frame(&self, frame: &ServerFrame) -> bool {
        let now = Instant::now();
        match frame {
            ServerFrame::Accepted { reference, replicated, .. } => {
                self.change(|outbox| outbox.on_accepted(*reference, *replicated, now))
            }
            ServerFrame::Refused(refused) => self.change(|outbox| outbox.on_refused(refused, now)),
            ServerFrame::Receipts { channel_id, archived, .. } => {
                self.change(|outbox| outbox.on_archived(channel_id, archived));
                false
            }
            ServerFrame::Ready(_)
            | ServerFrame::Message { .. }
            | ServerFrame::Channel { .. }
            | ServerFrame::Tick { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Resync { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Joined { .. }
            | ServerFrame::Said { .. }
            | ServerFrame::Ended { .. }
            | ServerFrame::Going(_)
            | ServerFrame::Renewed { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Unknown { .. } => false,
        }
    }

    /// Wakes the socket's task: it may have something to say.
    pub(super) fn wake(&self) {
        self.0.sendable.notify_one();
    }

    /// Waits until there may be something to send on the socket.
    pub(super) async fn sendable(&self) {
        self.0.sendable.notified().await;
    }

    /// The frames to send on the socket now.
    pub(super) fn frames(&self) -> Vec<ClientFrame> {
        let sends = self.0.deliveries.lock().sends(Instant::now());
        if !sends.is_empty() {
            self.0.changed.notify_one();
        }
        sends.into_iter().map(ClientFrame::Send).collect()
    }
}

/// Makes the outbox's calls and sends its events, until the program drops their receiver.
pub(super) async fn deliver(shared: Shared, outgoing: Outgoing) {
    let mut calls = JoinSet::new();
    loop {
        if !outgoing.lock().is_online() {
            calls.shutdown().await;
        }
        let (changes, posts, due_at) = {
            let mut deliveries = outgoing.lock();
            let posts = deliveries.posts(Instant::now());
            (deliveries.take_changes(), posts, deliveries.due_at())
        };
        outgoing.0.sendable.notify_one();
        for post in posts {
            calls.spawn(posted(shared.api.clone(), post));
        }
        for ((channel_id, id), state) in changes {
            if shared.events.send(Event::Delivery { channel_id, id, state }).await.is_err() {
                return;
            }
        }
        tokio::select! {
            // In order, not by chance: a simulated run is repeated from its seed.
            biased;
            () = shared.events.closed() => return,
            () = outgoing.0.changed.notified() => {}
            () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {}
            Some(Ok((key, posted))) = calls.join_next() => {
                outgoing.lock().on_posted(key, posted, Instant::now());
            }
        }
    }
}

async fn posted(api: Api, Post { key, text }: Post) -> (Key, Posted) {
    let (channel, id) = &key;
    let posted = match api.post_message(channel, text.as_str(), Some(*id), None).await {
        Ok(_) => Posted::Stored,
        Err(error) => Posted::of_error(&error),
    };
    (key, posted)
}

#[cfg(test)]
mod tests;
