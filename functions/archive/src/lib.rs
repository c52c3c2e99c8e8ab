//! Storing what was delivered first, as a function that is started every minute (ADR 0044).
//!
//! **Main path.** [`handle`] asks whether any workspace sent in a channel that delivers first lately. If
//! so, it stores what waits and what comes until the next run has begun, and measures what waits then;
//! else it ends at once.
//!
//! **Invariants.** Runs may overlap, and one may die: what it took is taken again by another.
//!
//! **Not here.** No rule about what is stored, no HTTP, no Lambda, no environment, no secret.

use messaging::archive::Archiver;
use messaging::ports::BusError;
use model::limits;
use serde_json::Value;

/// Stores what waits and what comes, for the time of one run. What the event says is of no interest.
///
/// # Errors
/// [`BusError`] if the spools could not be listed at the beginning, or looked at in the end. The next run
/// does it again.
pub async fn handle(archiver: Archiver, _event: Value) -> Result<(), BusError> {
    if archiver.is_needed().await? {
        archiver.serve(limits::ARCHIVE_RUN).await;
        archiver.measure().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
