//! Decides what a client does next: PROTOCOL section 3 as functions, without socket or clock.

use std::collections::VecDeque;
use std::time::Duration;

use model::{ErrorCode, NodeId, Retry, limits};
use protocol::close::{AfterClose, CloseCode};
use protocol::frame::ServerFrame;

use crate::backoff::Backoff;
use crate::error::ApiError;
use crate::rest::{Assignment, Target};
use crate::store::StoreError;

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disconnect {
    /// The close code: 1005 if the close frame held none, 1006 if there was no close frame
    /// (RFC 6455 7.1.5).
    pub code: u16,
    /// The close frame's reason. For code 1013 it says how long to wait.
    pub reason: String,
}

impl Disconnect {
    /// Without a close frame: the TCP connection broke, or there was no frame for
    /// [`limits::SILENCE_MAX`], or for 1.5 ticks if that is longer.
    #[must_use]
    pub const fn abnormal() -> Self {
        Self { code: ABNORMAL, reason: String::new() }
    }
}

/// What to do next, unless the client stops.
#[derive(Debug)]
pub enum Step {
    /// Wait, then call `/connect`.
    Connect {
        /// How long to wait first.
        wait: Duration,
        /// The node to report as failed.
        failed: Option<NodeId>,
        /// Whether to fetch a new token first.
        fresh_token: bool,
    },
    /// Wait, then open a socket and send `hello` with the target's ticket and the cursor.
    Dial {
        /// How long to wait first.
        wait: Duration,
        /// The node to dial.
        target: Target,
    },
}

/// Why a client does not reconnect.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    /// The node closed the socket with a final code.
    #[error("the node closed the socket: {} ({})", .0.number(), .0.as_str())]
    Closed(CloseCode),
    /// A call was refused, and a retry cannot help.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The node's address is not a `ws://` or `wss://` URL.
    #[error("the node's URL is not a ws:// or wss:// URL")]
    BadUrl,
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The program stopped the client.
    #[error("stopped by this program")]
    Requested,
}

/// The state that a client keeps between sockets: cursor, node, consecutive failures.
#[derive(Debug)]
pub struct Session {
    cursor: Option<String>,
    node_id: Option<NodeId>,
    alternates: VecDeque<Target>,
    backoff: Backoff,
    failures: u32,
    /// The node that `/connect` reports. Kept, as `fresh_token` is, until a `/connect` succeeds.
    failed: Option<NodeId>,
    fresh_token: bool,
}

impl Session {
    /// A client that resumes at `cursor`, or starts without one.
    #[must_use]
    pub const fn new(cursor: Option<String>, backoff: Backoff) -> Self {
        Self {
            cursor,
            node_id: None,
            alternates: VecDeque::new(),
            backoff,
            failures: 0,
            failed: None,
            fresh_token: false,
        }
    }

    /// The cursor to resume from.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The first step.
    #[must_use]
    pub const fn start(&self) -> Step {
        Step::Connect { wait: Duration::ZERO, failed: None, fresh_token: false }
    }

    /// `/connect` answered: wait `delay_ms`, then open the socket.
    pub fn on_assigned(&mut self, assignment: Assignment) -> Step {
        let Assignment { target, alternates, delay, .. } = assignment;
        self.alternates = alternates.into();
        self.failed = None;
        self.fresh_token = false;
        self.dial(delay, target)
    }

    /// `/connect` failed: dials the last answer's second node, or retries with full jitter.
    ///
    /// # Errors
    /// Stop, if another attempt would be refused too.
    pub fn on_connect_failed(&mut self, error: ApiError) -> Result<Step, StopReason> {
        let retryable = error.is_retryable();
        let expired = error.code().map(ErrorCode::retry) == Some(Retry::WithFreshToken);
        if let (true, Some(target)) = (retryable, self.alternates.pop_front()) {
            return Ok(self.dial(Duration::ZERO, target));
        }
        if !retryable && (!expired || self.failures >= FRESH_TOKENS_MAX) {
            return Err(error.into());
        }
        self.failures += 1;
        self.fresh_token |= expired;
        let wait = self.backoff.next_wait(error.retry_after());
        Ok(self.connect(wait))
    }

