//! A short run of the fuzz targets, on any compiler: generated inputs through the same entries.
//! `tests/fuzz/run` is the long run.

use std::collections::BTreeMap;

use crate::rest_bodies::Workspace;
use crate::{client_frames, generator};

#[test]
fn generated_frames_end_as_the_protocol_says() {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..20_000 {
        let end = client_frames::run(&generator::frames(seed));
        *ends.entry(format!("{end:?}")).or_default() += 1;
    }
    println!("{ends:?}");
    assert!(ends.len() >= 8, "every way to end comes up: {ends:?}");
}

#[test]
fn generated_requests_get_the_answers_of_the_protocol() {
    let mut workspace = Workspace::default();
    let mut statuses: BTreeMap<u16, u32> = BTreeMap::new();
    for seed in 0..4_000 {
        if let Some(status) = workspace.run(&generator::request(seed)) {
            *statuses.entry(status).or_default() += 1;
        }
    }
    println!("{statuses:?}");
    for status in [200, 201, 400, 401, 403, 404, 405, 409, 415, 422] {
        assert!(statuses.contains_key(&status), "{status} comes up: {statuses:?}");
    }
}
