//! The connect function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::lambda::run("connect", connect::handle).await
}
