//! Who is asking, and until when: bearer tokens and tickets.

use std::fmt::Debug;

use model::{NodeId, Timestamp, UserId, WorkspaceId};

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The tenant of the token.
    pub workspace_id: WorkspaceId,
    /// Who.
    pub user_id: UserId,
    /// Whether the token says `role: admin`.
    pub is_admin: bool,
    /// When the token ends; sockets end with it.
    pub expires_at: Timestamp,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its signature, form, algorithm or a claim is wrong.
    #[error("the token is not valid")]
    Invalid,
    /// It was valid once.
    #[error("the token has expired")]
    Expired,
}

/// Verifies bearer tokens (JWT, RFC 7519).
pub trait TokenVerifier: Send + Sync + Debug {
    /// Verifies signature, algorithm and claims at `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError>;
}

/// What a ticket says: who may open one socket, on which node, until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Who, and until when their token lasts.
    pub principal: Principal,
    /// The one node that takes it.
    pub node_id: NodeId,
    /// When it is void.
    pub expires_at: Timestamp,
    /// Makes it single use: the node remembers it until it is void.
    pub nonce: u128,
}

/// Why a ticket is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ticket is not valid")]
pub struct TicketError;

/// Signs and reads tickets.
pub trait Tickets: Send + Sync + Debug {
    /// Signs a ticket into an opaque string of URL-safe characters.
    fn issue(&self, ticket: &Ticket) -> String;

    /// Reads a ticket and checks its signature, and nothing else: node, time and single use are
    /// the node's to check.
    ///
    /// # Errors
    /// [`TicketError`].
    fn read(&self, text: &str) -> Result<Ticket, TicketError>;
}
