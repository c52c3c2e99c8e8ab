//! The connect function on Lambda.

use std::process::ExitCode;

use protocol::routes::Function;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run("connect", Function::Connect, connect::handle).await
}
