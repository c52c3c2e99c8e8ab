//! The contracts of channels, and what follows from them.

use model::{ChannelId, Contract};

use super::Inbox;
use crate::gots::Telling;

impl Inbox {
    /// A channel's contract, if a call has said it.
    #[must_use]
    pub fn contract(&self, channel: &ChannelId) -> Option<Contract> {
        self.channels.get(channel)?.contract
    }

    /// Records a channel's contract.
    pub(crate) fn set_contract(&mut self, channel: &ChannelId, contract: Contract) {
        if let Some(entry) = self.channels.get_mut(channel) {
            entry.contract = Some(contract);
        }
    }

    /// Whether this client may say how far it has a channel's messages.
    pub(crate) fn telling(&self, channel: &ChannelId) -> Telling {
        let Some(entry) = self.channels.get(channel) else { return Telling::Never };
        match entry.contract {
            Some(Contract::PersistFirst | Contract::Ephemeral) => Telling::Never,
            Some(contract) if contract.delivers_first() && entry.has_left => Telling::Never,
            Some(Contract::DeliverFirst | Contract::DeliverUntilAcked) if entry.gap.is_none() => {
                Telling::Now
            }
            Some(Contract::DeliverFirst | Contract::DeliverUntilAcked) | None => Telling::Later,
        }
    }

    /// Whether this client may say which messages of a channel it keeps.
    pub(crate) fn keeping(&self, channel: &ChannelId) -> Telling {
        match self.contract(channel) {
            Some(Contract::DeliverUntilAcked) => Telling::Now,
            Some(_) => Telling::Never,
            None => Telling::Later,
        }
    }
}
