//! The send function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::lambda::run("send", send::handle).await
}
