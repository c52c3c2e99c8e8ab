//! A feed's progress, which survives restarts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

/// The last handled sequence number, in a file or only in memory.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    last: Option<String>,
    file: Option<PathBuf>,
}

impl Checkpoint {
    /// A checkpoint that is lost when the stack ends.
    pub(crate) fn in_memory() -> Self {
        Self::default()
    }

    /// A feed's checkpoint in a data directory. If its file is missing or malformed, the feed starts
    /// at the beginning, which is safe.
    pub(crate) fn in_directory(directory: &Path, feed: &str) -> Self {
        let file = directory.join(format!("{feed}.checkpoint"));
        let last = match fs::read_to_string(&file) {
            Ok(text) => {
                let number = text.trim();
                let is_one =
                    (21..=40).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
                if !is_one {
                    warn!(file = %file.display(), "not a checkpoint: starting over");
                }
                is_one.then(|| number.to_owned())
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => None,
            Err(err) => {
                warn!(file = %file.display(), %err, "no checkpoint: starting over");
                None
            }
        };
        Self { last, file: Some(file) }
    }

    pub(crate) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Starts at the beginning again.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Moves the checkpoint. If the file cannot be written, the next start handles records again.
    pub(crate) fn move_to(&mut self, number: &str) {
        self.last = Some(number.to_owned());
        let Some(file) = &self.file else { return };
        // Replace the file atomically: half a number would be a different number.
        let new = file.with_extension("new");
        if let Err(err) = fs::write(&new, number).and_then(|()| fs::rename(&new, file)) {
            warn!(file = %file.display(), %err, "cannot write a checkpoint");
        }
    }
}
