//! Text that is not UTF-8, in the classes of the Autobahn test suite (part 6): in one frame, and in
//! fragments that end within a character.

use crate::door::{all, stack};
use crate::frames::{Frame, check, of};
use crate::raw::{Socket, frame, text};

pub(crate) fn cases() -> Vec<Frame> {
    let mut cases = Vec::new();
    for (name, bytes) in CLASSES {
        cases.push(of(format!("text: {name}"), text(bytes), 1007));
    }
    // Valid text before and after it changes nothing.
    for (name, bytes) in &CLASSES[..4] {
        let inside = text(&[b"{\"type\":\"", *bytes, b"\"}"].concat());
        cases.push(of(format!("JSON: {name}"), inside, 1007));
    }
    for (name, first, second) in FRAGMENTS {
        let message = [frame(0x01, first), frame(0x80, second)].concat();
        cases.push(of(format!("fragments: {name}"), message, 1007));
    }
    let ping = [frame(0x01, b"\xc3"), frame(0x89, b"\xa9"), frame(0x80, b"(")].concat();
    cases.push(of("fragments: a ping with the byte that is missing", ping, 1007));
    let three = [frame(0x01, b"\xf0\x9f"), frame(0x00, b""), frame(0x80, b"\x98")].concat();
    cases.push(of("fragments: three, and the last byte never comes", three, 1007));
    cases
}

const CLASSES: [(&str, &[u8]); 36] = [
    ("a continuation", b"\x80"),
    ("the last continuation", b"\xbf"),
    ("two continuations", b"\x80\xbf"),
    ("a byte of no character", b"\xff"),
    ("another byte of no character", b"\xfe"),
    ("four bytes of no character", b"\xfe\xfe\xff\xff"),
    ("the start of two bytes, then a letter", b"\xc3("),
    ("the start of three bytes, then a letter", b"\xe2("),
    ("the start of four bytes, then a letter", b"\xf0("),
    ("the start of two bytes, then the end", b"\xc3"),
    ("the start of three bytes, then the end", b"\xe2"),
    ("two of three bytes, then the end", b"\xe2\x82"),
    ("the start of four bytes, then the end", b"\xf0"),
    ("two of four bytes, then the end", b"\xf0\x9f"),
    ("three of four bytes, then the end", b"\xf0\x9f\x98"),
    ("two of three bytes, then a letter", b"\xe2\x82x"),
    ("three of four bytes, then a letter", b"\xf0\x9f\x98x"),
    ("a start after a start", b"\xe2\xe2\x82\xac"),
    ("a slash in two bytes", b"\xc0\xaf"),
    ("a slash in three bytes", b"\xe0\x80\xaf"),
    ("a slash in four bytes", b"\xf0\x80\x80\xaf"),
    ("a NUL in two bytes", b"\xc0\x80"),
    ("a NUL in three bytes", b"\xe0\x80\x80"),
    ("the highest in two bytes that needs one", b"\xc1\xbf"),
    ("the highest in three bytes that needs two", b"\xe0\x9f\xbf"),
    ("the highest in four bytes that needs three", b"\xf0\x8f\xbf\xbf"),
    ("a character of five bytes", b"\xf8\x88\x80\x80\x80"),
    ("a character of six bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ("the first high surrogate", b"\xed\xa0\x80"),
    ("the last high surrogate", b"\xed\xaf\xbf"),
    ("the first low surrogate", b"\xed\xb0\x80"),
    ("the last low surrogate", b"\xed\xbf\xbf"),
    ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("the first beyond the last character", b"\xf4\x90\x80\x80"),
    ("far beyond the last character", b"\xf7\xbf\xbf\xbf"),
    ("letters around a bad byte", b"hello\xffworld"),
];

const FRAGMENTS: [(&str, &[u8], &[u8]); 10] = [
    ("a character that continues with a letter", b"\xc3", b"("),
    ("a character that never continues", b"\xe2\x82", b""),
    ("a continuation at the second's begin", b"x", b"\x82x"),
    ("a surrogate over both", b"\xed\xa0", b"\x80"),
    ("a slash in two bytes over both", b"\xc0", b"\xaf"),
    ("a character of four bytes with its third missing", b"\xf0\x9f", b"x\x80"),
    ("bad in the first", b"\xff", b"x"),
    ("bad in the second", b"x", b"\xff"),
    ("the end inside a character, first fragment empty", b"", b"\xf0\x9f\x98"),
    ("beyond the last character over both", b"\xf4", b"\x90\x80\x80"),
];

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_not_utf_8_closes_the_socket() {
    let cluster = stack(1).await;
    let url = cluster.nodes()[0].url.clone();
    let cases: Vec<(usize, Frame)> = cases().into_iter().enumerate().collect();
    all(cases, async |(n, case)| {
        check(Socket::open(&url).await?, &case, "before hello").await?;
        if n % 4 == 0 {
            let after = Socket::ready(&cluster, &format!("u{n}")).await?;
            check(after, &case, "after ready").await?;
        }
        Ok(())
    })
    .await;
}
