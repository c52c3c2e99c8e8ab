//! What a client sends on a socket. In addition to the entry's assertions, this measures the heap:
//! no input may make a connection hold more than a few frames.

#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use fuzz::{client_frames, generator, seeds};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static HEAP: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged. Only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(held, Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

libfuzzer_sys::fuzz_target!(
    init: seeds::write("client_frames", generator::frames),
    |input: &[u8]| {
        let before = HELD.load(Relaxed);
        MOST.store(before, Relaxed);
        client_frames::run(input);
        let most = MOST.load(Relaxed).saturating_sub(before);
        assert!(most <= HEAP_BYTES_MAX, "{most} bytes of heap for one connection");
    }
);

/// A 16 KiB frame in the parser, as a message and as text, a read of it in progress, and what
/// growing buffers double.
const HEAP_BYTES_MAX: usize = 192 * 1024;
