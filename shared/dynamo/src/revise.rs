//! The update that a revision makes, and its conditions. `messaging`'s `Revision::applied_to` says
//! the same for a message in memory.

use messaging::ports::{Change, Revision, StoredPin, StoredReaction};
use model::{Attribution, ChangeId, Rev, Timestamp};

use crate::item::{
    ACT, COUNTED, DELETED_AT, DELETED_BY, EDIT, EXPIRES_AT, FILE_DETAILS, FOLDED, MENTIONS, PIN,
    PIN_ACT, PIN_AT, PIN_BY, QUOTE, REACTION, REACTIONS, REPLIES, REV, ROW_KIND, SENDER, TARGET,
    TEXT, TEXT_REV, TOMBSTONE, VERSION, encode_counted, encode_folded, encode_mentions,
    encode_reactions, encode_replies, number,
};
use crate::keys::{self, CREATED_AT};
use crate::update::Update;

pub(crate) fn revision_update(revision: &Revision) -> Update {
    let rev = || keys::string(revision.rev.to_string());
    let mut update = Update::default();
    update.set(REV, rev());
    update.set(VERSION, number(revision.members_version));
    only_open(&mut update, &revision.change);
    update.condition(&[CREATED_AT], "#created_at < :e");
    update.condition(&[REV], "(attribute_not_exists(#e) OR #e < :e)");
    if let Some(user) = &revision.only_of {
        update.value("only_of", keys::string(user.as_str()));
        update.condition(&[SENDER], "#s = :only_of");
    }
    match &revision.change {
        Change::Edit { text, mentions, change_id, if_text_rev } => {
            update.set(TEXT, keys::string(text.as_str()));
            if mentions.is_empty() {
                update.remove(MENTIONS);
            } else {
                update.set(MENTIONS, encode_mentions(mentions));
            }
            update.set(EDIT, keys::string(change_id.to_string()));
            update.set(TEXT_REV, rev());
            update.condition(&[EDIT], "(attribute_not_exists(#te) OR #te < :te)");
            if let Some(expected) = if_text_rev {
                update.value("if_rev", keys::string(expected.to_string()));
                // The revision of a text that was never edited is the message's id.
                update.condition(
                    &[TEXT_REV, CREATED_AT],
                    "(#tr = :if_rev OR (attribute_not_exists(#tr) AND #created_at = :if_rev))",
                );
            }
        }
        Change::Delete(deletion) => {
            update.set(ROW_KIND, keys::string(TOMBSTONE));
            update.set(DELETED_BY, keys::string(deletion.by.as_str()));
            update.set(DELETED_AT, number(deletion.at.unix_ms()));
            for attribute in
                [TEXT, MENTIONS, REACTIONS, FOLDED, PIN_BY, PIN_AT, QUOTE, FILE_DETAILS]
            {
                update.remove(attribute);
            }
        }
        Change::Pin { pinned, act } => {
            update.set(PIN_ACT, keys::string(act.to_string()));
            match pinned {
                Some(Attribution { at, by }) => {
                    update.set(PIN_BY, keys::string(by.as_str()));
                    update.set(PIN_AT, number(at.unix_ms()));
                }
                None => [PIN_BY, PIN_AT].into_iter().for_each(|attribute| update.remove(attribute)),
            }
            update.condition(&[PIN_ACT], "(attribute_not_exists(#pc) OR #pc < :pc)");
        }
        Change::Fold { reactions, folded, if_rev } => {
            update.set(FOLDED, encode_folded(*folded));
            if reactions.is_empty() {
                update.remove(REACTIONS);
            } else {
                update.set(REACTIONS, encode_reactions(reactions));
            }
            only_at(&mut update, if_rev);
        }
        Change::Replies { replies, counted, if_rev } => {
            update.set(COUNTED, encode_counted(counted));
            match replies {
                Some(replies) => update.set(REPLIES, encode_replies(replies)),
                None => update.remove(REPLIES),
            }
            only_at(&mut update, if_rev);
        }
    }
    update
}

/// Adds the condition that a row is a message that takes such a change.
fn only_open(update: &mut Update, change: &Change) {
    if matches!(change, Change::Replies { .. }) {
        // Neither a redirect nor a row of a later version; a tombstone's thread stays.
        update.condition(&[SENDER, TARGET], "attribute_exists(#s) AND attribute_not_exists(#r)");
        update.value("deleted", keys::string(TOMBSTONE));
        update.condition(&[ROW_KIND], "(attribute_not_exists(#k) OR #k = :deleted)");
    } else {
        // Neither a redirect, which has no text, nor a tombstone or a row of a later version.
        update.condition(&[TEXT], "attribute_exists(#t)");
        update.condition(&[ROW_KIND], "attribute_not_exists(#k)");
    }
}

/// Adds the condition that a message has this revision. That of a message that never changed is its id.
fn only_at(update: &mut Update, rev: &Rev) {
    update.value("if_rev", keys::string(rev.to_string()));
    update.condition(
        &[REV, CREATED_AT],
        "(#e = :if_rev OR (attribute_not_exists(#e) AND #created_at = :if_rev))",
    );
}

/// The write of a reaction's row.
pub(crate) fn reaction_update(reaction: &StoredReaction) -> Update {
    let StoredReaction { change_id, withdrawn, members_version, .. } = reaction;
    act_update(REACTION, *change_id, *withdrawn, *members_version)
}

/// The write of a pin's row.
pub(crate) fn pin_update(pin: &StoredPin) -> Update {
    let StoredPin { of: _, act, by, at, withdrawn, members_version } = pin;
    let mut update = act_update(PIN, *act, *withdrawn, *members_version);
    update.set(PIN_BY, keys::string(by.as_str()));
    update.set(PIN_AT, number(at.unix_ms()));
    update
}

/// The write of the last act on something: of two acts, the one with the greater id wins.
fn act_update(
    kind: &str,
    act: ChangeId,
    withdrawn: Option<Timestamp>,
    members_version: u64,
) -> Update {
    let mut update = Update::default();
    update.set(ROW_KIND, keys::string(kind));
    update.set(ACT, keys::string(act.to_string()));
    update.set(VERSION, number(members_version));
    match withdrawn {
        Some(until) => update.set(EXPIRES_AT, number(until.unix_ms().div_ceil(1_000))),
        None => update.remove(EXPIRES_AT),
    }
    update.condition(&[ACT], "(attribute_not_exists(#c) OR #c < :c)");
    update
}
