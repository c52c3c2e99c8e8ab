//! Frames that break RFC 6455 or this protocol's limits, before the `hello` and after `ready`.
//!
//! The classes are those of the Autobahn test suite (2 control frames, 3 reserved bits, 4 opcodes,
//! 5 fragmentation, 9 limits). Every case ends with the same code in both phases; an attached client
//! may only send more.

use crate::door::{ANSWER_MAX, all, stack};
use crate::raw::{Socket, frame, header, text};

/// Bytes after the upgrade, and the close code that answers them.
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) code: u16,
}

pub(crate) fn of(name: impl Into<String>, bytes: impl Into<Vec<u8>>, code: u16) -> Frame {
    Frame { name: name.into(), bytes: bytes.into(), code }
}

/// How much a client may send.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a frame, and of a message.
    bytes: usize,
    /// Bytes a second.
    bytes_per_second: usize,
    /// Frames a second.
    frames_per_second: usize,
}

/// Before its `hello`.
pub(crate) const BEFORE: Limits =
    Limits { bytes: 16 * 1024, bytes_per_second: 64 * 1024, frames_per_second: 20 };
/// After `ready`.
const AFTER: Limits =
    Limits { bytes: 128 * 1024, bytes_per_second: 256 * 1024, frames_per_second: 40 };

pub(crate) fn cases(limits: Limits) -> Vec<Frame> {
    let mut cases = opcodes();
    cases.extend(reserved_bits());
    cases.extend(masks());
    cases.extend(control());
    cases.extend(fragments());
    cases.extend(lengths(limits));
    cases.extend(sizes(limits));
    cases.extend(rates(limits));
    cases
}

fn opcodes() -> Vec<Frame> {
    let mut cases = Vec::new();
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        cases.push(of(format!("reserved opcode {opcode}"), frame(0x80 | opcode, b"x"), 1002));
    }
    cases.extend([
        of("a reserved opcode without a payload", frame(0x83, b""), 1002),
        of("a reserved opcode in fragments", frame(0x03, b"x"), 1002),
        of("a reserved control opcode of 126 bytes", frame(0x8b, &[0; 126]), 1002),
        of("a reserved opcode in a message", [frame(0x01, b"a"), frame(0x84, b"b")].concat(), 1002),
        of("a binary frame", frame(0x82, b"x"), 1003),
        of("an empty binary frame", frame(0x82, b""), 1003),
        of("a hello in a binary frame", frame(0x82, br#"{"type":"hello"}"#), 1003),
        of("a binary message in fragments", [frame(0x02, b"a"), frame(0x80, b"b")].concat(), 1003),
        of(
            "a binary message of empty fragments",
            [frame(0x02, b""), frame(0x80, b"")].concat(),
            1003,
        ),
    ]);
    cases
}

fn reserved_bits() -> Vec<Frame> {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        cases.push(of(
            format!("text with reserved bits {bits:03b}"),
            frame(0x81 | bits << 4, b"x"),
            1002,
        ));
    }
    for (name, opcode) in [("a ping", 0x89), ("a pong", 0x8a), ("a close", 0x88), ("binary", 0x82)]
    {
        cases.push(of(format!("{name} that is compressed"), frame(opcode | 0x40, b""), 1002));
    }
    let second = [frame(0x01, b"a"), frame(0xc0, b"b")].concat();
    cases.push(of("a fragment that is compressed", second, 1002));
    let first = [frame(0x41, b"a"), frame(0x80, b"b")].concat();
    cases.push(of("a message that is compressed", first, 1002));
    cases
}

