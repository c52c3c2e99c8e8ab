//! Sockets that outlive their first token (G8).

use model::{ErrorCode, Timestamp};
use protocol::close::CloseCode;
use protocol::frame::{Refused, ServerFrame};

use super::{Effect, Renewal, Turn, Workspace};
use crate::audience::{Audience, SocketId};

impl Workspace {
    /// When a socket's token expires; `None` if it is not attached.
    #[must_use]
    pub fn ends_at(&self, socket: SocketId) -> Option<Timestamp> {
        self.sockets.get(&socket).map(|attached| attached.ends_at)
    }

    pub(super) fn on_renew(
        &mut self,
        socket: SocketId,
        reference: Option<u64>,
        ticket: Option<Renewal>,
        turn: &mut Turn<'_>,
    ) {
        let key = self.sockets.get(&socket).map(|attached| attached.key);
        let Some(user) = key.and_then(|key| self.roster.user(key)) else {
            // It waits for its `ready`, or closed meanwhile.
            return turn.effects.push(Effect::Close { socket, code: CloseCode::BadFrame });
        };
        let renewed = match ticket {
            None => Err(ErrorCode::InvalidToken),
            Some(ticket) if ticket.workspace != self.id || ticket.user != user.id => {
                Err(ErrorCode::Forbidden)
            }
            Some(ticket) => Ok(ticket),
        };
        let answer = match renewed {
            Ok(Renewal { ends_at, is_invisible, .. }) => {
                if let Some(attached) = self.sockets.get_mut(&socket) {
                    (attached.ends_at, attached.is_invisible) = (ends_at, is_invisible);
                    let key = attached.key;
                    self.note_presence(key, turn.now);
                }
                let (expires_at, invisible) = (ends_at, is_invisible);
                ServerFrame::Renewed { reference, expires_at, invisible }
            }
            Err(code) => ServerFrame::Refused(Refused { reference, ..Refused::of(code) }),
        };
        self.send(&answer, Audience::of([socket]), turn);
    }
}
