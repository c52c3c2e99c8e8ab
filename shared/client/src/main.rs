//! The command `client`: listen, send, list and scroll from a terminal.
//!
//! **Main path.** [`cli::run`] makes an [`client::Api`] of the options, resolves the channel's
//! name, and calls the library; `listen` prints events until the client stops.
//!
//! **Invariants.** What others wrote reaches the terminal only through [`cli::terminal::escape`].
//! Every failure is one line on standard error and exit code 1.
//!
//! **Not here.** No protocol: that is the library.

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.line());
            ExitCode::FAILURE
        }
    }
}
