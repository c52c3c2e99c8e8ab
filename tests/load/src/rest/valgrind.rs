//! Runs programs under valgrind: counts instead of times, so they are the same on a busy machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Outcome;
use super::parts::{Part, Shares, shares};
use super::profile::Profile;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Instructions, by function.
    Callgrind,
    /// Allocations and their bytes.
    Heap,
    /// Blocks that exist at the end, by the calls that allocated them.
    Live,
}

impl Tool {
    /// The tool's command line. The counts are written to `out`.
    pub(crate) fn words(self, out: &Path) -> Vec<String> {
        let out = out.display();
        let words = match self {
            Self::Callgrind => vec![
                "--tool=callgrind".to_owned(),
                format!("--callgrind-out-file={out}"),
                "--log-file=/dev/null".to_owned(),
            ],
            Self::Heap => vec![
                "--tool=memcheck".to_owned(),
                "--leak-check=no".to_owned(),
                "--undef-value-errors=no".to_owned(),
                format!("--log-file={out}"),
            ],
            Self::Live => vec![
                "--tool=dhat".to_owned(),
                // Calls nest deeply: fewer would cut off the call that shows the owner.
                "--num-callers=40".to_owned(),
                // With folders, because every package has a `lib.rs`.
                "--fullpath-after=".to_owned(),
                format!("--dhat-out-file={out}"),
                "--log-file=/dev/null".to_owned(),
            ],
        };
        [vec!["valgrind".to_owned()], words].concat()
    }
}

/// The counts of a run, or of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// All instructions.
    pub(crate) whole: f64,
    /// Instructions by part.
    pub(crate) shares: Shares,
    /// Instructions of named functions, with what they call.
    pub(crate) named: Vec<(String, f64)>,
}

impl Counts {
    pub(crate) fn of(profile: &Profile, names: &[&str]) -> Self {
        let named = |name: &&str| ((*name).to_owned(), profile.inclusive(name) as f64);
        Self {
            whole: profile.whole() as f64,
            shares: shares(profile),
            named: names.iter().map(named).collect(),
        }
    }

    pub(crate) fn share(&self, part: Part) -> f64 {
        self.shares.get(&part).copied().unwrap_or_default()
    }

    /// The counts per call, from a run with `calls` calls and one with twice as many.
    pub(crate) fn per_call(once: &Self, twice: &Self, calls: u32) -> Self {
        let each = |twice: f64, once: f64| (twice - once) / f64::from(calls);
        let share = |part| (part, each(twice.share(part), once.share(part)));
        let named = once.named.iter().zip(&twice.named);
        Self {
            whole: each(twice.whole, once.whole),
            shares: Part::ALL.into_iter().map(share).collect(),
            named: named.map(|(one, two)| (one.0.clone(), each(two.1, one.1))).collect(),
        }
    }
}

/// What a run does only once, such as the first call's connecting.
pub(crate) fn once_only(once: &Counts, twice: &Counts) -> Counts {
    let share = |part| (part, 2.0 * once.share(part) - twice.share(part));
    Counts {
        whole: 2.0 * once.whole - twice.whole,
        shares: Part::ALL.into_iter().map(share).collect(),
        named: Vec::new(),
    }
}

/// Allocations of a run, or of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allocations {
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
}

impl Allocations {
    /// Reads memcheck's `total heap usage: 1,234 allocs, 1,200 frees, 5,678 bytes allocated`.
    ///
    /// # Errors
    /// If the text does not contain it.
    pub(crate) fn read(text: &str) -> Outcome<Self> {
        let numbers = text.lines().find_map(|line| line.split_once("total heap usage: "));
        let (_, numbers) = numbers.ok_or("memcheck counted nothing")?;
        let number = |at: usize| {
            let word = numbers.split(", ").nth(at).and_then(|part| part.split(' ').next());
            word.and_then(|word| word.replace(',', "").parse::<f64>().ok())
        };
        let (allocations, bytes) = (number(0), number(2));
        let absent = || format!("not memcheck's: {numbers}");
        Ok(Self { allocations: allocations.ok_or_else(absent)?, bytes: bytes.ok_or_else(absent)? })
    }

    pub(crate) fn per_call(once: Self, twice: Self, calls: u32) -> Self {
        let calls = f64::from(calls);
        Self {
            allocations: (twice.allocations - once.allocations) / calls,
            bytes: (twice.bytes - once.bytes) / calls,
        }
    }
}

/// Runs this program with other arguments under a tool. Returns the tool's output.
///
/// # Errors
/// If valgrind is missing, or the program fails.
pub(crate) fn operate(tool: Tool, arguments: &[String]) -> Outcome<String> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("counted");
    let words = tool.words(&out);
    let (valgrind, words) = words.split_first().ok_or("no command")?;
    let ran = Command::new(valgrind)
        .args(words)
        .arg(std::env::current_exe()?)
        .arg("operate")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind (Debian package valgrind): {error}"))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        return Err(format!("operate {}: {said}", arguments.join(" ")).into());
    }
    Ok(std::fs::read_to_string(out)?)
}

/// Another program of this workspace, from the folder of this one.
///
/// # Errors
/// If it has not been built.
pub(crate) fn beside(name: &str) -> Outcome<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    if program.is_file() {
        return Ok(program);
    }
    Err(format!("{} is not built: cargo build --profile profiling -p {name}", program.display())
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memchecks_summary_is_read() {
        let text = "==1== HEAP SUMMARY:\n==1==   total heap usage: 1,234 allocs, 1,200 frees, \
                    5,678 bytes allocated\n";
        let heap = Allocations::read(text).unwrap();
        assert_eq!((heap.allocations, heap.bytes), (1_234.0, 5_678.0));
        assert!(Allocations::read("nothing").is_err());
    }
}
