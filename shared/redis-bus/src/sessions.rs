//! Sessions of channels that keep nothing.

use std::sync::LazyLock;

use async_trait::async_trait;
use messaging::ports::{BusError, Sealed, Sessions};
use model::{ChannelId, SessionId, SessionPosition, WorkspaceId, limits};
use protocol::signal::SaidSignal;
use redis::Script;

use crate::bus::{RedisBus, bus_error};
use crate::codec;
use crate::command::Request;

#[async_trait]
impl Sessions for RedisBus {
    async fn session(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        new: SessionId,
    ) -> Result<SessionPosition, BusError> {
        self.run(workspace, channel, new, None).await
    }

    async fn say(
        &self,
        workspace: &WorkspaceId,
        said: &Sealed,
        new: SessionId,
    ) -> Result<SessionPosition, BusError> {
        let Sealed { channel_id, members_version, text } = said;
        let around = SaidSignal::wire_around(channel_id, *members_version, text);
        self.run(workspace, channel_id, new, Some(around)).await
    }
}

impl RedisBus {
    async fn run(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        new: SessionId,
        signal: Option<[String; 2]>,
    ) -> Result<SessionPosition, BusError> {
        let mut keys = vec![codec::session_key(workspace, channel)];
        let mut args = vec![
            new.to_string(),
            limits::SESSION_IDLE.as_millis().to_string(),
            limits::MEETING_LIFE.as_millis().to_string(),
        ];
        if let Some(around) = signal {
            keys.push(codec::signal_topic(workspace));
            args.extend(around);
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        let request = Request::of_script(&SESSION, SESSION_TEXT, &keys, &args);
        let answer: String = self.commands().query(&request).await.map_err(bus_error)?;
        let position = SessionPosition::parse(&answer);
        position.ok_or_else(|| BusError::Refused("not a session".into()))
    }
}

static SESSION: LazyLock<Script> = LazyLock::new(|| Script::new(SESSION_TEXT));
const SESSION_TEXT: &str = include_str!("session.lua");
