//! Renews the socket's token before it ends, so that the socket outlives it; and when the user becomes
//! invisible or visible, which the ticket says.

use std::time::Duration;

use model::{NodeId, Timestamp};
use protocol::client_frame::{ClientFrame, RenewFrame};
use protocol::frame::Going;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::backoff::Backoff;
use crate::error::ApiError;
use crate::rest::{Api, Assignment};

/// When the socket's token ends, and what is done about it.
#[derive(Debug, Default)]
pub(super) struct Renewing {
    /// When the token of the socket ends; `None` if nobody knows, or there is no other.
    ends_at: Option<Timestamp>,
    /// When the next attempt begins.
    due_at: Option<Instant>,
    /// When the last one began.
    begun_at: Option<Instant>,
    /// Whether the user is invisible, by the ticket of the socket.
    is_invisible: bool,
    /// The same by the last attempt's.
    is_asked_invisible: bool,
    /// The attempt under way; at most one.
    attempt: JoinSet<Result<Renewal, ApiError>>,
}

/// A ticket that was made with a newer token, and when that one ends.
type Renewal = (Assignment, Option<Timestamp>);

/// What is to be done about the token.
pub(super) enum Due {
    /// Fetch another one.
    Attempt,
    /// It was fetched, or not.
    Attempted(Result<Renewal, ApiError>),
}

/// What a newer token is good for.
pub(super) enum Renewed {
    /// A frame to say on this socket.
    Say(ClientFrame),
    /// Its node is going: another one to move to.
    Move(Going),
}

impl Renewing {
    /// A socket's ticket was made with the token that ends then.
    pub(super) const fn ticket(&mut self, ends_at: Option<Timestamp>, is_invisible: bool) {
        (self.ends_at, self.is_invisible) = (ends_at, is_invisible);
    }

    /// The node took the last attempt's ticket, whose token ends then.
    pub(super) fn renewed(&mut self, ends_at: Timestamp) {
        self.ticket(self.ends_at.and(Some(ends_at)), self.is_asked_invisible);
    }

    /// Makes an attempt due if the socket's ticket says otherwise. To be called after [`Renewing::plan`].
    pub(super) fn want(&mut self, is_invisible: bool) {
        if is_invisible != self.is_invisible && self.attempt.is_empty() {
            let at = self.begun_at.map_or_else(Instant::now, |at| at + ATTEMPTS_APART);
            self.due_at = Some(self.due_at.map_or(at, |due_at| due_at.min(at)));
        }
    }

    /// Plans the next attempt, of a socket whose node takes `renew`: after half to three quarters of
    /// what is left, so that some attempts may fail, and clients that came together do not renew
    /// together.
    pub(super) fn plan(&mut self, api: &Api, backoff: &mut Backoff) {
        self.due_at = self.ends_at.map(|ends_at| {
            let half = ends_at.since(api.server_now()) / 2;
            Instant::now() + half.max(ATTEMPTS_APART) + backoff.jitter(half).min(half / 2)
        });
    }

    /// The socket has ended.
    pub(super) fn stop(&mut self) {
        (self.due_at, self.attempt) = (None, JoinSet::new());
    }

    /// Waits until something is to be done.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn due(&mut self) -> Due {
        let due_at = self.due_at.filter(|_| self.attempt.is_empty());
        tokio::select! {
            Some(done) = self.attempt.join_next() => match done {
                Ok(renewal) => Due::Attempted(renewal),
                // A panic in a program's login: it may do better next time.
                Err(_) => Due::Attempt,
            },
            () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {
                Due::Attempt
            }
            else => std::future::pending().await,
        }
    }

    /// Begins an attempt.
    pub(super) fn begin(&mut self, api: Api, node: NodeId, is_invisible: bool) {
        (self.due_at, self.begun_at) = (None, Some(Instant::now()));
        self.is_asked_invisible = is_invisible;
        self.attempt.spawn(async move {
            api.newer_token().await?;
            Ok((api.renewal(&node, is_invisible).await?, api.token_ends_at().await))
        });
    }

    /// What the outcome of an attempt is good for; the next attempt is to be planned.
    pub(super) fn attempted(
        &mut self,
        node: &NodeId,
        outcome: Result<Renewal, ApiError>,
    ) -> Option<Renewed> {
        match outcome {
            Ok((Assignment { target, .. }, _)) if target.node_id == *node => {
                let (reference, ticket) = (Some(REFERENCE), target.ticket);
                Some(Renewed::Say(ClientFrame::Renew(RenewFrame { reference, ticket })))
            }
            Ok((Assignment { target, .. }, ends_at)) => {
                self.ticket(ends_at, self.is_asked_invisible);
                let (node_id, url, ticket) = (target.node_id, target.url, target.ticket);
                Some(Renewed::Move(Going { node_id, url, ticket, by: Duration::ZERO }))
            }
            Err(error) => {
                debug!(%error, "the token was not renewed");
                None
            }
        }
    }
}

/// The number of every `renew`. Those of sends begin at 1.
const REFERENCE: u64 = 0;
/// The least time between two attempts.
const ATTEMPTS_APART: Duration = Duration::from_secs(1);
