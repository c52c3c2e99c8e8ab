//! The relay function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run_relay("relay", relay::handle).await
}
