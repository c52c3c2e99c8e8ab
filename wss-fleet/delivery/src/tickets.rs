//! Single use of tickets. A ticket names one start of one node, so the node's own memory is a
//! complete check (G8).

use std::collections::{BTreeSet, HashSet};

use model::Timestamp;

/// Tickets that were used and have not expired.
#[derive(Debug, Default)]
pub struct SpentTickets {
    nonces: HashSet<u128>,
    by_expiry: BTreeSet<(Timestamp, u128)>,
}

impl SpentTickets {
    /// Spends a ticket; false if it was spent before. Also forgets expired tickets.
    #[must_use]
    pub fn spend(&mut self, nonce: u128, expires_at: Timestamp, now: Timestamp) -> bool {
        while self.by_expiry.first().is_some_and(|(expiry, _)| *expiry <= now)
            && let Some((_, nonce)) = self.by_expiry.pop_first()
        {
            self.nonces.remove(&nonce);
        }
        let is_new = self.nonces.insert(nonce);
        if is_new {
            self.by_expiry.insert((expires_at, nonce));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_spent_once_and_forgotten_when_void() {
        let at = Timestamp::from_unix_ms;
        let mut spent = SpentTickets::default();
        assert!(spent.spend(1, at(10), at(0)));
        assert!(!spent.spend(1, at(10), at(9)));
        assert!(spent.spend(2, at(30), at(20)));
        assert_eq!(spent.nonces.len(), 1);
    }
}
