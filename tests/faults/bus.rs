//! Redis misbehaves, and the subscription of nodes with it (faults 9, 13, 15-18).
