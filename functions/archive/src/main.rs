//! The archive function on Lambda.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run_archive("archive", archive::handle).await
}
