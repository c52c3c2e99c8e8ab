//! The reference client: connect, resume, catch up, upsert by id.
