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
use crate::rest::{Api, Assignment, SocketKind};

/// When the socket's token ends, and what is done about it.
#[derive(Debug, Default)]
pub(super) struct Renewing {
    /// When the token of the socket ends; `None` if nobody knows, or there is no other.
    ends_at: Option<Timestamp>,
    /// When a newer token is to be fetched.
    token_due_at: Option<Instant>,
    /// When a ticket is to be fetched that makes the user invisible, or visible.
    wish_due_at: Option<Instant>,
    /// When the last attempt began.
    begun_at: Option<Instant>,
    /// Attempts since the node last said whether the user is invisible.
    attempts: u32,
    /// What it said.
    is_invisible: bool,
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
    pub(super) const fn ticket(&mut self, ends_at: Option<Timestamp>) {
        self.ends_at = ends_at;
    }

    /// The node took a newer token, which ends then.
    pub(super) fn renewed(&mut self, ends_at: Timestamp) {
        self.ends_at = self.ends_at.and(Some(ends_at));
    }

    /// The node said whether the user is invisible on the socket. Returns whether they have become visible.
    pub(super) const fn is_seen(&mut self, is_invisible: bool) -> bool {
        let was_invisible = self.is_invisible;
        (self.is_invisible, self.attempts) = (is_invisible, 0);
        was_invisible && !is_invisible
    }

    /// Makes an attempt due if the node said otherwise. Each attempt waits twice as long as the last one for
    /// its answer.
    pub(super) fn want(&mut self, is_invisible: bool) {
        self.wish_due_at = (is_invisible != self.is_invisible).then(|| {
            let apart = ATTEMPTS_APART * 2_u32.pow(self.attempts.min(DOUBLINGS_MAX));
            self.begun_at.map_or_else(Instant::now, |at| at + apart)
        });
    }

    /// Plans the next attempt, of a socket whose node takes `renew`: after half to three quarters of
    /// what is left, so that some attempts may fail, and clients that came together do not renew
    /// together.
    pub(super) fn plan(&mut self, api: &Api, backoff: &mut Backoff) {
        self.token_due_at = self.ends_at.map(|ends_at| {
            let half = ends_at.since(api.server_now()) / 2;
            Instant::now() + half.max(ATTEMPTS_APART) + backoff.jitter(half).min(half / 2)
        });
    }

    /// The socket has ended.
    pub(super) fn stop(&mut self) {
        (self.token_due_at, self.wish_due_at) = (None, None);
        self.attempt = JoinSet::new();
    }

    /// Waits until something is to be done.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn due(&mut self) -> Due {
        let due_at = self.token_due_at.into_iter().chain(self.wish_due_at).min();
        let due_at = due_at.filter(|_| self.attempt.is_empty());
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
    pub(super) fn begin(&mut self, api: Api, node: NodeId, kind: SocketKind) {
        let now = Instant::now();
        let needs_token = self.token_due_at.is_some_and(|at| at <= now);
        (self.token_due_at, self.wish_due_at) = (None, None);
        (self.begun_at, self.attempts) = (Some(now), self.attempts.saturating_add(1));
        self.attempt.spawn(async move {
            if needs_token {
                api.newer_token().await?;
            }
            Ok((api.renewal(&node, &kind).await?, api.token_ends_at().await))
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
                self.ticket(ends_at);
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
/// The most time between two attempts is a minute.
const DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until an attempt is due; `None` if none is.
    fn due_in(renewing: &Renewing) -> Option<u64> {
        renewing.wish_due_at.map(|at| at.saturating_duration_since(Instant::now()).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_made_known_until_the_node_says_so_and_ever_more_seldom() {
        let mut renewing = Renewing::default();
        renewing.want(false);
        assert_eq!(due_in(&renewing), None, "every socket is visible at first");
        renewing.want(true);
        assert_eq!(due_in(&renewing), Some(0));
        for wait in [2, 4, 8, 16, 32, 64, 64] {
            (renewing.begun_at, renewing.attempts) = (Some(Instant::now()), renewing.attempts + 1);
            renewing.want(true);
            assert_eq!(due_in(&renewing), Some(wait));
        }
        // Somebody changes their mind meanwhile: what the node says counts, not what was asked.
        renewing.want(false);
        assert_eq!(due_in(&renewing), None);
        assert!(!renewing.is_seen(true));
        renewing.want(false);
        assert_eq!(due_in(&renewing), Some(1), "a second after the last attempt");
        assert!(renewing.is_seen(false), "visible again");
        renewing.want(false);
        assert_eq!(due_in(&renewing), None);
    }
}
