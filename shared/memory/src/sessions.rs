//! Sessions of channels that keep nothing, in process.

use async_trait::async_trait;
use messaging::ports::{BusError, Seal, Sealed, Sessions};
use model::{ChannelId, SessionId, SessionPosition, Timestamp, WorkspaceId, limits};
use protocol::signal::{SaidSignal, Signal};

use crate::bus::MemoryBus;

/// A session, and when somebody last took part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    at: SessionPosition,
    seen_at: Timestamp,
}

#[async_trait]
impl Sessions for MemoryBus {
    async fn session(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        new: SessionId,
    ) -> Result<SessionPosition, BusError> {
        Ok(self.take_part(workspace, channel, new, 0))
    }

    async fn say(
        &self,
        workspace: &WorkspaceId,
        said: &Sealed,
        new: SessionId,
    ) -> Result<SessionPosition, BusError> {
        let Sealed { channel_id, members_version, text } = said.clone();
        let at = self.take_part(workspace, &channel_id, new, 1);
        let said = SaidSignal { channel_id, members_version, at, sealed: text };
        self.state.lock().signal(workspace, &Signal::Said(said));
        Ok(at)
    }
}

impl MemoryBus {
    fn take_part(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        new: SessionId,
        said: u64,
    ) -> SessionPosition {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let fresh = Session { at: SessionPosition { session: new, n: 0 }, seen_at: now };
        let key = (workspace.clone(), channel.clone());
        let session = state.sessions.entry(key).or_insert(fresh);
        if now.since(session.seen_at) > limits::SESSION_IDLE {
            *session = fresh;
        }
        session.seen_at = now;
        session.at.n += said;
        session.at
    }
}

/// Leaves texts as they are: in process nobody else can read them.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainSeal;

impl Seal for PlainSeal {
    fn seal(&self, _: &WorkspaceId, _: &ChannelId, text: &str, _: [u8; 24]) -> String {
        text.to_owned()
    }

    fn open(&self, _: &WorkspaceId, _: &ChannelId, sealed: &str) -> Option<String> {
        Some(sealed.to_owned())
    }
}
