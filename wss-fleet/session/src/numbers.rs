//! Numbers that a workspace gives out and gets back. Each has a type of its own.

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
            pub struct $name(u64);

            impl $name {
                /// Of a plain number.
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
    /// An entry of the ring. Numbers only grow, also where entries were dropped.
    EntryNumber;
    /// When a user's rows were last asked for: an answer to an earlier request may be too old.
    Registration;
    /// A repair (a fill or a backfill): the answer to an earlier one is of no use.
    RepairId;
}
