//! The command `inkwire`: listens, sends, lists channels and prints history in a terminal.
//!
//! **Main path.** [`cli::run`] makes a [`client::Api`] from the options, resolves the channel's
//! name, and calls the library; `listen` prints events until the client stops.
//!
//! **Invariants.** Other users' text reaches the terminal only through [`cli::terminal::escape`].
//! Every failure prints one line on standard error and exits with a code that `--help` lists.
//!
//! **Not here.** The protocol, which is in the library.

mod cli;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let (is_help, is_printed) = (!error.use_stderr(), error.print().is_ok());
            return if is_help && is_printed { ExitCode::SUCCESS } else { code(cli::Exit::Usage) };
        }
    };
    match cli::run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.line());
            code(error.exit())
        }
    }
}

fn code(exit: cli::Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