fn masks() -> Vec<Frame> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("text", &b"\x81\x02hi"[..]),
        ("an empty text", b"\x81\x00"),
        ("a first fragment", b"\x01\x01a"),
        ("a binary frame", b"\x82\x01a"),
        ("a ping", b"\x89\x00"),
        ("a pong", b"\x8a\x01a"),
        ("a close", b"\x88\x02\x03\xe8"),
        ("an empty close", b"\x88\x00"),
        ("a text of 126 bytes", &[b"\x81\x7e\x00\x7e", &[b'x'; 126][..]].concat()),
    ] {
        cases.push(of(format!("{name} without a mask"), bytes, 1002));
    }
    // Two things are wrong. The length is reported first.
    let long = b"\x81\x7f\0\0\0\0\0\x10\0\0";
    cases.push(of("a text of 1 MiB without a mask", long.as_slice(), 1009));
    let second = [frame(0x01, b"a"), b"\x80\x01b".to_vec()].concat();
    cases.push(of("a second fragment without a mask", second, 1002));
    // UTF-8 is checked after unmasking: the first text becomes invalid, the second one valid.
    let masked: Vec<u8> = b"\x81\x82\xff\xff\xff\xff".iter().chain(b"hi").copied().collect();
    cases.push(of("letters whose mask makes them no UTF-8", masked, 1007));
    let hidden = [b"\x81\x82\xff\xff\xff\xff".to_vec(), vec![0x97, 0x96]].concat();
    cases.push(of("a word that is no JSON after a mask", hidden, 4400));
    cases
}

fn control() -> Vec<Frame> {
    let mut cases = Vec::new();
    for (name, opcode) in [("a close", 0x88), ("a ping", 0x89), ("a pong", 0x8a)] {
        cases.extend([
            of(format!("{name} of 126 bytes"), frame(opcode, &[b'x'; 126]), 1002),
            of(format!("{name} of 1 MiB"), header(opcode, 1 << 20, 8), 1009),
            of(format!("{name} that is a first fragment"), frame(opcode & 0x0f, b""), 1002),
        ]);
    }
    let rest = [frame(0x09, b"a"), frame(0x80, b"b")].concat();
    cases.push(of("a ping in two fragments", rest, 1002));
    let inside = [frame(0x01, b"a"), frame(0x89, &[b'x'; 126]), frame(0x80, b"b")].concat();
    cases.push(of("a ping of 126 bytes inside a message", inside, 1002));
    cases
}

fn fragments() -> Vec<Frame> {
    let (first, middle, last) = (frame(0x01, b"a"), frame(0x00, b"b"), frame(0x80, b"c"));
    let ping = frame(0x89, b"p");
    vec![
        of("a last fragment alone", last.clone(), 1002),
        of("a middle fragment alone", middle.clone(), 1002),
        of("an empty last fragment alone", frame(0x80, b""), 1002),
        of("an empty middle fragment alone", frame(0x00, b""), 1002),
        of("a last fragment after a ping", [&ping[..], &last].concat(), 1002),
        of("a last fragment after a pong", [&frame(0x8a, b"")[..], &last].concat(), 1002),
        of("a text inside a message", [&first[..], &text(b"x")].concat(), 1002),
        of("an empty text inside a message", [&first[..], &text(b"")].concat(), 1002),
        of("a first fragment inside a message", [&first[..], &first].concat(), 1002),
        of("a binary frame inside a message", [&first[..], &frame(0x82, b"x")].concat(), 1002),
        of("a text inside a binary message", [&frame(0x02, b"a")[..], &text(b"x")].concat(), 1002),
        of(
            "a text after a middle fragment and a ping",
            [&first[..], &middle, &ping, &text(b"x")].concat(),
            1002,
        ),
        of("a message in fragments that is no JSON", [&first[..], &middle, &last].concat(), 4400),
        of("an empty message in fragments", [frame(0x01, b""), frame(0x80, b"")].concat(), 4400),
    ]
}

