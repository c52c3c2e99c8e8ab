//! Programs that stand between two parts and do to their talk what networks and services do.

pub mod http;
pub mod tcp;
