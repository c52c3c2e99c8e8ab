//! Channel contracts. Only this module and [`crate::meetings`] distinguish them.

use model::{ChannelType, Contract};

/// The channel's contract has no such call: it keeps no messages, or messages that never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channel's contract does not have this")]
pub struct WrongContract;

/// The contract is not served for such a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the contract is not served for such a channel")]
pub struct ContractNotServed;

/// Whether messages are stored under a contract, and may change.
pub(crate) const fn check(contract: Contract) -> Result<(), WrongContract> {
    match contract {
        Contract::PersistFirst => Ok(()),
        Contract::DeliverFirst | Contract::Ephemeral => Err(WrongContract),
    }
}

/// Whether a channel of this kind may be created under a contract.
pub(crate) const fn check_new(
    contract: Contract,
    channel_type: ChannelType,
) -> Result<(), ContractNotServed> {
    match (contract, channel_type) {
        (Contract::PersistFirst, _) | (Contract::Ephemeral, ChannelType::Group) => Ok(()),
        (Contract::Ephemeral, ChannelType::Dm) | (Contract::DeliverFirst, _) => {
            Err(ContractNotServed)
        }
    }
}
