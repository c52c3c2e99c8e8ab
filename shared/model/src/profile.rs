//! How users present themselves.

use crate::ids::UserId;
use crate::message::Rev;

/// A user's profile. A text that the user never set is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The user.
    pub user_id: UserId,
    /// Up to 80 characters.
    pub name: String,
    /// An `https` URL, up to 2,048 bytes.
    pub avatar: String,
    /// Up to 100 characters.
    pub status: String,
    /// Up to 64 bytes.
    pub status_emoji: String,
    /// A time zone such as `Europe/Berlin`, up to 64 characters.
    pub tz: String,
    /// The revision. Of two copies, the one with the greater revision is newer.
    pub rev: Rev,
}

/// Changes of a profile: what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileUpdate {
    /// 1-80 characters.
    pub name: Option<String>,
    /// An `https` URL, or nothing.
    pub avatar: Option<String>,
    /// Up to 100 characters.
    pub status: Option<String>,
    /// Up to 64 bytes.
    pub status_emoji: Option<String>,
    /// A time zone, or nothing.
    pub tz: Option<String>,
}

impl ProfileUpdate {
    /// The profile after this change, at a new revision.
    #[must_use]
    pub fn applied_to(&self, before: Option<&Profile>, user_id: &UserId, rev: Rev) -> Profile {
        let text = |new: &Option<String>, old: fn(&Profile) -> &String| {
            new.clone().unwrap_or_else(|| before.map(old).cloned().unwrap_or_default())
        };
        Profile {
            user_id: user_id.clone(),
            name: text(&self.name, |profile| &profile.name),
            avatar: text(&self.avatar, |profile| &profile.avatar),
            status: text(&self.status, |profile| &profile.status),
            status_emoji: text(&self.status_emoji, |profile| &profile.status_emoji),
            tz: text(&self.tz, |profile| &profile.tz),
            rev,
        }
    }
}
