//! The scroll function on Lambda.

use std::process::ExitCode;

use protocol::routes::Function;

#[tokio::main]
async fn main() -> ExitCode {
    service::lambda::run("scroll", Function::Scroll, scroll::handle).await
}
