//! The spool, in process.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use messaging::ports::{BusError, Held, Offered, Published, Spool, SpoolEntry};
use model::{ChannelId, EntryId, PublicationId, Timestamp, WorkspaceId, limits};
use protocol::publication::Publication;

use crate::bus::{MemoryBus, State};
use crate::stream::next_id;

/// The spools, and when each workspace was noted.
#[derive(Debug, Default)]
pub(crate) struct Spools {
    of: HashMap<WorkspaceId, Entries>,
    noted: BTreeMap<WorkspaceId, Timestamp>,
    digests: HashMap<(WorkspaceId, String), String>,
}

#[derive(Debug, Default)]
struct Entries {
    entries: BTreeMap<EntryId, Waiting>,
    bytes: usize,
    last: Option<EntryId>,
}

/// An entry as Redis keeps it: encoded.
#[derive(Debug)]
struct Waiting {
    channel: Option<ChannelId>,
    publication: PublicationId,
    wire: String,
    claimed_at: Option<Timestamp>,
}

impl Waiting {
    fn decode(&self, id: EntryId) -> SpoolEntry {
        let publication = Arc::new(Publication::decode(self.publication, &self.wire));
        SpoolEntry { id, publication }
    }
}

impl Spools {
    /// Forgets everything, as a flush does.
    pub(crate) fn flush(&mut self, workspace: &WorkspaceId) {
        self.of.remove(workspace);
        self.noted.remove(workspace);
        self.digests.retain(|(of, _), _| of != workspace);
    }
}

impl State {
    fn deliver(
        &mut self,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
        now: Timestamp,
    ) -> Offered {
        let wire = publication.encode();
        self.spools.noted.insert(workspace.clone(), now);
        let held = self.spools.of.get(workspace).map_or(0, |spool| spool.bytes);
        let key = (workspace.clone(), publication.guard());
        let is_guarded = self.is_guarded(workspace, &key.1, now);
        if !is_guarded && held + wire.len() > limits::SPOOL_BYTES_MAX {
            return Offered::Full;
        }
        match self.publish(workspace, publication, now) {
            Published::AlreadyPublished => match self.spools.digests.get(&key) {
                None => Offered::Stored,
                Some(known) if known != digest => Offered::Conflict,
                Some(_) => self.accepted(),
            },
            Published::Appended(_) => {
                self.spools.digests.insert(key, digest.to_owned());
                let spool = self.spools.of.entry(workspace.clone()).or_default();
                let id = next_id(spool.last, now);
                spool.last = Some(id);
                spool.bytes += wire.len();
                let channel = publication.channel().map(|to| to.channel_id.clone());
                let publication = publication.id;
                spool.entries.insert(id, Waiting { channel, publication, wire, claimed_at: None });
                self.accepted()
            }
        }
    }
}

#[async_trait]
impl Spool for MemoryBus {
    async fn deliver(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
    ) -> Result<Offered, BusError> {
        let now = self.now();
        self.publish_by(|state| state.deliver(workspace, publication, digest, now)).await
    }

    async fn waiting(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        let state = self.state.lock();
        let Some(spool) = state.spools.of.get(workspace) else { return Ok(Vec::new()) };
        let is_of_channel =
            |(_, waiting): &(&EntryId, &Waiting)| waiting.channel.as_ref() == Some(channel);
        let found: Vec<_> = spool.entries.iter().filter(is_of_channel).collect();
        if found.len() > limits::SPOOL_CHANNEL_MAX {
            return Err(BusError::Refused("too much waits to be stored".into()));
        }
        Ok(found.into_iter().map(|(id, waiting)| waiting.decode(*id)).collect())
    }

    async fn spools(&self, since: Timestamp) -> Result<Vec<(WorkspaceId, Timestamp)>, BusError> {
        let state = self.state.lock();
        let noted = state.spools.noted.iter().filter(|(_, at)| **at >= since);
        Ok(noted.map(|(workspace, at)| (workspace.clone(), *at)).collect())
    }

    async fn claim(
        &self,
        workspace: &WorkspaceId,
        _archiver: &str,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        let now = self.now();
        let mut state = self.state.lock();
        let Some(spool) = state.spools.of.get_mut(workspace) else { return Ok(Vec::new()) };
        let is_free =
            |at: Option<Timestamp>| at.is_none_or(|at| now.since(at) >= limits::ARCHIVE_CLAIM);
        let free = spool.entries.iter_mut().filter(|(_, waiting)| is_free(waiting.claimed_at));
        let taken = free.take(limit).map(|(id, waiting)| {
            waiting.claimed_at = Some(now);
            waiting.decode(*id)
        });
        Ok(taken.collect())
    }

    async fn remove(
        &self,
        workspace: &WorkspaceId,
        entries: &[SpoolEntry],
    ) -> Result<(), BusError> {
        let mut state = self.state.lock();
        if let Some(spool) = state.spools.of.get_mut(workspace) {
            for entry in entries {
                let removed =
                    spool.entries.remove(&entry.id).map_or(0, |waiting| waiting.wire.len());
                spool.bytes = spool.bytes.saturating_sub(removed);
            }
        }
        Ok(())
    }

    async fn held(&self, workspace: &WorkspaceId) -> Result<Option<Held>, BusError> {
        let state = self.state.lock();
        let Some(spool) = state.spools.of.get(workspace) else { return Ok(None) };
        let bytes = u64::try_from(spool.bytes).unwrap_or(u64::MAX);
        let oldest = spool.entries.first_key_value();
        Ok(oldest.map(|(id, _)| Held { since: Timestamp::from_unix_ms(id.ms), bytes }))
    }

    async fn forget(&self, workspace: &WorkspaceId, noted_at: Timestamp) -> Result<(), BusError> {
        let spools = &mut self.state.lock().spools;
        let is_empty = spools.of.get(workspace).is_none_or(|spool| spool.entries.is_empty());
        if is_empty && spools.noted.get(workspace).is_some_and(|noted| *noted <= noted_at) {
            spools.noted.remove(workspace);
        }
        Ok(())
    }
}
