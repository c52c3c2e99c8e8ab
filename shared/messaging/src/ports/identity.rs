//! Who the caller is, and until when: bearer tokens and tickets.

use std::fmt::Debug;
use std::time::Duration;

use model::{DeviceId, NodeId, Timestamp, UserId, WorkspaceId};
pub use protocol::token::TokenError;

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's tenant.
    pub workspace_id: WorkspaceId,
    /// The user.
    pub user_id: UserId,
    /// Whether the token says `role: admin`.
    pub is_admin: bool,
    /// When the token expires; the user's sockets close then.
    pub expires_at: Timestamp,
}

/// Verifies bearer tokens (JWT, RFC 7519).
pub trait TokenVerifier: Send + Sync + Debug {
    /// Verifies signature, algorithm and claims at `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError>;
}

/// A ticket's contents: who may open one socket, on which node, until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The user, and when their token expires.
    pub principal: Principal,
    /// The only node that accepts it.
    pub node_id: NodeId,
    /// Whether the user is invisible on this socket (G16).
    pub is_invisible: bool,
    /// The client's device, if it has registered one.
    pub device: Option<DeviceId>,
    /// When it was signed, by the signer's clock.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Makes it single use: the node remembers it until the ticket expires.
    pub nonce: u128,
}

/// Why a ticket is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Its form or its signature is wrong, or it has expired.
    #[error("the ticket is not valid")]
    Invalid,
    /// It cannot be judged here: the secret that signed it is not known here, or its times are
    /// impossible by the local clock.
    #[error("the ticket cannot be judged here")]
    Foreign,
}

impl Ticket {
    /// Its lifetime, from signing to expiry.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.expires_at.since(self.issued_at)
    }

    /// Checks its times at `now`. If `is_clock_doubted`, the local clock is known to be wrong, so
    /// it cannot prove that a ticket has expired.
    ///
    /// # Errors
    /// [`TicketError::Invalid`] if it or its token has expired, or [`TicketError::Foreign`] if the
    /// clock is doubted. Also `Foreign` if it was signed in the future, or expired in the past, by
    /// more than its lifetime: then one of the two clocks is wrong.
    pub fn check_times(&self, now: Timestamp, is_clock_doubted: bool) -> Result<(), TicketError> {
        let life = self.life();
        let is_over = now >= self.expires_at || now >= self.principal.expires_at;
        if now.plus(life) < self.issued_at || now >= self.expires_at.plus(life) {
            return Err(TicketError::Foreign);
        }
        match (is_over, is_clock_doubted) {
            (false, _) => Ok(()),
            (true, false) => Err(TicketError::Invalid),
            (true, true) => Err(TicketError::Foreign),
        }
    }
}

/// Signs and reads tickets.
pub trait Tickets: Send + Sync + Debug {
    /// Signs a ticket into an opaque string of URL-safe characters.
    fn issue(&self, ticket: &Ticket) -> String;

    /// Reads a ticket and checks only its signature. The node checks that the ticket is for it, has
    /// not expired and was not used before.
    ///
    /// # Errors
    /// [`TicketError`].
    fn read(&self, text: &str) -> Result<Ticket, TicketError>;

    /// Ids of the secrets whose tickets are accepted here, which do not reveal them. The signing
    /// secret's id comes first. Empty if there are none.
    fn key_ids(&self) -> &[String];
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;
    const ISSUED: u64 = 1_000_000 * SECOND;

    fn ticket() -> Ticket {
        Ticket {
            principal: Principal {
                workspace_id: WorkspaceId::parse("w").unwrap(),
                user_id: UserId::parse("alice").unwrap(),
                is_admin: false,
                expires_at: Timestamp::from_unix_ms(ISSUED + 3_600 * SECOND),
            },
            node_id: NodeId::parse("N1").unwrap(),
            is_invisible: false,
            device: None,
            issued_at: Timestamp::from_unix_ms(ISSUED),
            expires_at: Timestamp::from_unix_ms(ISSUED + 30 * SECOND),
            nonce: 1,
        }
    }

    #[test]
    fn a_ticket_is_judged_within_its_own_life_around_its_times() {
        use TicketError::{Foreign, Invalid};
        for (offset_s, sound, doubted) in [
            (-3_600, Err(Foreign), Err(Foreign)),
            (-31, Err(Foreign), Err(Foreign)),
            (-30, Ok(()), Ok(())),
            (0, Ok(()), Ok(())),
            (29, Ok(()), Ok(())),
            (30, Err(Invalid), Err(Foreign)),
            (59, Err(Invalid), Err(Foreign)),
            (60, Err(Foreign), Err(Foreign)),
            (3_700, Err(Foreign), Err(Foreign)),
        ] {
            let now = Timestamp::from_unix_ms(ISSUED.saturating_add_signed(offset_s * 1_000));
            assert_eq!(ticket().check_times(now, false), sound, "{offset_s}");
            assert_eq!(ticket().check_times(now, true), doubted, "{offset_s}, doubted");
        }
    }

    #[test]
    fn a_ticket_ends_with_its_token() {
        let mut ticket = ticket();
        ticket.principal.expires_at = Timestamp::from_unix_ms(ISSUED + 10 * SECOND);
        let now = Timestamp::from_unix_ms(ISSUED + 10 * SECOND);
        assert_eq!(ticket.check_times(now, false), Err(TicketError::Invalid));
    }
}
