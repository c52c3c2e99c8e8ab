//! Who is certainly a member, and who certainly is not, as far as the intervals of the calls show.

use std::collections::BTreeMap;

use model::{ChannelId, UserId};

use crate::history::{Change, Event, History};

/// A call that changes a membership: where its start and its 2xx answer are in the history.
#[derive(Debug, Clone, Copy)]
struct Call {
    change: Change,
    started: usize,
    /// `None`: it may have taken effect at any time since its start, or never.
    returned: Option<usize>,
}

/// All calls by channel and user, in the order of their starts.
#[derive(Debug, Default)]
pub(crate) struct Members(BTreeMap<(ChannelId, UserId), Vec<Call>>);

impl Members {
    pub(crate) fn of(history: &History) -> Self {
        let mut members = Self::default();
        for (index, (_, event)) in history.events.iter().enumerate() {
            match event {
                Event::ChangeStarted { channel, user, change } => {
                    let calls = members.0.entry((channel.clone(), user.clone())).or_default();
                    calls.push(Call { change: *change, started: index, returned: None });
                }
                Event::ChangeReturned { channel, user, change } => {
                    let calls = members.0.entry((channel.clone(), user.clone())).or_default();
                    let is_open =
                        |call: &&mut Call| call.change == *change && call.returned.is_none();
                    // The newest call without an answer: older ones were never answered.
                    if let Some(call) = calls.iter_mut().rev().find(is_open) {
                        call.returned = Some(index);
                    }
                }
                _ => {}
            }
        }
        members
    }

    /// The channels of which a user is certainly a member at the end, and since when at the latest.
    pub(crate) fn channels_of(&self, user: &UserId) -> Vec<(ChannelId, usize)> {
        let of_user = self.0.iter().filter(|((_, of), _)| of == user);
        of_user
            .filter_map(|((channel, _), calls)| Some((channel.clone(), member_since(calls)?)))
            .collect()
    }

    /// Whether a message leaked: its `POST` began at `posted`, it was seen at `seen`, and the user
    /// certainly was not a member in between.
    pub(crate) fn is_leak(
        &self,
        channel: &ChannelId,
        user: &UserId,
        posted: usize,
        seen: usize,
    ) -> bool {
        let calls = self.0.get(&(channel.clone(), user.clone())).map_or(&[][..], Vec::as_slice);
        let adds = || calls.iter().filter(|call| call.change == Change::Add && call.started < seen);
        if adds().next().is_none() {
            return true;
        }
        let removals = calls.iter().filter(|call| call.change == Change::Remove);
        removals
            .filter(|removal| removal.returned.is_some_and(|returned| returned < posted))
            .any(|removal| adds().all(|add| add.returned.is_some_and(|at| at < removal.started)))
    }

    /// Removals that were acknowledged.
    pub(crate) fn removals(&self) -> u64 {
        let all = self.0.values().flatten();
        all.filter(|call| call.change == Change::Remove && call.returned.is_some()).count() as u64
    }
}

/// Since when the user is certainly a member: the first addition that no removal can have undone.
fn member_since(calls: &[Call]) -> Option<usize> {
    let last_removal = calls.iter().filter(|call| call.change == Change::Remove).try_fold(
        None,
        // A removal without an answer may still take effect, so nothing is certain after it.
        |latest: Option<usize>, call| Some(latest.max(Some(call.returned?))),
    )?;
    calls
        .iter()
        .filter(|call| call.change == Change::Add)
        .filter(|call| last_removal.is_none_or(|removed| removed < call.started))
        .filter_map(|call| call.returned)
        .min()
}
