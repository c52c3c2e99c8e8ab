//! Counts what calls cost: each call asks the store for the capacity that it consumed.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::ConsumedCapacity;
use parking_lot::Mutex;

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `PutItem`.
    Put,
    /// `UpdateItem`.
    Update,
    /// `DeleteItem`.
    Delete,
    /// `TransactWriteItems`.
    Transact,
    /// `GetItem`.
    Get,
    /// `BatchGetItem`.
    BatchGet,
    /// `Query`.
    Query,
}

impl Operation {
    /// The store's name for the operation; a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "PutItem",
            Self::Update => "UpdateItem",
            Self::Delete => "DeleteItem",
            Self::Transact => "TransactWriteItems",
            Self::Get => "GetItem",
            Self::BatchGet => "BatchGetItem",
            Self::Query => "Query",
        }
    }

    const fn writes(self) -> bool {
        matches!(self, Self::Put | Self::Update | Self::Delete | Self::Transact)
    }
}

/// What calls cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Calls, failed ones included. The SDK's retries of a call are not counted.
    pub calls: u64,
    /// Read units: 4 KiB read strongly.
    pub read_units: f64,
    /// Write units: 1 KiB written.
    pub write_units: f64,
}

impl Cost {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            read_units: self.read_units + other.read_units,
            write_units: self.write_units + other.write_units,
        }
    }

    fn minus(self, earlier: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            read_units: self.read_units - earlier.read_units,
            write_units: self.write_units - earlier.write_units,
        }
    }
}

/// What calls cost up to a moment, or between two moments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Consumed(BTreeMap<Operation, Cost>);

impl Consumed {
    /// The cost of one kind of call.
    #[must_use]
    pub fn of(&self, operation: Operation) -> Cost {
        self.0.get(&operation).copied().unwrap_or_default()
    }

    /// The cost of all calls.
    #[must_use]
    pub fn total(&self) -> Cost {
        self.0.values().copied().fold(Cost::default(), Cost::plus)
    }

    /// Each kind of call that was made.
    pub fn iter(&self) -> impl Iterator<Item = (Operation, Cost)> + '_ {
        self.0.iter().map(|(operation, cost)| (*operation, *cost))
    }

    /// What was consumed since an earlier snapshot of the same counter.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let costs =
            self.iter().map(|(operation, cost)| (operation, cost.minus(earlier.of(operation))));
        Self(costs.filter(|(_, cost)| *cost != Cost::default()).collect())
    }
}

/// Counts what a store's calls cost. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Capacity(Arc<Mutex<Consumed>>);

impl Capacity {
    /// What was consumed so far.
    #[must_use]
    pub fn snapshot(&self) -> Consumed {
        self.0.lock().clone()
    }

    /// What was consumed since an earlier snapshot.
    #[must_use]
    pub fn since(&self, earlier: &Consumed) -> Consumed {
        self.snapshot().since(earlier)
    }

    pub(crate) fn count_call(&self, operation: Operation) {
        self.add(operation, Cost { calls: 1, ..Cost::default() });
    }

    pub(crate) fn count_units<'a>(
        &self,
        operation: Operation,
        reported: impl IntoIterator<Item = &'a ConsumedCapacity>,
    ) {
        for capacity in reported {
            let total = capacity.capacity_units.unwrap_or_default();
            let (read_units, write_units) =
                match (capacity.read_capacity_units, capacity.write_capacity_units) {
                    (None, None) if operation.writes() => (0.0, total),
                    (None, None) => (total, 0.0),
                    (read, write) => (read.unwrap_or_default(), write.unwrap_or_default()),
                };
            self.add(operation, Cost { calls: 0, read_units, write_units });
        }
    }

    /// A failed condition is billed like the write, by the larger of the two rows. The error does
    /// not say how much was consumed, so it is computed here.
    pub(crate) fn count_refused_write(&self, operation: Operation, row_bytes: usize) {
        let units = u32::try_from(row_bytes.div_ceil(WRITE_UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        self.add(operation, Cost { write_units: f64::from(units), ..Cost::default() });
    }

    fn add(&self, operation: Operation, cost: Cost) {
        let mut consumed = self.0.lock();
        let sum = consumed.0.entry(operation).or_default();
        *sum = sum.plus(cost);
    }
}

const WRITE_UNIT_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_holds_only_what_came_in_between() {
        let capacity = Capacity::default();
        capacity.count_call(Operation::Get);
        let before = capacity.snapshot();
        capacity.count_call(Operation::Put);
        let reported = ConsumedCapacity::builder().capacity_units(2.0).build();
        capacity.clone().count_units(Operation::Put, [&reported]);
        let consumed = capacity.since(&before);
        assert_eq!(consumed.total(), Cost { calls: 1, read_units: 0.0, write_units: 2.0 });
        assert_eq!(consumed.of(Operation::Get), Cost::default());
        assert_eq!(consumed.iter().count(), 1);
    }

    #[test]
    fn a_refused_write_is_billed_by_the_kibibyte() {
        let capacity = Capacity::default();
        for (bytes, units) in [(0, 1.0), (1_024, 1.0), (1_025, 2.0)] {
            let before = capacity.snapshot();
            capacity.count_refused_write(Operation::Put, bytes);
            assert_eq!(capacity.since(&before).total().write_units, units, "{bytes}");
        }
    }
}
