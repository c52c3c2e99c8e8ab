//! Mints revisions.

use std::time::Duration;

use model::{MessageId, Rev, Timestamp};

use crate::ports::Randomness;

/// A new revision for now, or for just after `present` if that is later.
pub(crate) fn rev_above(
    randomness: &dyn Randomness,
    present: Option<MessageId>,
    now: Timestamp,
) -> Rev {
    let minted = MessageId::mint(now, randomness.bits());
    Rev::of(match present.filter(|present| *present >= minted) {
        Some(present) => MessageId::mint(present.time().plus(ONE_MS), randomness.bits()),
        None => minted,
    })
}

const ONE_MS: Duration = Duration::from_millis(1);
