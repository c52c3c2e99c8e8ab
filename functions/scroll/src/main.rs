//! The scroll function on Lambda.

use std::process::ExitCode;

use protocol::routes::Function;

#[tokio::main]
async fn main() -> ExitCode {
    runtime::lambda::run("scroll", Function::Scroll, scroll::handle).await
}
