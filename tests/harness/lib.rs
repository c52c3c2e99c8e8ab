//! Starts real parts for tests.
