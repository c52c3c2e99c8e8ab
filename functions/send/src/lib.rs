//! POST /messages as a function.
