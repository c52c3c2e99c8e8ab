//! One suite per port, taking a factory, run on every adapter.
