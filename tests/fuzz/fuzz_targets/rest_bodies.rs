//! A client's requests to the functions.

#![no_main]

use std::cell::RefCell;

use fuzz::rest_bodies::Workspace;
use fuzz::{generator, seeds};

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

libfuzzer_sys::fuzz_target!(
    init: seeds::write("rest_bodies", generator::request),
    |input: &[u8]| {
        WORKSPACE.with_borrow_mut(|workspace| workspace.run(input));
    }
);
