//! The membership function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::lambda::run("membership", membership::handle).await
}
