//! The spool: messages that are delivered and not yet stored (ADR 0044).

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use messaging::ports::{BusError, Held, Offered, Spool, SpoolEntry};
use model::{ChannelId, EntryId, Position, PublicationId, Timestamp, WorkspaceId, limits};
use parking_lot::Mutex;
use protocol::publication::{ChannelRecipients, Publication};
use redis::{Cmd, FromRedisValue, RedisResult, Script, Value};
use tokio::sync::oneshot;

use crate::bus::{ALREADY, PUBLISH_TEXT, RedisBus, bus_error, spool_cmd};
use crate::codec;
use crate::command::{Request, is_doubtful, is_unknown_script, script_by_hash};
use crate::endpoint::Endpoint;
use crate::link::{self, Link};
use crate::reply;

/// Sends that are on their way: those of some milliseconds share one trip and one wait for a replica.
#[derive(Debug)]
pub(crate) struct Deliveries {
    endpoint: Endpoint,
    waiting: Mutex<Vec<Delivery>>,
    link: tokio::sync::Mutex<Option<Link>>,
}

#[derive(Debug)]
struct Delivery {
    workspace: WorkspaceId,
    cmd: Cmd,
    answer: oneshot::Sender<Result<Offered, BusError>>,
}

impl Deliveries {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, waiting: Mutex::default(), link: tokio::sync::Mutex::default() }
    }

    async fn offer(
        self: &Arc<Self>,
        workspace: &WorkspaceId,
        cmd: Cmd,
    ) -> Result<Offered, BusError> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting.lock();
            waiting.push(Delivery { workspace: workspace.clone(), cmd, answer });
            waiting.len() == 1
        };
        if is_first {
            let deliveries = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(limits::DELIVER_BATCH).await;
                deliveries.make_trips().await;
            });
        }
        answered.await.unwrap_or_else(|gone| Err(BusError::Unavailable(gone.into())))
    }

    /// Makes trips until nothing waits. What comes meanwhile waits for the connection.
    async fn make_trips(&self) {
        let mut slot = self.link.lock().await;
        loop {
            let trip: Vec<Delivery> = {
                let mut waiting = self.waiting.lock();
                let count = waiting.len().min(limits::DELIVER_BATCH_MAX);
                waiting.drain(..count).collect()
            };
            if trip.is_empty() {
                return;
            }
            let answers = self.trip(&mut slot, &trip).await.unwrap_or_else(|error| {
                trip.iter().map(|_| Err(bus_error(error.clone()))).collect()
            });
            for (delivery, offered) in trip.into_iter().zip(answers) {
                // Whoever waited may have given up.
                let _gone = delivery.answer.send(offered);
            }
        }
    }

    /// Makes a trip; once more over a new connection if the first one is broken or leads to a server
    /// that cannot serve it. The guards make that a repetition.
    async fn trip(
        &self,
        slot: &mut Option<Link>,
        trip: &[Delivery],
    ) -> RedisResult<Vec<Result<Offered, BusError>>> {
        if let Some(link) = slot.take().filter(Link::is_fresh)
            && let Ok(answers) = run(&link, trip).await
        {
            *slot = Some(link);
            return Ok(answers);
        }
        let made = async {
            let link = Link::open(&self.endpoint, &[PUBLISH_TEXT, SPOOLS_TEXT]).await?;
            let answers = run(&link, trip).await?;
            Ok((link, answers))
        };
        match made.await {
            Ok((link, answers)) => {
                *slot = Some(link);
                self.endpoint.record_write();
                Ok(answers)
            }
            Err(error) => {
                if is_doubtful(&error) {
                    self.endpoint.record_failure();
                }
                Err(error)
            }
        }
    }
}

/// Notes the workspaces, runs the scripts, and waits for a replica if there is one.
async fn run(link: &Link, trip: &[Delivery]) -> RedisResult<Vec<Result<Offered, BusError>>> {
    let workspaces: BTreeSet<&str> =
        trip.iter().map(|delivery| delivery.workspace.as_str()).collect();
    let workspaces: Vec<&[u8]> = workspaces.into_iter().map(str::as_bytes).collect();
    let note = script_by_hash(&SPOOLS, &[codec::SPOOLS_KEY], &workspaces);
    let cmds = std::iter::once(note).chain(trip.iter().map(|delivery| delivery.cmd.clone()));
    let mut answers = link.pipeline(cmds.chain(link::marker(MARKER_KEY))).await?.into_iter();
    answers.next().map(Value::extract_error).transpose()?;
    let mut offered = Vec::with_capacity(trip.len());
    for answer in answers.by_ref().take(trip.len()) {
        offered.push(match answer.extract_error() {
            Ok(answer) => Ok(answer),
            Err(error) if is_doubtful(&error) || is_unknown_script(&error) => return Err(error),
            Err(error) => Err(bus_error(error)),
        });
    }
    let has_replica = link::attached(answers)? > 0;
    let replicated = has_replica && link.wait(limits::DELIVER_REPLICA_WAIT).await?;
    Ok(offered.into_iter().map(|answer| offered_by(&answer?, replicated)).collect())
}