/// Lengths in more bytes than necessary (RFC 6455 5.2), and with the highest bit set.
fn lengths(limits: Limits) -> Vec<Frame> {
    let mut cases = Vec::new();
    for (length, encoding) in [(0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (16_384, 8)] {
        let bytes = [header(0x81, length, encoding), vec![b'x'; length as usize]].concat();
        cases.push(of(format!("a length of {length} in {encoding} bytes"), bytes, 1002));
    }
    cases.push(of(
        "a ping's length of 4 in 2 bytes",
        [header(0x89, 4, 2), vec![0; 4]].concat(),
        1002,
    ));
    cases.push(of(
        "a close's length of 2 in 8 bytes",
        [header(0x88, 2, 8), vec![3, 232]].concat(),
        1002,
    ));
    for (name, length) in [
        ("2^63", 1 << 63),
        ("2^63 and one", (1 << 63) + 1),
        ("2^64 less one", u64::MAX),
        ("2^63 less one", i64::MAX as u64),
        ("2^62", 1 << 62),
        ("2^32", 1 << 32),
        ("2^31 less one", i32::MAX as u64),
        // A shorter length may not be written in eight bytes.
        ("too many", 65_536.max(limits.bytes as u64 + 1)),
    ] {
        cases.push(of(format!("{name} bytes announced"), header(0x81, length, 8), 1009));
    }
    cases
}

fn sizes(Limits { bytes: most, .. }: Limits) -> Vec<Frame> {
    let of_size = |first, bytes: usize| frame(first, &vec![b'x'; bytes]);
    let grown = |first: usize, rest: usize| [of_size(0x01, first), of_size(0x80, rest)].concat();
    let part = most / 16 + 1;
    let many = std::iter::once(of_size(0x01, part)).chain((0..15).map(|_| of_size(0x00, part)));
    vec![
        of("one byte too many", of_size(0x81, most + 1), 1009),
        of("a first fragment that is too long", of_size(0x01, most + 1), 1009),
        of("a binary frame that is too long", of_size(0x82, most + 1), 1009),
        of("two fragments that are over together", grown(most / 2 + 1, most / 2), 1009),
        of("a last byte that is over", grown(most, 1), 1009),
        of("16 fragments that are over together", many.flatten().collect::<Vec<u8>>(), 1009),
        of(
            "fragments and a ping that are over together",
            [of_size(0x01, most - 500), frame(0x89, b""), of_size(0x80, 1_000)].concat(),
            1009,
        ),
        // The largest sizes that are read: here, only the text is wrong.
        of("as many letters as may be", of_size(0x81, most), 4400),
        of("as many letters as may be in two fragments", grown(most - 1, 1), 4400),
        of("125 letters", of_size(0x81, 125), 4400),
        of("126 letters", of_size(0x81, 126), 4400),
    ]
}

/// Too many frames or bytes a second.
fn rates(limits: Limits) -> Vec<Frame> {
    let times = |count: usize, bytes: Vec<u8>| bytes.repeat(count);
    let after = |first: Vec<u8>, count, bytes| [first, times(count, bytes)].concat();
    let most = limits.frames_per_second;
    // A bucket fills while the bytes arrive.
    let over = most + most / 4;
    let mixed: Vec<u8> = (0..=over).flat_map(|n| frame(0x89 + n as u8 % 2, &[n as u8])).collect();
    let bytes = limits.bytes_per_second / 5;
    vec![
        of("too many pings", times(over, frame(0x89, b"")), 4429),
        of("too many pongs that answer no ping", times(over, frame(0x8a, b"x")), 4429),
        of("pings and pongs", mixed, 4429),
        of("long pings", times(over, frame(0x89, &[b'x'; 125])), 4429),
        of("empty fragments", after(frame(0x01, b""), over, frame(0x00, b"")), 4429),
        of("fragments of a byte", after(frame(0x01, b"x"), over, frame(0x00, b"x")), 4429),
        of(
            "fragments and pings",
            after(frame(0x01, b""), over / 2 + 1, [frame(0, b""), frame(0x89, b"")].concat()),
            4429,
        ),
        // Empty fragments never complete a message: only a meter below the parser counts them.
        of("very many empty fragments", after(frame(0x01, b""), bytes, frame(0x00, b"")), 4429),
        of("very many pings", times(bytes, frame(0x89, b"")), 4429),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_close_the_socket_before_and_after_ready() {
    let cluster = stack(1).await;
    let url = cluster.nodes()[0].url.clone();
    let numbered = cases(BEFORE).into_iter().zip(cases(AFTER)).enumerate();
    all(numbered.collect(), async |(n, (first, later))| {
        let before = Socket::open(&url).await?;
        check(before, &first, "before hello").await?;
        // A user per case, because a user's eleventh socket closes the first.
        let after = Socket::ready(&cluster, &format!("u{n}")).await?;
        check(after, &later, "after ready").await
    })
    .await;
    assert!(Socket::ready(&cluster, "alice").await.is_ok(), "the node is none the worse");
}

/// Sends a case's bytes, and compares the close code.
pub(crate) async fn check(mut socket: Socket, case: &Frame, phase: &str) -> Result<(), String> {
    socket.send(&case.bytes).await;
    let code = socket.close(ANSWER_MAX).await;
    if code == Some(case.code) {
        return Ok(());
    }
    Err(format!("  {}, {phase}: {code:?}, not {}", case.name, case.code))
}
