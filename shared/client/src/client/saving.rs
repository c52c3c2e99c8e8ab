//! Writes what a client knows into its store, and passes its events on to the program after that.

use std::sync::Arc;

use model::Message;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Status;
use super::delivering::Outgoing;
use crate::catch_up::Shared;
use crate::event::Event;
use crate::gots::{Gots, Telling};
use crate::inbox::Inbox;
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
}

impl Saved {
    fn of(shared: &Shared) -> Self {
        Self { inbox: Arc::clone(&shared.inbox), gots: Arc::clone(&shared.gots) }
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
    {
        // The last process may have been killed before it said so.
        let (inbox, mut gots) = (shared.inbox(), shared.gots.lock());
        for (channel, timeline) in inbox.timelines() {
            if let Some(newest) = timeline.newest() {
                gots.note(channel, newest);
            }
        }
    }
    let (deliveries, status) = (deliveries.clone(), Arc::clone(status));
    let saver = Saver { store, shared: Saved::of(shared), deliveries, status, program };
    tokio::spawn(saver.run(to_save));
}

impl Saver {
    /// Runs until the client has stopped, the program drops its receiver, or the disk fails.
    async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = events.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return },
                () = self.program.closed() => return,
            }
            let to_write = self.batch();
            self = match self.written(to_write).await {
                Ok(saver) => saver,
                Err((program, error)) => {
                    let stopped = Event::Stopped { reason: StopReason::Store(error) };
                    // Fails only if the program dropped the receiver.
                    return program.send(stopped).await.unwrap_or_default();
                }
            };
            for event in batch.drain(..) {
                if let Event::Message { message, .. } = &event {
                    self.note_got(message);
                }
                if self.program.send(event).await.is_err() {
                    return;
                }
            }
            // In this order: with an empty queue, the program has every event up to the position.
            let position = self.status.lock().position.clone();
            if events.is_empty() {
                self.status.lock().cursor = position;
            }
            self.deliveries.wake();
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

    async fn written(self, batch: Batch) -> Result<Self, (mpsc::Sender<Event>, StoreError)> {
        let Self { mut store, shared, deliveries, status, program } = self;
        let written = spawn_blocking(move || {
            let written = store.write(batch);
            written.map(|()| store)
        });
        match written.await {
            Ok(Ok(store)) => Ok(Self { store, shared, deliveries, status, program }),
            Ok(Err(error)) => Err((program, error)),
            Err(stopped) => Err((program, StoreError::Disk(stopped.into()))),
        }
    }

    fn note_got(&self, message: &Message) {
        let telling = self.shared.inbox.lock().telling(&message.channel_id);
        if telling != Telling::Never {
            self.shared.gots.lock().note(&message.channel_id, message.id);
        }
    }
}

/// Events after which a batch is written at the latest.
const BATCH_MAX: usize = 256;

#[cfg(test)]
mod tests;
