//! Close codes: why a socket closes (RFC 6455 7.4, and this protocol's own codes).

use std::time::Duration;

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AfterClose {
    /// `/connect?failed=<node>`, wait `delay_ms`, resume with the cursor.
    ResumeElsewhere,
    /// `/connect`, resume with the cursor.
    Resume,
    /// Wait, then `/connect` and resume with the cursor.
    ResumeAfterWait,
    /// Get a fresh token, then `/connect`.
    WithFreshToken,
    /// Nothing: after reconnecting, the socket would close the same way.
    Stop,
}

macro_rules! close_codes {
    ($($variant:ident = $number:literal, $name:literal, $after:ident, $doc:literal;)*) => {
        /// A close code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum CloseCode {
            $(#[doc = $doc] $variant,)*
        }

        impl CloseCode {
            /// All codes that a node sends.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The reason on the wire, and the metric label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the client does next.
            #[must_use]
            pub const fn after(self) -> AfterClose {
                match self { $(Self::$variant => AfterClose::$after,)* }
            }

            /// The code with this number on the wire.
            #[must_use]
            pub fn of_number(number: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.number() == number)
            }
        }
    };
}

close_codes! {
    Normal = 1000, "closed", Stop, "The answer to a client's own close.";
    GoingAway = 1001, "going_away", ResumeElsewhere, "The node goes away.";
    Protocol = 1002, "protocol_error", Stop, "The client broke RFC 6455.";
    Unsupported = 1003, "binary_frame", Stop, "A binary frame.";
    InvalidPayload = 1007, "bad_utf8", Stop, "Text that is not UTF-8.";
    TooBig = 1009, "frame_too_big", Stop, "A frame over 16 KiB.";
    Internal = 1011, "internal", ResumeElsewhere, "A defect of ours.";
    Restart = 1012, "restart", ResumeElsewhere, "The node drains.";
    Busy = 1013, "busy", ResumeAfterWait,
        "The node cannot attach more sockets now; the reason says `delay_ms=<n>`.";
    BadFrame = 4400, "bad_frame", Stop, "Not JSON, an unknown type, a wrong field.";
    Unauthenticated = 4401, "unauthenticated", WithFreshToken,
        "Ticket missing, expired, used or of another node; or the token's end.";
    Revoked = 4403, "revoked", Stop, "The user was revoked.";
    HelloTimeout = 4408, "hello_timeout", Resume, "No hello in time.";
    TooManySockets = 4409, "too_many_sockets", Stop, "The oldest of over 10 sockets of one user.";
    ForeignTicket = 4411, "foreign_ticket", ResumeElsewhere,
        "A ticket that this node cannot judge: unknown secret, or outside its clock.";
    RateLimited = 4429, "rate_limited", ResumeAfterWait, "Over 20 frames or 64 KiB a second.";
    SlowConsumer = 4508, "slow_consumer", Resume, "The socket's queue is full.";
}

impl CloseCode {
    /// The wait in a close frame's reason, `delay_ms=<n>`; `None` for any other reason.
    #[must_use]
    pub fn delay_of_reason(reason: &str) -> Option<Duration> {
        let digits = reason.strip_prefix(DELAY_PREFIX)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten().map(Duration::from_millis)
    }
}

const DELAY_PREFIX: &str = "delay_ms=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_asks_for_a_wait_or_it_does_not() {
        let delay = CloseCode::delay_of_reason;
        assert_eq!(delay("delay_ms=1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(delay("delay_ms=0"), Some(Duration::ZERO));
        for other in ["", "busy", "delay_ms=", "delay_ms=-1", "delay_ms=+1", "delay_ms=1 ", "1"] {
            assert_eq!(delay(other), None, "{other}");
        }
        assert_eq!(delay("delay_ms=99999999999999999999"), None);
    }

    #[test]
    fn the_resumable_codes_are_those_of_the_protocol() {
        let resumable: Vec<u16> = CloseCode::ALL
            .iter()
            .filter(|code| !matches!(code.after(), AfterClose::Stop | AfterClose::WithFreshToken))
            .map(|code| code.number())
            .collect();
        assert_eq!(resumable, [1001, 1011, 1012, 1013, 4408, 4411, 4429, 4508]);
        assert_eq!(
            CloseCode::of_number(4401).map(CloseCode::after),
            Some(AfterClose::WithFreshToken)
        );
    }
}
