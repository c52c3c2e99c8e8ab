//! Bugs 12, 14, 15 and 17: a change of a message that the store takes although it should refuse it, or
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
            spoiled.rev = above_rev(&present.message.rev);
        }
        (Some(Planted::Increments), Change::Fold { reactions, .. }) => {
            for reaction in reactions {
                increment(reaction, &present.message.reactions);
            }
        }
        (Some(Planted::NoRevisionCompare), _) if revision.rev <= present.message.rev => {
            spoiled.rev = above_rev(&present.message.rev);
        }
        _ => {}
    }
    spoiled
}

/// What the functions with bug 17 and the stream are told: the revision that was asked for.
#[must_use]
pub(crate) fn as_asked(
    bug: Option<Planted>,
    revision: &Revision,
    mut stored: StoredMessage,
) -> StoredMessage {
    if bug == Some(Planted::NoRevisionCompare) {
        stored.message.rev.clone_from(&revision.rev);
    }
    stored
}

fn increment(reaction: &mut Reaction, known: &[Reaction]) {
    let before = known.iter().find(|one| one.emoji == reaction.emoji).map_or(0, |one| one.count);
    if reaction.count > before {
        reaction.count = before + 1;
    }
}

fn above_rev(rev: &Rev) -> Rev {
    let newest = rev.id().map_or(Timestamp::MAX, MessageId::time);
    Rev::of(MessageId::mint(newest.plus(ONE_MS), 0))
}

fn above(id: ChangeId) -> ChangeId {
    ChangeId::mint(id.time().plus(ONE_MS), 0)
}

const ONE_MS: Duration = Duration::from_millis(1);
