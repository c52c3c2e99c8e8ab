//! K14: who is shown as present at the end is, and nobody else (G16).

use model::{Presence, UserId};

use crate::history::{ClientId, History};
use crate::verdict::{Check, Verdict};

/// What a client shows of a user at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewed {
    /// Which client.
    pub client: ClientId,
    /// The user.
    pub user: UserId,
    /// Whether the user is there.
    pub is: Presence,
    /// What the client shows, if it was told.
    pub shown: Option<Presence>,
}

pub(crate) fn present(history: &History, verdict: &mut Verdict) {
    for Viewed { client, user, is, shown } in &history.viewed {
        if *shown != Some(*is) {
            verdict.note(
                Check::K14Present,
                format!("{client:?} sees {user} as {shown:?}, not {is:?}"),
            );
        }
    }
}
