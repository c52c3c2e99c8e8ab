//! The system's time and chance.

use std::time::{SystemTime, UNIX_EPOCH};

use messaging::ports::{Clock, Randomness};
use model::Timestamp;

/// The wall clock of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's one real implementation")]
    fn now(&self) -> Timestamp {
        // A clock set before 1970 shows 1970: every token is then valid, no id is in range.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The randomness of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        // Ids and nonces that are not random would collide: a call that cannot have them ends here.
        getrandom::fill(&mut bytes).expect("the system gives random bytes once it has booted");
        u128::from_le_bytes(bytes)
    }
}
