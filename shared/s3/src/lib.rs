//! The file store on S3.
//!
//! **Main path.** [`S3Files`] signs the upload of a file (`sign.rs`): S3 itself then refuses any other
//! size, type or digest, because they are signed. It signs downloads, asks whether a file is there,
//! and deletes it.
//!
//! **Invariants.** The key of an object is made of parsed ids only. No URL is logged: whoever has one
//! may use it.
//!
//! **Not here.** The SDK of S3: these calls need a signature and a status, and it would make every
//! function larger and slower to start (ADR 0040).

mod files;
mod sign;

pub use files::{Bucket, S3Files};
pub use sign::SignError;
