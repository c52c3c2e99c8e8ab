//! The book of receipts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use async_trait::async_trait;
use messaging::ports::{BusError, ReceiptBook, ReceiptMarks};
use model::{ChannelId, DeviceId, MessageId, UserId, WorkspaceId, limits};
use protocol::receipts::{ReceiptsSignal, UserDevice};
use protocol::signal::Signal;
use redis::{Script, Value};

use crate::bus::{RedisBus, bus_error};
use crate::codec;
use crate::command::Request;

#[async_trait]
impl ReceiptBook for RedisBus {
    async fn raise(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        ReceiptMarks { delivered, read }: &ReceiptMarks,
    ) -> Result<(), BusError> {
        let keys = [codec::receipts_key(workspace, channel), codec::signal_topic(workspace)];
        let signal = Signal::Receipts(ReceiptsSignal {
            channel_id: channel.clone(),
            delivered: delivered.clone(),
            read: read.clone(),
            archived: Vec::new(),
        });
        let mut args = vec![limits::RECEIPTS_TTL.as_millis().to_string(), signal.encode()];
        for (prefix, marks) in [(DELIVERED, delivered), (READ, read)] {
            for (user, id) in marks {
                args.extend([format!("{prefix}{user}"), id.to_string()]);
            }
        }
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        let keys = keys.each_ref().map(String::as_str);
        let request = Request::of_script(&RAISE, RAISE_TEXT, &keys, &args);
        self.commands().query::<Value>(&request).await.map(drop).map_err(bus_error)
    }

    async fn note_keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        keepers: &[(MessageId, UserDevice)],
    ) -> Result<(), BusError> {
        for keepers in keepers.chunks(KEEPERS_AT_ONCE) {
            let key =
                |(id, _): &(MessageId, UserDevice)| codec::keepers_key(workspace, channel, *id);
            let keys: Vec<String> = keepers.iter().map(key).collect();
            let mut args = vec![limits::KEEPERS_TTL.as_millis().to_string()];
            args.extend(keepers.iter().map(|(_, (user, device))| format!("{user}#{device}")));
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
            let request = Request::of_script(&KEEPERS, KEEPERS_TEXT, &keys, &args);
            self.commands().query::<Value>(&request).await.map_err(bus_error)?;
        }
        Ok(())
    }

    async fn keepers(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        id: MessageId,
    ) -> Result<BTreeSet<UserDevice>, BusError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(codec::keepers_key(workspace, channel, id));
        let fields: BTreeMap<String, String> =
            self.commands().query(&Request::of(cmd)).await.map_err(bus_error)?;
        Ok(fields.keys().filter_map(|field| device_of(field)).collect())
    }

    async fn receipts(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
    ) -> Result<ReceiptMarks, BusError> {
        let mut cmd = redis::cmd("HGETALL");
        cmd.arg(codec::receipts_key(workspace, channel));
        let fields: BTreeMap<String, String> =
            self.commands().query(&Request::of(cmd)).await.map_err(bus_error)?;
        let marks = |prefix: &str| {
            let mark = |(field, id): (&String, &String)| {
                let user = UserId::parse(field.strip_prefix(prefix)?).ok()?;
                Some((user, MessageId::parse(id).ok()?))
            };
            fields.iter().filter_map(mark).collect()
        };
        Ok(ReceiptMarks { delivered: marks(DELIVERED), read: marks(READ) })
    }
}

/// The device of a field `<user>#<device>`.
fn device_of(field: &str) -> Option<UserDevice> {
    let (user, device) = field.split_once('#')?;
    Some((UserId::parse(user).ok()?, DeviceId::parse(device).ok()?))
}

static RAISE: LazyLock<Script> = LazyLock::new(|| Script::new(RAISE_TEXT));
const RAISE_TEXT: &str = include_str!("receipts.lua");
static KEEPERS: LazyLock<Script> = LazyLock::new(|| Script::new(KEEPERS_TEXT));
const KEEPERS_TEXT: &str = include_str!("keepers.lua");
/// Notes of one script: Redis answers nobody else meanwhile.
const KEEPERS_AT_ONCE: usize = 500;
/// Prefixes of fields. No user's id has a colon.
const DELIVERED: &str = "d:";
const READ: &str = "r:";
