//! Input that no client may send, at each entry point of the system, with the exact answer to it.
//!
//! Each table is a list of named cases. One stack answers a whole table, some cases at a time.
//! `rest_*` tests the gateway, `upgrade` a node before the 101, and the others what follows it.
//! `fuzz_smoke` feeds the entries of `tests/fuzz` briefly.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    missing_debug_implementations,
    reason = "a test that finds something else has failed"
)]

mod door;
mod frames;
mod frames_close;
mod frames_good;
mod frames_slow;
mod frames_utf8;
mod fuzz_smoke;
mod hello;
mod raw;
mod rest_changes;
mod rest_channels;
mod rest_files;
mod rest_json;
mod rest_messages;
mod rest_pages;
mod rest_people;
mod rest_read_state;
mod rest_routes;
mod rest_threads;
mod rest_tokens;
mod rest_transport;
mod sends;
mod tokens;
mod upgrade;

#[path = "../fuzz/src/client_frames.rs"]
pub mod client_frames;
#[path = "../fuzz/src/generator.rs"]
pub mod generator;
#[path = "../fuzz/src/rest_bodies.rs"]
pub mod rest_bodies;

use std::collections::BTreeSet;

use door::Cast;

/// All tables, by the names of their cases.
fn names() -> Vec<(&'static str, Vec<String>)> {
    let cast = Cast::on_paper();
    let rest = [
        rest_routes::cases(),
        rest_tokens::cases(),
        rest_json::cases(&cast),
        rest_messages::cases(&cast),
        rest_changes::cases(&cast),
        rest_channels::cases(&cast),
        rest_people::cases(&cast),
        rest_pages::cases(&cast),
        rest_read_state::cases(&cast),
        rest_threads::cases(&cast),
        rest_files::cases(&cast, &rest_files::Files::on_paper(&cast)),
    ];
    let rest = rest.into_iter().flatten().map(|case| case.name);
    let rest = rest.chain(rest_transport::cases().into_iter().map(|case| case.name));
    let frames = [frames::cases(frames::BEFORE), frames_close::cases(), frames_utf8::cases()];
    let frames = frames.into_iter().flatten().map(|case| case.name);
    let frames = frames.chain(frames_slow::names());
    vec![
        ("rest", rest.collect()),
        ("upgrade", upgrade::cases().into_iter().map(|case| case.name).collect()),
        ("hello", hello::names()),
        ("frames", frames.collect()),
    ]
}

#[test]
fn there_are_hundreds_of_bad_inputs_with_distinct_names() {
    let doors = names();
    let mut seen = BTreeSet::new();
    for (door, names) in &doors {
        for name in names {
            assert!(seen.insert((door, name)), "{door}: {name} is used twice");
        }
        println!("{door}: {}", names.len());
    }
    println!("{} bad inputs, {} good ones", seen.len(), frames_good::cases().len());
    assert!(seen.len() >= 400, "{} bad inputs", seen.len());
}
