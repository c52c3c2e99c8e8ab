//! Writes what a client knows into its store, and passes its events on to the program after that.

use std::sync::Arc;

use model::{Message, Timestamp, limits};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::Status;
use super::delivering::Outgoing;
use crate::catch_up::Shared;
use crate::event::Event;
use crate::gots::{Gots, Telling};
use crate::inbox::Inbox;
use crate::keeping::Keeping;
use crate::session::StopReason;
use crate::store::{Batch, Store, StoreError};

/// The task between a client with a store and its program.
#[derive(Debug)]
struct Saver {
    store: Store,
    /// The client's side; its events wait in a queue for this task.
    shared: Saved,
    deliveries: Outgoing,
    status: Arc<Mutex<Status>>,
    program: mpsc::Sender<Event>,
}

/// What the saver needs of [`Shared`]: not its sender of events, whose end it waits for.
#[derive(Debug)]
struct Saved {
    inbox: Arc<Mutex<Inbox>>,
    gots: Arc<Mutex<Gots>>,
    keeping: Arc<Mutex<Keeping>>,
}

impl Saved {
    fn of(shared: &Shared) -> Self {
        let (inbox, gots) = (Arc::clone(&shared.inbox), Arc::clone(&shared.gots));
        Self { inbox, gots, keeping: Arc::clone(&shared.keeping) }
    }
}

/// Puts a store between a client and its program, and starts with what the store kept.
pub(super) fn save(
    mut store: Store,
    shared: &mut Shared,
    deliveries: &Outgoing,
    status: &Arc<Mutex<Status>>,
    events_max: usize,
) {
    let (events, to_save) = mpsc::channel(events_max);
    let program = std::mem::replace(&mut shared.events, events);
    status.lock().owner.clone_from(&store.owner);
    {
        let mut outbox = deliveries.lock();
        outbox.save_from_now();
        outbox.restore(store.take_outbox());
    }
    let recent_since = shared.api.server_now().minus(limits::KEEPERS_TTL);
    let (deliveries, status) = (deliveries.clone(), Arc::clone(status));
    let saver = Saver { store, shared: Saved::of(shared), deliveries, status, program };
    tokio::spawn(saver.run(to_save, recent_since));
}

impl Saver {
    /// Runs until the client has stopped, the program drops its receiver, or the disk fails.
    async fn run(self, mut events: mpsc::Receiver<Event>, recent_since: Timestamp) {
        let mut batch = Vec::new();
        let Some(mut saver) = self.written().await else { return };
        saver.note_what_was_here(recent_since);
        loop {
            tokio::select! {
                biased;
                count = events.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return },
                () = saver.program.closed() => return,
            }
            let Some(written) = saver.written().await else { return };
            saver = written;
            for event in batch.drain(..) {
                if let Event::Message { message, .. } = &event {
                    saver.note_got(message);
                }
                if saver.program.send(event).await.is_err() {
                    return;
                }
            }
            // In this order: with an empty queue, the program has every event up to the position.
            let position = saver.status.lock().position.clone();
            if events.is_empty() {
                saver.status.lock().cursor = position;
            }
            saver.deliveries.wake();
        }
    }

    /// All that is not written yet. What it holds of messages is at least what `cursor` stands for.
    fn batch(&self) -> Batch {
        let (cursor, owner) = {
            let status = self.status.lock();
            (status.position.clone(), status.owner.clone())
        };
        let snapshot = self.shared.inbox.lock().snapshot();
        let outbox = self.deliveries.lock().take_unsaved();
        Batch { cursor, owner, snapshot, outbox }
    }

    /// Writes what is not written yet. `None` if that fails; the program knows.
    async fn written(self) -> Option<Self> {
        let batch = self.batch();
        let Self { mut store, shared, deliveries, status, program } = self;
        let written = spawn_blocking(move || {
            let written = store.write(batch);
            written.map(|()| store)
        });
        let error = match written.await {
            Ok(Ok(store)) => return Some(Self { store, shared, deliveries, status, program }),
            Ok(Err(error)) => error,
            Err(stopped) => StoreError::Disk(stopped.into()),
        };
        // Fails only if the program dropped the receiver.
        program.send(Event::Stopped { reason: StopReason::Store(error) }).await.unwrap_or_default();
        None
    }

    /// Notes what the client started with: the last process may have been killed before it said so.
    fn note_what_was_here(&self, recent_since: Timestamp) {
        let (inbox, now) = (self.shared.inbox.lock(), Instant::now());
        let (mut gots, mut keeping) = (self.shared.gots.lock(), self.shared.keeping.lock());
        for (channel, timeline) in inbox.timelines() {
            timeline.newest().into_iter().for_each(|newest| gots.note(channel, newest));
            let recent = timeline.messages().rev().map(|message| message.id);
            let recent = recent.take_while(|id| id.time() >= recent_since);
            recent.for_each(|id| keeping.note(channel, id, now));
        }
    }

    fn note_got(&self, message: &Message) {
        let telling = self.shared.inbox.lock().telling(&message.channel_id);
        if telling != Telling::Never {
            self.shared.gots.lock().note(&message.channel_id, message.id);
            let (channel, now) = (&message.channel_id, Instant::now());
            self.shared.keeping.lock().note(channel, message.id, now);
        }
    }
}

/// Events after which a batch is written at the latest.
const BATCH_MAX: usize = 256;

#[cfg(test)]
mod tests;
