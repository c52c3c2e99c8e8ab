//! The scroll function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::lambda::run("scroll", scroll::handle).await
}
