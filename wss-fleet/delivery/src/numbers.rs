//! Numbers that a workspace hands out and gets back, each with its own type.

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
            pub struct $name(u64);

            impl $name {
                /// Wraps a plain number.
                #[must_use]
                pub const fn new(number: u64) -> Self {
                    Self(number)
                }

                /// The plain number.
                #[must_use]
                pub const fn get(self) -> u64 {
                    self.0
                }

                pub(crate) const fn next(self) -> Self {
                    Self(self.0.saturating_add(1))
                }
            }
        )*
    };
}

numbers! {
    /// An entry of the ring. Numbers grow, even when entries are dropped; only those that a fork
    /// cut off are used again.
    EntryNumber;
    /// When a user's rows were last requested: an answer to an earlier request may be too old.
    Registration;
    /// A fill or a backfill: the answer to an earlier one is ignored.
    RepairId;
}
