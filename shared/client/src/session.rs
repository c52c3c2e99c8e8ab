//! Decides what a client does next: PROTOCOL section 3 as functions, without socket or clock.

use std::collections::VecDeque;
use std::time::Duration;

use model::{ErrorCode, NodeId, Retry, limits};
use protocol::close::{AfterClose, CloseCode};
use protocol::frame::ServerFrame;

use crate::backoff::Backoff;
use crate::error::ApiError;
use crate::rest::{Assignment, Target};

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Disconnect {
    /// With a close frame.
    Closed {
        /// Its code; 1005 if it held none.
        code: u16,
        /// Its reason. For code 1013 it says how long to wait.
        reason: String,
    },
    /// The TCP connection broke.
    Broken,
    /// No frame for [`limits::SILENCE_MAX`], or for 1.5 ticks if that is longer.
    Silent,
}

impl Disconnect {
    /// The close code, or 1006 if there was no close frame (RFC 6455 7.1.5).
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Closed { code, .. } => *code,
            Self::Broken | Self::Silent => ABNORMAL,
        }
    }
}

/// What to do next.
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
    /// Stop: another attempt would end the same way.
    Stop(StopReason),
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

    /// The node of the current socket, or of the last one.
    #[must_use]
    pub const fn node_id(&self) -> Option<&NodeId> {
        self.node_id.as_ref()
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
    pub fn on_connect_failed(&mut self, error: ApiError) -> Step {
        let retryable = error.is_retryable();
        let expired = error.code().map(ErrorCode::retry) == Some(Retry::WithFreshToken);
        if let (true, Some(target)) = (retryable, self.alternates.pop_front()) {
            return self.dial(Duration::ZERO, target);
        }
        if retryable || (expired && self.failures < FRESH_TOKENS_MAX) {
            self.failures += 1;
            self.fresh_token |= expired;
            let wait = self.backoff.next_wait(error.retry_after());
            return self.connect(wait);
        }
        Step::Stop(error.into())
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
            | ServerFrame::Tick { cursor, .. } => self.cursor = Some(cursor.clone()),
            ServerFrame::Unknown { cursor } => self.cursor = cursor.clone().or(self.cursor.take()),
            ServerFrame::Resync { .. } => {}
        }
    }

    /// The socket ended `lived` after its `ready`, or before it (`None`).
    pub fn on_disconnect(&mut self, disconnect: &Disconnect, lived: Option<Duration>) -> Step {
        let (code, asked) = match disconnect {
            Disconnect::Closed { code, reason } => {
                (CloseCode::of_number(*code), CloseCode::delay_of_reason(reason))
            }
            Disconnect::Broken | Disconnect::Silent => (Some(CloseCode::GoingAway), None),
        };
        // A socket that ends right after its `ready` counts as a failure. Otherwise the client
        // would reconnect in a loop without waiting.
        if lived.is_some_and(|lived| lived >= limits::CLIENT_BACKOFF.0) {
            self.failures = 0;
            self.backoff.reset();
        }
        let after = code.map_or(AfterClose::ResumeElsewhere, CloseCode::after);
        match (after, code) {
            (AfterClose::Stop, Some(code)) => return Step::Stop(StopReason::Closed(code)),
            (AfterClose::ResumeElsewhere, _) => self.failed = self.node_id.clone(),
            (AfterClose::WithFreshToken, _) => self.fresh_token = true,
            (AfterClose::ResumeAfterWait, code) => {
                // The node is healthy: it is busy, or this client was too fast. Do not report it.
                self.failures += 1;
                let asked = asked.filter(|_| code == Some(CloseCode::Busy));
                let wait = asked.unwrap_or(limits::CLIENT_BACKOFF.0);
                let wait = self.backoff.next_wait(Some(wait));
                return self.connect(wait);
            }
            (AfterClose::Resume | AfterClose::Stop, _) => {}
        }
        self.reconnect()
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

const ABNORMAL: u16 = 1006;
/// After this many consecutive expired tokens the token source itself is broken.
const FRESH_TOKENS_MAX: u32 = 3;

#[cfg(test)]
mod tests;
