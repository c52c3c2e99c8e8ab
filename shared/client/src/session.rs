//! What to do next: the tables of PROTOCOL section 3 as a function. No socket, no clock.

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
pub enum Lost {
    /// With a close frame.
    Closed {
        /// Its code; 1005 if it held none.
        code: u16,
        /// Its reason: code 1013 says there how long to wait.
        reason: String,
    },
    /// TCP broke.
    Broken,
    /// No frame for [`limits::SILENCE_MAX`], or one and a half ticks where that is longer.
    Silent,
}

impl Lost {
    /// The close code, or 1006 where there was none (RFC 6455 7.1.5).
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
        /// The node to report.
        failed: Option<NodeId>,
        /// Whether to fetch another token before.
        fresh_token: bool,
    },
    /// Wait, then open a socket and say `hello` with the target's ticket and the cursor.
    Dial {
        /// How long to wait first.
        wait: Duration,
        /// Where.
        target: Target,
    },
    /// Nothing more: trying again would end the same way.
    Stop(StopReason),
}

/// Why a client does not reconnect.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    /// The node closed the socket with a final code.
    #[error("the node closed the socket: {} ({})", .0.number(), .0.as_str())]
    Closed(CloseCode),
    /// A call was refused for good.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The node's address is none that this client can open: it speaks plain `ws://`.
    #[error("the node's URL is not a ws:// or wss:// URL")]
    BadUrl,
    /// The program asked for it.
    #[error("stopped by this program")]
    Requested,
}

/// The state of one client between its sockets: cursor, node, failures in a row.
#[derive(Debug)]
pub struct Session {
    cursor: Option<String>,
    node_id: Option<NodeId>,
    alternates: VecDeque<Target>,
    backoff: Backoff,
    failures: u32,
    /// What the next `/connect` has to tell and to bring, until one has answered.
    failed: Option<NodeId>,
    fresh_token: bool,
}

impl Session {
    /// A client that resumes at `cursor`, or visits for the first time.
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

    /// Where the stream is safe to resume.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The node of the socket, or of the last one.
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

    /// `/connect` failed. Its last answer may have named a second node; else full jitter.
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

    /// The node took no socket: report it, at once the first time. Its answer's `Retry-After`, if
    /// it gave one, is about that node, and another one is asked for.
    pub fn on_unreachable(&mut self) -> Step {
        self.failed = self.node_id.clone();
        self.reconnect()
    }

    /// Takes a frame's cursor. Call it once the frame is safe in the program's hands: a cursor
    /// that is ahead of what was handled loses messages.
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

    /// The socket ended, `lived` after its `ready` (`None`: before it).
    pub fn on_lost(&mut self, lost: &Lost, lived: Option<Duration>) -> Step {
        let (code, asked) = match lost {
            Lost::Closed { code, reason } => {
                (CloseCode::of_number(*code), CloseCode::delay_of_reason(reason))
            }
            Lost::Broken | Lost::Silent => (Some(CloseCode::GoingAway), None),
        };
        // A node whose sockets end as soon as they are ready is a failure too, or this would be a
        // loop without a wait.
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
                // The node is well: it is busy, or this client was too fast. No report.
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

    /// At once after the first failure in a row, with full jitter from then on.
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
/// Expired tokens in a row after which the token source is broken, not the token.
const FRESH_TOKENS_MAX: u32 = 3;

#[cfg(test)]
mod tests;
