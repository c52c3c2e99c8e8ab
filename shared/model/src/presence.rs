//! Whether a user is there.

/// Whether a user is there. The greater one counts if they have several sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Presence {
    /// No socket.
    #[default]
    Offline,
    /// Sockets, and the user is away from all of them.
    Idle,
    /// At a socket.
    Active,
}

impl Presence {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Idle => "idle",
            Self::Active => "active",
        }
    }

    /// Reads the name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Offline, Self::Idle, Self::Active].into_iter().find(|one| one.as_str() == text)
    }
}
