//! Reads the output of valgrind's dhat: heap blocks by the calls that allocated them.
//!
//! Source: "DHAT: a dynamic heap analysis tool" in valgrind's manual, and `dh_main.c` for the file
//! format.

use serde::Deserialize;

use crate::Failed;

/// An amount of heap. May also be a difference or an average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Amount {
    pub(crate) bytes: f64,
    pub(crate) blocks: f64,
}

impl Amount {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, blocks: self.blocks + other.blocks }
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self { bytes: self.bytes * factor, blocks: self.blocks * factor }
    }
}

/// A program's heap at its end.
#[derive(Debug)]
pub(crate) struct Heap {
    points: Vec<Point>,
    /// The source file of each call, by the call's number.
    files: Vec<String>,
}

/// Blocks that were allocated by the same calls.
#[derive(Debug, Deserialize)]
struct Point {
    #[serde(rename = "eb")]
    bytes_at_end: u64,
    #[serde(rename = "ebk")]
    blocks_at_end: u64,
    /// Numbers of the calls, innermost first.
    #[serde(rename = "fs")]
    calls: Vec<usize>,
}

/// The fields of the file that are used.
#[derive(Debug, Deserialize)]
struct Written {
    #[serde(rename = "pps")]
    points: Vec<Point>,
    #[serde(rename = "ftbl")]
    calls: Vec<String>,
}

impl Heap {
    /// Reads a file's text.
    ///
    /// # Errors
    /// If it is not from dhat, or the heap was empty.
    pub(crate) fn read(text: &str) -> Result<Self, Failed> {
        let Written { mut points, calls } =
            serde_json::from_str(text).map_err(|error| format!("not dhat's: {error}"))?;
        points.retain(|point| point.blocks_at_end > 0);
        if points.is_empty() {
            return Err("dhat found an empty heap".into());
        }
        Ok(Self { points, files: calls.iter().map(|call| file_of(call).to_owned()).collect() })
    }

    /// The amount of each point, and the files of its calls, innermost first.
    pub(crate) fn points(
        &self,
    ) -> impl Iterator<Item = (Amount, impl Iterator<Item = &str> + Clone)> {
        self.points.iter().map(|point| {
            let amount =
                Amount { bytes: point.bytes_at_end as f64, blocks: point.blocks_at_end as f64 };
            let files = point.calls.iter().filter_map(|call| self.files.get(*call));
            (amount, files.map(String::as_str))
        })
    }
}

/// The file in `0x1234: name<of, types (and units)> (/folder/file.rs:12)`.
fn file_of(call: &str) -> &str {
    let place = call.rsplit_once(" (").map_or("", |(_, place)| place.trim_end_matches(')'));
    place.rsplit_once(':').map_or(place, |(file, _line)| file)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two points and an empty one, as dhat 3.19 writes them.
    pub(crate) const TEXT: &str = r#"{"dhatFileVersion":2,"mode":"heap","verb":"Allocated","bklt":true
        ,"tu":"instrs","pid":7,"te":53941242
        ,"pps":
         [{"tb":472,"tbk":1,"tl":184525,"mb":472,"mbk":1,"gb":0,"gbk":0,"eb":0,"ebk":0,"rb":3,"wb":1
          ,"acc":[232,-3],"fs":[1,4]}
         ,{"tb":2048,"tbk":2,"eb":1024,"ebk":1,"fs":[1,2,3,4]}
         ,{"tb":96,"tbk":4,"eb":72,"ebk":3,"fs":[1,3,4]}
         ]
        ,"ftbl":
         ["[root]"
         ,"0x4845F2A: malloc (in /usr/libexec/valgrind/vgpreload_dhat-amd64-linux.so)"
         ,"0x7A1B2C: insert<u64, ()> (/c/registry/src/index-1/slab-0.4.12/src/lib.rs:1095)"
         ,"0x7A1B2C: {closure#0} (/w/wss-fleet/node/src/shard.rs:125)"
         ,"0x87FAFE: main (in /w/target/profiling/load)"
         ]
        }"#;

    #[test]
    fn blocks_live_at_the_end_are_read_with_the_files_of_their_calls() {
        let heap = Heap::read(TEXT).unwrap();
        let points: Vec<_> = heap.points().map(|(of, files)| (of, files.collect())).collect();
        let files: Vec<&str> = vec![
            "in /usr/libexec/valgrind/vgpreload_dhat-amd64-linux.so",
            "/c/registry/src/index-1/slab-0.4.12/src/lib.rs",
            "/w/wss-fleet/node/src/shard.rs",
            "in /w/target/profiling/load",
        ];
        assert_eq!(points.len(), 2);
        assert_eq!(points[0], (Amount { bytes: 1024.0, blocks: 1.0 }, files));
        assert_eq!(points[1].0, Amount { bytes: 72.0, blocks: 3.0 });
    }

    #[test]
    fn a_file_that_is_not_dhats_or_is_empty_is_an_error() {
        assert!(Heap::read("").is_err());
        assert!(Heap::read(r#"{"pps":[{"tb":1,"fs":[0]}],"ftbl":["[root]"]}"#).is_err());
        assert!(Heap::read(r#"{"pps":[],"ftbl":["[root]"]}"#).is_err());
    }
}