fn offered_by(answer: &Value, replicated: bool) -> Result<Offered, BusError> {
    match reply::text(answer) {
        Some("stored") => Ok(Offered::Stored),
        Some("conflict") => Ok(Offered::Conflict),
        Some("full") => Ok(Offered::Full),
        Some(text) if text == ALREADY || Position::parse(text).is_some() => {
            Ok(Offered::Accepted { replicated })
        }
        Some(_) | None => Err(BusError::Refused("not a position".into())),
    }
}

#[async_trait]
impl Spool for RedisBus {
    async fn deliver(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
        digest: &str,
    ) -> Result<Offered, BusError> {
        let Some(ChannelRecipients { channel_id, .. }) = publication.channel() else {
            return Err(BusError::Refused("only a channel's message waits to be stored".into()));
        };
        let cmd = spool_cmd(workspace, channel_id, publication, digest);
        self.deliveries().offer(workspace, cmd).await
    }

    async fn waiting(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        let (index, mut cmd) = (codec::waiting_key(workspace, channel), redis::cmd("ZRANGE"));
        cmd.arg(&index).arg(0).arg(limits::SPOOL_CHANNEL_MAX);
        let ids: Vec<String> = self.ask(cmd).await?;
        if ids.len() > limits::SPOOL_CHANNEL_MAX {
            return Err(BusError::Refused("too much waits to be stored".into()));
        }
        let spool = codec::spool_key(workspace);
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(limits::SPOOL_READ_ENTRIES_MAX) {
            let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
            let request = Request::of_script(&WAITING, WAITING_TEXT, &[&spool, &index], &ids);
            let elements: Vec<Value> = self.commands().query(&request).await.map_err(bus_error)?;
            found.extend(elements.iter().filter_map(entry));
        }
        found.sort_unstable_by_key(|entry| entry.id);
        Ok(found)
    }

    async fn spools(&self, since: Timestamp) -> Result<Vec<(WorkspaceId, Timestamp)>, BusError> {
        let mut cmd = redis::cmd("ZRANGEBYSCORE");
        cmd.arg(codec::SPOOLS_KEY).arg(since.unix_ms()).arg("+inf").arg("WITHSCORES");
        let noted: Vec<(String, u64)> = self.ask(cmd).await?;
        let read = |(workspace, at): (String, u64)| {
            Some((WorkspaceId::parse(&workspace).ok()?, Timestamp::from_unix_ms(at)))
        };
        Ok(noted.into_iter().filter_map(read).collect())
    }

    async fn claim(
        &self,
        workspace: &WorkspaceId,
        archiver: &str,
        limit: usize,
    ) -> Result<Vec<SpoolEntry>, BusError> {
        let key = codec::spool_key(workspace);
        let mut entries = match self.take_over(&key, archiver, limit).await {
            Err(error) if error.code() == Some("NOGROUP") => {
                self.create_group(&key).await.map_err(bus_error)?;
                Vec::new()
            }
            taken_over => taken_over.map_err(bus_error)?,
        };
        if entries.len() < limit {
            let mut cmd = redis::cmd("XREADGROUP");
            cmd.arg("GROUP").arg(GROUP).arg(archiver).arg("COUNT").arg(limit - entries.len());
            cmd.arg("STREAMS").arg(&key).arg(">");
            // One stream with its elements, or nil.
            let streams = reply::array(self.ask(cmd).await?);
            let stream = streams.and_then(|mut streams| streams.pop()).and_then(reply::array);
            let elements = stream.and_then(|mut stream| stream.pop()).and_then(reply::array);
            entries.extend(elements.unwrap_or_default().iter().filter_map(entry));
        }
        Ok(entries)
    }

    async fn remove(
        &self,
        workspace: &WorkspaceId,
        entries: &[SpoolEntry],
    ) -> Result<(), BusError> {
        // Nothing else is put into a spool.
        let of_channel = |entry: &SpoolEntry| {
            let channel = &entry.publication.channel()?.channel_id;
            Some((entry.id.to_string(), codec::waiting_key(workspace, channel)))
        };
        let (ids, indices): (Vec<String>, Vec<String>) =
            entries.iter().filter_map(of_channel).unzip();
        let keys: Vec<String> =
            std::iter::once(codec::spool_key(workspace)).chain(indices).collect();
        let args: Vec<&[u8]> = std::iter::once(GROUP)
            .chain(ids.iter().map(String::as_str))
            .map(str::as_bytes)
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let request = Request::of_script(&STORED, STORED_TEXT, &keys, &args);
        self.commands().query::<Value>(&request).await.map(drop).map_err(bus_error)
    }

