//! The system's clock and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use messaging::ports::{Clock, Randomness};
use model::Timestamp;

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's one real implementation")]
    fn now(&self) -> Timestamp {
        // A clock set before 1970 reads as 1970: then every token is valid, and no id is in range.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        // Ids and nonces that are not random would collide, so a call without randomness must fail.
        getrandom::fill(&mut bytes).expect("the system gives random bytes once it has booted");
        u128::from_le_bytes(bytes)
    }
}
