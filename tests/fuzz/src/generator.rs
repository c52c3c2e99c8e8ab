//! Inputs with a structure that random bytes would rarely hit. Each seed gives one input.

use memory::SeededRng;

use crate::client_frames::{TICKET, op};
use crate::rest_bodies::PATHS;

/// What a client sends on a socket.
#[must_use]
pub fn frames(seed: u64) -> Vec<u8> {
    let rng = &SeededRng::new(seed);
    let mut input = vec![if rng.one_in(8) { rng.byte() } else { rng.byte() & 1 }];
    for _ in 0..rng.below(8) {
        match rng.below(8) {
            0 => {
                let count = rng.below(64);
                input.push(op::READ | count as u8);
                input.extend((0..=count).map(|_| rng.byte()));
            }
            1 => input.push(op::WAIT | rng.below(64) as u8),
            2 => {
                let cursor = rng.one_of(CURSORS);
                input.push(op::HELLO | cursor.len().min(63) as u8);
                input.extend(cursor.as_bytes().iter().take(63));
            }
            3 => {
                // A whole frame that arrives in two reads.
                let text = rng.one_of(TEXTS).as_bytes();
                let whole = crate::client_frames::frame(rng.one_of(HEADS), text);
                let cut = 1 + rng.below(whole.len() as u64 - 1) as usize;
                for piece in [&whole[..cut], &whole[cut..]].concat().chunks(64) {
                    input.push(op::READ | (piece.len() - 1) as u8);
                    input.extend(piece);
                }
            }
            _ => {
                let head = if rng.one_in(16) { rng.byte() } else { rng.one_of(HEADS) };
                let payload = rng.one_of(TEXTS).as_bytes();
                let payload = if rng.one_in(6) { b"\xf0\x9f\x98".as_slice() } else { payload };
                let times = if rng.one_in(6) { rng.below(64) as u8 } else { 0 };
                input.extend([op::FRAME | times, head, payload.len() as u8]);
                input.extend(payload);
            }
        }
    }
    input
}

/// A client's request to the functions.
#[must_use]
pub fn request(seed: u64) -> Vec<u8> {
    let rng = &SeededRng::new(seed);
    let (method, path, query, body) = match rng.below(8) {
        0..3 => (0, 0, String::new(), message(rng)),
        3 => (0, 2, String::new(), channel(rng)),
        4 => (1, 1, query(rng), String::new()),
        5 => (1, rng.one_of(&[2, 4, 8, 11]), query(rng), String::new()),
        6 => (rng.one_of(&[2, 3]), rng.one_of(&[5, 6, 7]), String::new(), String::new()),
        _ => {
            let path = rng.below(PATHS.len() as u64) as u8;
            (rng.below(8) as u8, path, query(rng), message(rng))
        }
    };
    let token = if rng.one_in(6) { rng.byte() } else { rng.one_of(&[0, 0, 1, 2, 3]) };
    let media = if rng.one_in(8) { rng.byte() } else { 0 };
    let own = rng.one_of(SEGMENTS);
    let mut input = vec![method, path, token, media, own.len() as u8, query.len().min(255) as u8];
    input.extend(own.as_bytes());
    input.extend(query.as_bytes().iter().take(255));
    let mut body = body.into_bytes();
    if rng.one_in(10) && !body.is_empty() {
        let at = rng.below(body.len() as u64) as usize;
        body[at] = rng.byte();
    }
    input.extend(body);
    input
}

