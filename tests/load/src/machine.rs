//! What the kernel says of a process, and where a process may run.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core that servers run on.
pub(crate) const SERVER_CORE: usize = 0;
/// The core that clients, publishers and Redis run on.
pub(crate) const CLIENT_CORE: usize = 1;

/// Keeps this thread, and what it starts from now on, on one core.
///
/// # Errors
/// If there is no such core for us.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Raises this process's limit of open files as far as it may.
///
/// # Errors
/// Those of the system call.
pub(crate) fn open_files_max() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Time that a process's threads were on a core, in its code and in the kernel for it
/// (`schedstat`, nanoseconds; proc(5)). What an ended thread took is not in it.
#[must_use]
pub(crate) fn cpu(id: u32) -> Duration {
    let of = |thread: &i32| {
        let text = fs::read_to_string(format!("/proc/{id}/task/{thread}/schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads(id).iter().filter_map(of).sum())
}

/// Memory that a process has to itself, resident or swapped: `Pss_Anon` of `smaps_rollup`, bytes.
#[must_use]
pub(crate) fn private_bytes(id: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = |name: &str| {
        let found = rollup.lines().find_map(|line| line.strip_prefix(name));
        let number = found.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        number.unwrap_or_default()
    };
    (line("Pss_Anon:") + line("SwapPss:")) * 1024
}

/// What a figure was measured on.
#[must_use]
pub(crate) fn description() -> String {
    let first = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(": ").nth(1).unwrap_or(line).trim().to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    format!("{} cores, {}, Linux {}", cores, first("/proc/cpuinfo", "model name"), kernel.trim())
}

fn threads(id: u32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}