    /// The socket could not be opened: reports the node and asks for another one, at once after
    /// the first failure. A `Retry-After` from the node is ignored, since it is about that node.
    pub fn on_unreachable(&mut self) -> Step {
        self.failed = self.node_id.clone();
        self.reconnect()
    }

    /// Moves to a frame's cursor. Call it only after the program has the frame's event: a cursor
    /// that is ahead of the program loses messages.
    pub fn on_frame(&mut self, frame: &ServerFrame) {
        match frame {
            ServerFrame::Ready(ready) => {
                self.node_id = Some(ready.node_id.clone());
                self.alternates.clear();
                self.cursor = Some(ready.cursor.clone());
            }
            ServerFrame::Message { cursor, .. }
            | ServerFrame::Channel { cursor, .. }
            | ServerFrame::Tick { cursor, .. }
            | ServerFrame::Pong { cursor, .. } => self.cursor = Some(cursor.clone()),
            ServerFrame::Unknown { cursor } | ServerFrame::Ended { cursor, .. } => {
                self.cursor = cursor.clone().or(self.cursor.take());
            }
            ServerFrame::Resync { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Receipts { .. }
            | ServerFrame::Accepted { .. }
            | ServerFrame::Refused(_)
            | ServerFrame::Joined { .. }
            | ServerFrame::Said { .. }
            | ServerFrame::Going(_)
            | ServerFrame::Renewed { .. } => {}
        }
    }

    /// The socket ended `lived` after its `ready`, or before it (`None`).
    ///
    /// # Errors
    /// Stop, if another socket would end the same way.
    pub fn on_disconnect(
        &mut self,
        disconnect: &Disconnect,
        lived: Option<Duration>,
    ) -> Result<Step, StopReason> {
        // A socket that ends right after its `ready` counts as a failure. Otherwise the client
        // would reconnect in a loop without waiting.
        if lived.is_some_and(|lived| lived >= limits::CLIENT_BACKOFF.0) {
            self.failures = 0;
            self.backoff.reset();
        }
        // Without a known close code, the node counts as lost.
        let code = CloseCode::of_number(disconnect.code).unwrap_or(CloseCode::GoingAway);
        match code.after() {
            AfterClose::Stop => return Err(StopReason::Closed(code)),
            AfterClose::ResumeElsewhere => self.failed = self.node_id.clone(),
            AfterClose::WithFreshToken => self.fresh_token = true,
            AfterClose::ResumeAfterWait => {
                // The node is healthy: it is busy, or this client was too fast. Do not report it.
                self.failures += 1;
                let requested = CloseCode::delay_of_reason(&disconnect.reason)
                    .filter(|_| code == CloseCode::Busy);
                let wait = requested.unwrap_or(limits::CLIENT_BACKOFF.0);
                let wait = self.backoff.next_wait(Some(wait));
                return Ok(self.connect(wait));
            }
            AfterClose::Resume => {}
        }
        Ok(self.reconnect())
    }

    /// Reconnects at once after the first consecutive failure, with full jitter after later ones.
    fn reconnect(&mut self) -> Step {
        self.failures += 1;
        let wait = if self.failures == 1 { Duration::ZERO } else { self.backoff.next_wait(None) };
        self.connect(wait)
    }

    fn connect(&self, wait: Duration) -> Step {
        Step::Connect { wait, failed: self.failed.clone(), fresh_token: self.fresh_token }
    }

    fn dial(&mut self, wait: Duration, target: Target) -> Step {
        self.node_id = Some(target.node_id.clone());
        Step::Dial { wait, target }
    }
}

/// The close code of a socket without a close frame.
pub(crate) const ABNORMAL: u16 = 1006;
/// After this many consecutive expired tokens the token source itself is broken.
const FRESH_TOKENS_MAX: u32 = 3;

#[cfg(test)]
mod tests;