fn message(rng: &SeededRng) -> String {
    let mut fields = Vec::new();
    if !rng.one_in(20) {
        fields.push(format!(r#""channel_id":{}"#, rng.one_of(VALUES_OF_CHANNEL)));
    }
    if !rng.one_in(20) {
        fields.push(format!(r#""message":{}"#, rng.one_of(VALUES)));
    }
    for name in ["id", "after"] {
        if rng.one_in(3) {
            fields.push(format!(r#""{name}":{}"#, rng.one_of(VALUES_OF_ID)));
        }
    }
    if rng.one_in(12) {
        fields.push(format!(r#"{}:{}"#, rng.one_of(NAMES), rng.one_of(VALUES)));
    }
    format!("{{{}}}{}", fields.join(","), if rng.one_in(30) { " x" } else { "" })
}

fn channel(rng: &SeededRng) -> String {
    let mut fields = vec![format!(r#""type":{}"#, rng.one_of(TYPES))];
    if rng.one_in(2) {
        fields.push(format!(r#""name":{}"#, rng.one_of(VALUES)));
    }
    if !rng.one_in(12) {
        fields.push(format!(r#""members":{}"#, rng.one_of(VALUES_OF_MEMBERS)));
    }
    if rng.one_in(8) {
        fields.push(format!(r#""contract":{}"#, rng.one_of(VALUES)));
    }
    format!("{{{}}}", fields.join(","))
}

fn query(rng: &SeededRng) -> String {
    let mut pairs = Vec::new();
    if !rng.one_in(6) {
        pairs.push("channel_id=$C".to_owned());
    }
    for _ in 0..rng.below(4) {
        pairs.push(format!("{}={}", rng.one_of(PARAMETERS), rng.one_of(VALUES_OF_PARAMETER)));
    }
    pairs.join("&")
}

/// The draws that this file needs.
trait Draw {
    fn byte(&self) -> u8;
    fn one_of<T: Copy>(&self, among: &[T]) -> T;
}

impl Draw for SeededRng {
    fn byte(&self) -> u8 {
        self.number() as u8
    }

    fn one_of<T: Copy>(&self, among: &[T]) -> T {
        among[self.index(among.len())]
    }
}

const HEADS: &[u8] = &[0x81, 0x81, 0x01, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x82, 0x09, 0xc1, 0x83];
const TEXTS: &[&str] = &[
    "",
    "x",
    "{}",
    r#"{"type":"hello","ticket":"good"}"#,
    r#"{"type":"hello","ticket":"bad"}"#,
    r#"{"type":"hello"}"#,
    r#"{"type":"hello","ticket":"good","cursor":null}"#,
    r#"{"type":"hello","ticket":"good","ticket":"good"}"#,
    "\u{3}\u{e8}bye",
    "\u{10ffff}",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
const CURSORS: &[&str] = &["", "1-1-0000abcd", "0-0", TICKET, "\u{0}", "\"\\"];
const SEGMENTS: &[&str] =
    &["$C", "$D", "bob", "alice", "root", "", "x", "a%2Fb", "%00", "%zz", "C0", "messages"];
const NAMES: &[&str] = &[r#""extra""#, r#""message""#, r#""\u0000""#, r#""<b>""#, r#""id""#];
const TYPES: &[&str] = &[r#""GROUP_CHANNEL""#, r#""DM""#, r#""X""#, "7", "null"];
const VALUES: &[&str] = &[
    r#""hi""#,
    r#""""#,
    r#"" \n\t ""#,
    r#""\ud83d\ude00""#,
    r#""\ud800""#,
    r#""\u0000""#,
    r#""persist_first""#,
    "7",
    "1e999",
    "-0.0",
    "null",
    "true",
    "[]",
    "[[[[[[[[[]]]]]]]]]",
    r#"{"a":{"a":1,"a":2}}"#,
];
const VALUES_OF_CHANNEL: &[&str] =
    &[r#""$C""#, r#""$C""#, r#""$C""#, r#""$D""#, r#""general""#, r#""""#, "7", "null"];
/// The first has the workspace's first moment; the others are before, after and far away.
const VALUES_OF_ID: &[&str] = &[
    r#""01KDVSQNC0ZZZZZZZZZZZZZZZZ""#,
    r#""01KDVSQNC0AAAAAAAAAAAAAAAA""#,
    r#""01KDT0000000000000000000ZZ""#,
    r#""01KDVSZZZZZZZZZZZZZZZZZZZZ""#,
    r#""7ZZZZZZZZZZZZZZZZZZZZZZZZZ""#,
    r#""8ZZZZZZZZZZZZZZZZZZZZZZZZZ""#,
    r#""00000000000000000000000000""#,
    r#""x""#,
    "7",
];
const VALUES_OF_MEMBERS: &[&str] = &[
    "[]",
    r#"["bob"]"#,
    r#"["alice"]"#,
    r#"["bob","carol"]"#,
    r#"["bob","bob"]"#,
    r#"["a b"]"#,
    "[7]",
    "{}",
    r#""bob""#,
];
const PARAMETERS: &[&str] =
    &["channel_id", "limit", "offset", "direction", "failed", "x", "l%69mit"];
const VALUES_OF_PARAMETER: &[&str] = &[
    "$C",
    "1",
    "100",
    "0",
    "101",
    "-1",
    "1e2",
    "newer",
    "older",
    "both",
    "N1",
    "N9",
    "",
    "%00",
    "%zz",
    "%C0%AF",
    "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
    "00000000000000000000000000",
    "bob",
    "a+b",
];
