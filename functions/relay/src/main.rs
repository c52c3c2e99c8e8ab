//! The relay function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::lambda::run_relay("relay", relay::handle).await
}
