//! The send function on Lambda.

use std::process::ExitCode;

use protocol::routes::Function;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run("send", Function::Send, send::handle).await
}
