//! GET /scroll as a function.
