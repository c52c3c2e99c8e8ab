//! Reads the logs of processes.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use service::telemetry::{LogConfig, LogFormat, start_to};

/// This process's log at trace level, from the first call on: JSON lines in a file.
///
/// # Panics
/// If the file cannot be written.
pub fn own() -> &'static Path {
    static LOG: OnceLock<PathBuf> = OnceLock::new();
    LOG.get_or_init(|| {
        // An unnamed file, so that no file remains.
        let file: Arc<File> = Arc::new(tempfile::tempfile().expect("a file for the log"));
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let everything = LogConfig { filter: "trace".to_owned(), format: LogFormat::Json };
        start_to(&everything, file, false);
        // The log only records where a panic happened. Keep the usual hook, which says why.
        let ours = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            ours(panic);
            eprintln!("{panic}");
        }));
        path
    })
}

/// The whole text of a log so far.
#[must_use]
pub fn text(log: &Path) -> String {
    fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The lines of a JSON log that have this message.
#[must_use]
pub fn lines(log: &Path, message: &str) -> Vec<Value> {
    let text = text(log);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("message").is_some_and(|said| said == message)).collect()
}
