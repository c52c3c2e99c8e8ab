//! K13: what must not last is nowhere at the end (G15), and what is beside the stream takes no place in
//! it and moves no cursor (G17).

use std::collections::BTreeSet;

use crate::history::History;
use crate::verdict::{Check, Verdict};

/// What a run left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lasting {
    /// Publications that somebody asked for: the stream, and their id.
    pub published: BTreeSet<(String, String)>,
    /// Entries of streams, those that were trimmed or lost too.
    pub appended: Vec<(String, String)>,
    /// Where a text was found that must be nowhere.
    pub found: Vec<String>,
    /// Types of frames beside the stream that came with a cursor.
    pub cursors: Vec<String>,
}

pub(crate) fn lasting(history: &History, verdict: &mut Verdict) {
    let Lasting { published, appended, found, cursors } = &history.lasting;
    verdict.left += found.len() as u64;
    for place in found {
        verdict.note(Check::K13Lasting, format!("what was said is in {place}"));
    }
    for entry in appended.iter().filter(|entry| !published.contains(*entry)) {
        verdict.note(
            Check::K13Lasting,
            format!("{} has {}, which is no publication", entry.0, entry.1),
        );
    }
    for kind in cursors {
        verdict.note(Check::K13Lasting, format!("a frame {kind} had a cursor"));
    }
}
