//! The derive function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run_derive("derive", derive::handle).await
}
