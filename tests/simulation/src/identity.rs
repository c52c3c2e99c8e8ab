//! Tokens and tickets as plain text. Other tests cover signatures.

use messaging::ports::{Principal, Ticket, TicketError, Tickets, TokenError, TokenVerifier};
use model::{DeviceId, NodeId, Timestamp, UserId, WorkspaceId};

/// Tokens and tickets without signatures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UnsignedIdentity;

/// A token's text.
#[must_use]
pub(crate) fn token(workspace: &WorkspaceId, user: &UserId, expires_at: Timestamp) -> String {
    format!("{workspace}.{user}.{}", expires_at.unix_ms())
}

fn principal(text: &str) -> Option<Principal> {
    let mut parts = text.split('.');
    Some(Principal {
        workspace_id: WorkspaceId::parse(parts.next()?).ok()?,
        user_id: UserId::parse(parts.next()?).ok()?,
        is_admin: false,
        expires_at: Timestamp::from_unix_ms(parts.next()?.parse().ok()?),
    })
}

impl TokenVerifier for UnsignedIdentity {
    fn verify(&self, text: &str, now: Timestamp) -> Result<Principal, TokenError> {
        let principal = principal(text).ok_or(TokenError::Malformed)?;
        if now >= principal.expires_at { Err(TokenError::Expired) } else { Ok(principal) }
    }
}

impl Tickets for UnsignedIdentity {
    fn issue(&self, ticket: &Ticket) -> String {
        let Principal { workspace_id, user_id, expires_at, .. } = &ticket.principal;
        let of = token(workspace_id, user_id, *expires_at);
        let (issued_at, expires_at) = (ticket.issued_at.unix_ms(), ticket.expires_at.unix_ms());
        let Ticket { node_id, is_invisible, device, nonce, .. } = ticket;
        let device = device.as_ref().map_or("", DeviceId::as_str);
        format!("{of}~{node_id}~{is_invisible}~{device}~{issued_at}~{expires_at}~{nonce}")
    }

    fn read(&self, text: &str) -> Result<Ticket, TicketError> {
        let read = || {
            let mut parts = text.split('~');
            Some(Ticket {
                principal: principal(parts.next()?)?,
                node_id: NodeId::parse(parts.next()?).ok()?,
                is_invisible: parts.next()?.parse().ok()?,
                device: match parts.next()? {
                    "" => None,
                    device => Some(device.parse().ok()?),
                },
                issued_at: Timestamp::from_unix_ms(parts.next()?.parse().ok()?),
                expires_at: Timestamp::from_unix_ms(parts.next()?.parse().ok()?),
                nonce: parts.next()?.parse().ok()?,
            })
        };
        read().ok_or(TicketError::Invalid)
    }

    fn key_ids(&self) -> &[String] {
        &[]
    }
}
