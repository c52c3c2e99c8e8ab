//! Bugs 12, 14 and 15: a change of a message that the store takes although it should refuse it, or
//! that says something else than it should.

use std::time::Duration;

use messaging::ports::{Change, Revision, StoredMessage};
use model::{ChangeId, MessageId, Reaction, Rev, Timestamp};

use super::Planted;

/// The revision that a function with the bug would make, given the message as it is.
#[must_use]
pub(crate) fn spoil_revision(
    bug: Option<Planted>,
    revision: &Revision,
    present: &StoredMessage,
) -> Revision {
    let mut spoiled = revision.clone();
    match (bug, &mut spoiled.change) {
        (Some(Planted::LastEditWins), Change::Edit { change_id, .. }) => {
            if let Some(last) = &present.message.edit {
                *change_id = (*change_id).max(above(last.change_id));
            }
        }
        (Some(Planted::FoldWithoutCompare), Change::Fold { if_rev, .. }) => {
            if_rev.clone_from(&present.message.rev);
            let newest = present.message.rev.id().map_or(Timestamp::MAX, MessageId::time);
            spoiled.rev = Rev::of(MessageId::mint(newest.plus(ONE_MS), 0));
        }
        (Some(Planted::Increments), Change::Fold { reactions, .. }) => {
            for reaction in reactions {
                increment(reaction, &present.message.reactions);
            }
        }
        _ => {}
    }
    spoiled
}

fn increment(reaction: &mut Reaction, known: &[Reaction]) {
    let before = known.iter().find(|one| one.emoji == reaction.emoji).map_or(0, |one| one.count);
    if reaction.count > before {
        reaction.count = before + 1;
    }
}

fn above(id: ChangeId) -> ChangeId {
    ChangeId::mint(id.time().plus(ONE_MS), 0)
}

const ONE_MS: Duration = Duration::from_millis(1);
