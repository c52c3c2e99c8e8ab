//! What the kernel reports about a process, and which core a process may use.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core that servers run on.
pub(crate) const SERVER_CORE: usize = 0;
/// The core that clients, publishers and Redis run on.
pub(crate) const CLIENT_CORE: usize = 1;

/// Pins this thread, and what it starts from now on, to one core.
///
/// # Errors
/// If this process may not use that core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Raises this process's limit of open files to the maximum.
///
/// # Errors
/// The system call's.
pub(crate) fn open_files_max() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// CPU time of a process's threads, in user code and in the kernel (`schedstat`, nanoseconds;
/// proc(5)). Threads that have ended are not included.
#[must_use]
pub(crate) fn cpu(id: u32) -> Duration {
    let of = |thread: &i32| {
        let text = fs::read_to_string(format!("/proc/{id}/task/{thread}/schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads(id).iter().filter_map(of).sum())
}

/// User and kernel time, in the kernel's ticks of usually 10 ms (`stat`).
#[must_use]
pub(crate) fn ticks(id: u32) -> (u64, u64) {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // After the name, which may contain anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |n: usize| fields.get(n).and_then(|text| text.parse().ok()).unwrap_or_default();
    (field(11), field(12))
}

/// Private memory of a process, resident or swapped: `Pss_Anon` of `smaps_rollup`, in bytes.
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

/// The highest resident memory of a process so far: `VmHWM` of `status`, in bytes.
#[must_use]
pub(crate) fn peak_resident_bytes(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let found = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = found.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

/// Memory that the kernel uses itself, with the buffers of sockets (`/proc/meminfo`), in bytes.
#[must_use]
pub(crate) fn kernel_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |name: &str| {
        let found = meminfo.lines().find_map(|line| line.strip_prefix(name));
        let number = found.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        number.unwrap_or_default()
    };
    line("Slab:") * 1024
}

/// The machine, as recorded with each figure.
#[must_use]
pub(crate) fn description() -> String {
    let first = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(": ").nth(1).unwrap_or(line).trim().to_owned()
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let scheduling = if is_real_time() { ", real-time scheduling" } else { "" };
    let processor = first("/proc/cpuinfo", "model name");
    format!("{cores} cores, {processor}, Linux {}{scheduling}", kernel.trim())
}

/// Whether this process, and what it starts, has real-time priority, so that others run only when
/// it is idle: `chrt --fifo` gives it (`policy` in proc(5)'s `stat`; sched(7)).
fn is_real_time() -> bool {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let policy = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(38));
    matches!(policy, Some("1" | "2"))
}

fn threads(id: u32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}
