//! The book of receipts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use messaging::ports::{BusError, ReceiptBook, ReceiptMarks};
use model::{ChannelId, MessageId, UserId, WorkspaceId, limits};
use protocol::receipts::ReceiptsSignal;
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

static RAISE: LazyLock<Script> = LazyLock::new(|| Script::new(RAISE_TEXT));
const RAISE_TEXT: &str = include_str!("receipts.lua");
/// Prefixes of fields. No user's id has a colon.
const DELIVERED: &str = "d:";
const READ: &str = "r:";
