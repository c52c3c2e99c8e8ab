//! The entries that the fuzzer feeds, and what must hold for every input.
//!
//! The entries do not need the fuzzer: the test binary `bad_inputs` compiles the same files, and
//! feeds them from [`generator`] on a stable compiler.

pub mod client_frames;
pub mod generator;
pub mod rest_bodies;
pub mod seeds;
