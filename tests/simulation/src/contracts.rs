//! What people do in channels of other contracts than `persist_first`, which is in `work`, and what a
//! run must not leave behind. One module for each contract.

mod calls;
pub(crate) mod delivering;
pub(crate) mod ephemeral;
pub(crate) mod signals;
mod wire;

pub(crate) use wire::{Truth, Wire};
