//! The archiver of the stack, which runs all the time.

use messaging::archive::Archiver;
use model::{chain, limits};
use tracing::error;

use crate::stop::Stopped;

/// Stores what was delivered first until the stack stops.
pub(crate) async fn serve(archiver: Archiver, mut stopped: Stopped) {
    tokio::select! {
        biased;
        () = stopped.wait() => {}
        () = async { loop { archiver.serve(limits::ARCHIVE_RUN).await } } => {}
    }
}

/// Stores what was delivered last, when no node takes anything more. A bus in this process ends with it.
pub(crate) async fn finish(archiver: &Archiver) {
    if let Err(error) = archiver.turn().await {
        error!(cause = %chain(&error), "messages that were delivered last may be lost");
    }
}
