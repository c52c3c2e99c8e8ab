//! Channels and their members as a function.