    async fn held(&self, workspace: &WorkspaceId) -> Result<Option<Held>, BusError> {
        let key = codec::spool_key(workspace);
        let (mut oldest, mut newest) = (redis::cmd("XRANGE"), redis::cmd("XREVRANGE"));
        oldest.arg(&key).arg("-").arg("+").arg("COUNT").arg(1);
        newest.arg(&key).arg("+").arg("-").arg("COUNT").arg(1);
        let Some((since, upto, payload)) = self.end_of(oldest).await? else { return Ok(None) };
        // It may be emptied in between.
        let Some((_, total, _)) = self.end_of(newest).await? else { return Ok(None) };
        Ok(Some(Held { since, bytes: total.saturating_sub(upto) + payload }))
    }

    async fn forget(&self, workspace: &WorkspaceId, noted_at: Timestamp) -> Result<(), BusError> {
        let mut cmd = redis::cmd("XLEN");
        cmd.arg(codec::spool_key(workspace));
        if self.ask::<u64>(cmd).await? > 0 {
            return Ok(());
        }
        let noted_at = noted_at.unix_ms().to_string();
        let args = ["", workspace.as_str(), &noted_at].map(str::as_bytes);
        let request = Request::of_script(&SPOOLS, SPOOLS_TEXT, &[codec::SPOOLS_KEY], &args);
        self.commands().query::<Value>(&request).await.map(drop).map_err(bus_error)
    }
}

impl RedisBus {
    async fn ask<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T, BusError> {
        self.commands().query(&Request::of(cmd)).await.map_err(bus_error)
    }

    /// The first entry that a range of a spool has: when it was accepted, the bytes of all payloads up to
    /// and including it, and those of its own.
    async fn end_of(&self, range: Cmd) -> Result<Option<(Timestamp, u64, u64)>, BusError> {
        let elements: Vec<Value> = self.ask(range).await?;
        Ok(elements.first().and_then(|element| {
            let id = EntryId::parse(&codec::id_of_stream(element)?)?;
            let (upto, payload) = codec::bytes_of_stream(element);
            Some((Timestamp::from_unix_ms(id.ms), upto, payload))
        }))
    }

    /// Takes over what another archiver took and did not finish.
    async fn take_over(
        &self,
        key: &str,
        archiver: &str,
        limit: usize,
    ) -> RedisResult<Vec<SpoolEntry>> {
        let mut cmd = redis::cmd("XAUTOCLAIM");
        cmd.arg(key).arg(GROUP).arg(archiver).arg(limits::ARCHIVE_CLAIM.as_millis().to_string());
        cmd.arg("0-0").arg("COUNT").arg(limit);
        let answer: Value = self.commands().query(&Request::of(cmd)).await?;
        // The next position, the elements, and what was deleted meanwhile.
        let elements = reply::array(answer).and_then(|answer| answer.into_iter().nth(1));
        let elements = elements.and_then(reply::array).unwrap_or_default();
        Ok(elements.iter().filter_map(entry).collect())
    }

    /// Creates the group of archivers, from the first entry on.
    async fn create_group(&self, key: &str) -> RedisResult<()> {
        let mut cmd = redis::cmd("XGROUP");
        cmd.arg("CREATE").arg(key).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.commands().query::<Value>(&Request::of(cmd)).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            created => created.map(drop),
        }
    }
}

/// Reads an element of the spool. One that another version wrote in an unknown form has a publication
/// without a message.
fn entry(element: &Value) -> Option<SpoolEntry> {
    let id = EntryId::parse(&codec::id_of_stream(element)?)?;
    let (publication, payload) = codec::publication_of_stream(element)?;
    let publication = PublicationId::parse(&publication).ok()?;
    Some(SpoolEntry { id, publication: Arc::new(Publication::decode(publication, &payload)) })
}

static SPOOLS: LazyLock<Script> = LazyLock::new(|| Script::new(SPOOLS_TEXT));
const SPOOLS_TEXT: &str = include_str!("spools.lua");
static WAITING: LazyLock<Script> = LazyLock::new(|| Script::new(WAITING_TEXT));
const WAITING_TEXT: &str = include_str!("waiting.lua");
static STORED: LazyLock<Script> = LazyLock::new(|| Script::new(STORED_TEXT));
const STORED_TEXT: &str = include_str!("stored.lua");
/// The group of archivers.
const GROUP: &str = "archive";
const MARKER_KEY: &str = "{ink:spools}:marker";
