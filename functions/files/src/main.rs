//! The files function on Lambda.

use std::process::ExitCode;

use protocol::routes::Function;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run("files", Function::Files, files::handle).await
}
