//! Channel contracts. Only this module distinguishes them.

use model::Contract;

/// The channel's contract is defined, but this version does not serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only persist_first is served")]
pub struct ContractNotServed;

/// Whether messages can be sent under a contract.
pub(crate) const fn check(contract: Contract) -> Result<(), ContractNotServed> {
    match contract {
        Contract::PersistFirst => Ok(()),
        Contract::DeliverFirst | Contract::Ephemeral => Err(ContractNotServed),
    }
}
