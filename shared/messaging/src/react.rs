//! Reactions: each is a row of its own, and the message's summary is counted from these rows (G9).
//!
//! **Main path.** [`react`] stores what the user did, and counts if nobody did so recently. On a
//! message that many react to, the function `derive` counts once in a while instead, so a storm
//! costs one write a reaction.

use std::collections::{BTreeMap, BTreeSet};

use model::{ChangeId, Emoji, LogId, Message, MessageId, UserId, limits};
use protocol::publication::{Origin, Publication};

use crate::access::member_channel;
use crate::amend::{AmendError, Target, act_id, actable, own_marked};
use crate::app::App;
use crate::error::StoreError;
use crate::fold::{self, Fold, Pace};
use crate::ports::{Acted, LogEntry, Principal, ReactionPage, StoredMessage, StoredReaction};
use crate::revising::Revising;

/// What a caller does with an emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The emoji.
    pub emoji: Emoji,
    /// Whether the reaction is made or withdrawn.
    pub is_made: bool,
    /// Of two acts with one emoji, the one with the greater id wins; by default it is minted.
    pub change_id: Option<ChangeId>,
}

/// Makes or withdraws a reaction. Idempotent. Returns the message as it is stored, which may lag
/// behind its reactions by [`limits::FOLD_EVERY_MAX`].
///
/// # Errors
/// [`AmendError`].
///
/// # Cancel safety
/// A dropped call may or may not have stored, counted or published.
pub async fn react(
    app: &App,
    caller: &Principal,
    target: &Target,
    act: &Act,
    origin: Origin,
) -> Result<Message, AmendError> {
    let Target { log, id } = target;
    let now = app.clock.now();
    let change_id = act_id(app, act.change_id)?;
    let (channel, stored) = actable(app, caller, target, act.is_made).await?;
    if is_full(&stored, act) {
        let key = (*id, act.emoji.clone());
        let own = app.messages.reacted_among(log, &caller.user_id, &[key]).await?;
        match (own.is_empty(), act.is_made) {
            (true, true) => return Err(AmendError::TooManyReactions),
            // There is nothing to withdraw, and no room to remember that.
            (true, false) => return answer(app, caller, stored, act).await,
            (false, _) => {}
        }
    }
    let reaction = StoredReaction {
        user_id: caller.user_id.clone(),
        emoji: act.emoji.clone(),
        change_id,
        withdrawn: (!act.is_made).then(|| now.plus(limits::WITHDRAWN_TTL)),
        members_version: channel.members_version,
    };
    let reacted = app.messages.react(log, *id, &reaction).await.map_err(StoreError::from)?;
    if reacted == Acted::Superseded {
        // A later act of the caller says what is theirs.
        return own_marked(app, caller, stored.message).await;
    }
    // While others count, `derive` is left to do it: these calls would only get in each other's way.
    let last = stored.folded.unwrap_or_default().at;
    if now.since(last) < fold::every(&stored.message) * 2 {
        return answer(app, caller, stored, act).await;
    }
    let before = stored.message.rev.clone();
    let counted = match fold::fold(Revising::of(app), Fold::Reactions, stored, Pace::AtOnce).await {
        Ok(Some(counted)) => counted,
        Ok(None) => return Err(AmendError::Deleted),
        // The reaction is stored: `derive` counts it.
        Err(_) => {
            let entry = app.messages.entry(log, *id).await?;
            let stored = entry.and_then(LogEntry::into_message);
            let stored = stored.ok_or(AmendError::MessageNotFound)?;
            return answer(app, caller, stored, act).await;
        }
    };
    if counted.message.rev != before {
        let publication =
            Publication::of_message(&counted.message, counted.members_version).with_origin(origin);
        app.publisher().publish(&caller.workspace_id, &publication).await;
    }
    answer(app, caller, counted, act).await
}

/// Reads a page of a message's reactions, those that stand.
///
/// # Errors
/// [`AmendError`].
pub async fn list_reactions(
    app: &App,
    caller: &Principal,
    target: &Target,
    after: Option<(&UserId, &Emoji)>,
    limit: u32,
) -> Result<ReactionPage, AmendError> {
    let Target { log, id } = target;
    let (page, entry) = tokio::try_join!(
        app.messages.reactions(log, *id, after, limit),
        app.messages.entry(log, *id)
    )?;
    member_channel(app, caller, &log.channel_id).await?;
    let stored = entry.and_then(LogEntry::into_message).ok_or(AmendError::MessageNotFound)?;
    let is_deleted = stored.message.deleted.is_some();
    if is_deleted { Err(AmendError::Deleted) } else { Ok(page) }
}

/// Says for each reaction of these messages whether it is the caller's, unless that is known already.
/// Where the summary does not name all users, their own rows are read, as far as one call of each log
/// reads.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn mark_own(
    app: &App,
    caller: &Principal,
    messages: &mut [Message],
) -> Result<(), StoreError> {
    let mut unsure: BTreeMap<LogId, BTreeSet<(MessageId, Emoji)>> = BTreeMap::new();
    for message in messages.iter_mut() {
        let (id, log) = (message.id, message.log());
        for reaction in message.reactions.iter_mut().filter(|reaction| reaction.mine.is_none()) {
            let is_named = reaction.users.contains(&caller.user_id);
            let all_named = reaction.count <= reaction.users.len() as u64;
            if is_named || all_named {
                reaction.mine = Some(is_named);
                continue;
            }
            let of_log = unsure.entry(log.clone()).or_default();
            if of_log.len() < OWN_READ_MAX {
                of_log.insert((id, reaction.emoji.clone()));
            }
        }
    }
    for (log, keys) in unsure {
        let asked: Vec<_> = keys.iter().cloned().collect();
        let own = app.messages.reacted_among(&log, &caller.user_id, &asked).await?;
        let own: BTreeSet<_> = own.into_iter().collect();
        for message in messages.iter_mut().filter(|message| message.is_in(&log)) {
            for reaction in &mut message.reactions {
                let key = (message.id, reaction.emoji.clone());
                if keys.contains(&key) {
                    reaction.mine = Some(own.contains(&key));
                }
            }
        }
    }
    Ok(())
}

async fn answer(
    app: &App,
    caller: &Principal,
    stored: StoredMessage,
    act: &Act,
) -> Result<Message, AmendError> {
    let mut message = stored.message;
    for reaction in message.reactions.iter_mut().filter(|reaction| reaction.emoji == act.emoji) {
        reaction.mine = Some(act.is_made);
    }
    own_marked(app, caller, message).await
}

/// Whether a message has no room for this act, by its summary.
fn is_full(stored: &StoredMessage, act: &Act) -> bool {
    let message = &stored.message;
    let has_emoji = message.reactions.iter().any(|reaction| reaction.emoji == act.emoji);
    let is_new_kind = !has_emoji && message.reactions.len() >= limits::REACTION_EMOJI_MAX;
    let has_many = is_new_kind || fold::total(message) >= limits::REACTIONS_MAX;
    let rows = stored.folded.unwrap_or_default().rows;
    (act.is_made && has_many) || rows >= limits::REACTION_ROWS_MAX
}

/// Own rows that one call reads.
const OWN_READ_MAX: usize = 100;
