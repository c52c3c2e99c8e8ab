//! Measurements: one JSON object per line, appended to a file, and progress on the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use serde_json::{Map, Value};

use crate::machine;

/// The file of measurements.
#[derive(Debug)]
pub(crate) struct Record {
    file: File,
    about: Map<String, Value>,
}

impl Record {
    /// Appends to a file. Each line contains the machine, the commit and the time.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut about = Map::new();
        about.insert("commit".to_owned(), commit().into());
        about.insert("machine".to_owned(), machine::description().into());
        Ok(Self { file, about })
    }

    /// Writes one measurement of a figure: an object's fields.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&mut self, figure: &str, fields: Value) -> io::Result<()> {
        let mut line = Map::new();
        line.insert("figure".to_owned(), figure.into());
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        line.extend(self.about.clone());
        line.insert("at".to_owned(), now().into());
        writeln!(self.file, "{}", Value::Object(line))
    }
}

/// Shows progress on a line that the next call overwrites.
pub(crate) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// Prints a line that stays.
#[expect(clippy::print_stdout, reason = "a program for people")]
pub(crate) fn say(text: &str) {
    progress("");
    println!("{text}");
}

fn commit() -> String {
    let git = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let text = git.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// Seconds since 1970.
fn now() -> u64 {
    use messaging::ports::Clock as _;
    service::clock::SystemClock.now().unix_s()
}
