//! Ports for the processes that tests start.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux and macOS give to connections and to listeners on port 0 (from 32768
/// and 49152), so that neither takes a port between our choice and the process's `bind`.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// Locks of the ports that this process chose.
static CHOSEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
static TRIED: AtomicU16 = AtomicU16::new(0);

/// A free port that no other test process chooses while this one runs.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("inkwire-test-ports");
    std::fs::create_dir_all(&folder).expect("a folder for the locks of ports");
    // Each process begins elsewhere; 7,919 is prime, so that neighbours are far apart.
    let start = std::process::id().wrapping_mul(7_919);
    (0..COUNT)
        .find_map(|_| {
            let step = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
            let offset = start.wrapping_add(step) % u32::from(COUNT);
            let port = FIRST + u16::try_from(offset).expect("below COUNT");
            let lock = File::create(folder.join(port.to_string())).expect("a port's lock");
            lock.try_lock().ok()?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
            CHOSEN.lock().expect("nobody panics with it").push(lock);
            Some(port)
        })
        .expect("a free port")
}
