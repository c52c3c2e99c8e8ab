//! The membership function on Lambda.

use std::process::ExitCode;

use protocol::routes::Function;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run("membership", Function::Membership, membership::handle).await
}
