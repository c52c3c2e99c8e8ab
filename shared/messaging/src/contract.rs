//! Channel contracts. Only this module, [`crate::deliver`], [`crate::scroll`], [`crate::send`] and the
//! ends of meetings distinguish them.

use model::{ChannelType, Contract};

/// The channel's contract has no such call: it keeps no messages, or messages that never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channel's contract does not have this")]
pub struct WrongContract;

/// The contract is not served for such a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the contract is not served for such a channel")]
pub struct ContractNotServed;

/// Whether messages change under a contract, and have files and threads.
pub(crate) const fn check_changes(contract: Contract) -> Result<(), WrongContract> {
    match contract {
        Contract::PersistFirst => Ok(()),
        Contract::DeliverFirst | Contract::DeliverUntilAcked | Contract::Ephemeral => {
            Err(WrongContract)
        }
    }
}

/// Whether messages are stored under a contract, sooner or later.
pub(crate) const fn check_kept(contract: Contract) -> Result<(), WrongContract> {
    match contract {
        Contract::PersistFirst | Contract::DeliverFirst | Contract::DeliverUntilAcked => Ok(()),
        Contract::Ephemeral => Err(WrongContract),
    }
}

/// Whether a channel of this kind may be created under a contract.
pub(crate) const fn check_new(
    contract: Contract,
    channel_type: ChannelType,
) -> Result<(), ContractNotServed> {
    match (contract, channel_type) {
        (Contract::PersistFirst | Contract::DeliverFirst | Contract::DeliverUntilAcked, _)
        | (Contract::Ephemeral, ChannelType::Group) => Ok(()),
        (Contract::Ephemeral, ChannelType::Dm) => Err(ContractNotServed),
    }
}
