//! Unusual but valid frames: no socket is closed because of them.

use tests::cluster::Cluster;

use crate::door::{ANSWER_MAX, all, stack};
use crate::raw::{Received, Socket, frame, header, text};

/// How to send a `hello`, in which `$T` is the ticket. Each piece is one write.
pub(crate) struct Good {
    name: &'static str,
    pieces: fn(&[u8]) -> Vec<Vec<u8>>,
    /// Pongs that arrive before `ready`.
    pongs: &'static [&'static [u8]],
}

/// A `hello` with an unknown cursor, which has UTF-8 characters of all lengths.
const HELLO: &str = r#"{"type":"hello","cursor":"né€😀","ticket":"$T"}"#;

fn fragments(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let last = pieces.len() - 1;
    let head = |n: usize| u8::from(n == 0) | if n == last { 0x80 } else { 0 };
    pieces.iter().enumerate().map(|(n, piece)| frame(head(n), piece)).collect()
}

fn halves(hello: &[u8], at: usize) -> Vec<Vec<u8>> {
    fragments(&[&hello[..at], &hello[at..]])
}

/// Where the cursor starts in [`HELLO`].
const CURSOR: usize = 26;

pub(crate) fn cases() -> Vec<Good> {
    [whole(), fragmented(), behind(), between()].into_iter().flatten().collect()
}

fn good(
    name: &'static str,
    pieces: fn(&[u8]) -> Vec<Vec<u8>>,
    pongs: &'static [&'static [u8]],
) -> Good {
    Good { name, pieces, pongs }
}

fn whole() -> Vec<Good> {
    vec![
        good("in one frame", |hello| vec![text(hello)], &[]),
        good("byte by byte", |hello| text(hello).chunks(1).map(<[u8]>::to_vec).collect(), &[]),
        good(
            "its header byte by byte",
            |hello| {
                let whole = text(hello);
                let (header, rest) = whole.split_at(8);
                header.chunks(1).chain([rest]).map(<[u8]>::to_vec).collect()
            },
            &[],
        ),
        good("with a mask", |hello| vec![masked(hello, [1, 2, 3, 0xff])], &[]),
        good(
            "with 16 KiB of white space",
            |hello| vec![text(&[hello, &vec![b' '; 16_384 - hello.len()]].concat())],
            &[],
        ),
        good(
            "as long as two bytes of length need",
            |hello| {
                let whole = [hello, &[b' '; 300]].concat();
                vec![header(0x81, whole.len() as u64, 2), whole]
            },
            &[],
        ),
    ]
}

fn fragmented() -> Vec<Good> {
    vec![
        good("in two fragments", |hello| halves(hello, 9), &[]),
        good("in two fragments, both in one write", |hello| vec![halves(hello, 9).concat()], &[]),
        good(
            "in 15 fragments",
            |hello| fragments(&hello.chunks(hello.len() / 14).collect::<Vec<_>>()),
            &[],
        ),
        good("with an empty first fragment", |hello| halves(hello, 0), &[]),
        good("with an empty last fragment", |hello| halves(hello, hello.len()), &[]),
        good(
            "with empty fragments between",
            |hello| fragments(&[&hello[..5], b"", b"", &hello[5..]]),
            &[],
        ),
        good("split inside a character of two bytes", |hello| halves(hello, CURSOR + 2), &[]),
        good("split inside a character of three bytes", |hello| halves(hello, CURSOR + 4), &[]),
        good("split inside a character of four bytes", |hello| halves(hello, CURSOR + 8), &[]),
        good(
            "a character of four bytes in four fragments",
            |hello| {
                let (front, back) = hello.split_at(CURSOR + 7);
                fragments(&[front, &back[..1], &back[1..2], &back[2..]])
            },
            &[],
        ),
    ]
}

/// Control frames before the `hello`.
fn behind() -> Vec<Good> {
    vec![
        good("after a ping", |hello| vec![frame(0x89, b"1"), text(hello)], &[b"1"]),
        good(
            "after a ping in the same write",
            |hello| vec![[frame(0x89, b"1"), text(hello)].concat()],
            &[b"1"],
        ),
        good("after an empty ping", |hello| vec![frame(0x89, b""), text(hello)], &[b""]),
        good(
            "after a ping of 125 bytes",
            |hello| vec![frame(0x89, &[b'p'; 125]), text(hello)],
            &[&[b'p'; 125]],
        ),
        good(
            "after a ping that is no UTF-8",
            |hello| vec![frame(0x89, b"\xff\0"), text(hello)],
            &[b"\xff\0"],
        ),
        good(
            "after a pong that answers no ping",
            |hello| vec![frame(0x8a, b"x"), text(hello)],
            &[],
        ),
        good("after a pong of 125 bytes", |hello| vec![frame(0x8a, &[0; 125]), text(hello)], &[]),
        good(
            "after 18 pongs",
            |hello| (0..18).map(|_| frame(0x8a, b"")).chain([text(hello)]).collect(),
            &[],
        ),
    ]
}

/// Control frames between the fragments of a `hello`.
fn between() -> Vec<Good> {
    vec![
        good(
            "a ping between fragments",
            |hello| interleaved(hello, &[frame(0x89, b"in")]),
            &[b"in"],
        ),
        good("a pong between fragments", |hello| interleaved(hello, &[frame(0x8a, b"in")]), &[]),
        good(
            "five pings between fragments",
            |hello| interleaved(hello, &(0..5).map(|n| frame(0x89, &[n])).collect::<Vec<_>>()),
            &[&[0], &[1], &[2], &[3], &[4]],
        ),
        good(
            "a ping between fragments, inside a character",
            |hello| {
                let [first, last] = <[Vec<u8>; 2]>::try_from(halves(hello, CURSOR + 7)).unwrap();
                vec![first, frame(0x89, b"in"), last]
            },
            &[b"in"],
        ),
    ]
}

fn interleaved(hello: &[u8], between: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let [first, last] = <[Vec<u8>; 2]>::try_from(halves(hello, 9)).unwrap();
    [&[first][..], between, &[last]].concat()
}

fn masked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut bytes = frame(0x81, payload);
    let start = bytes.len() - payload.len();
    bytes[start - 4..start].copy_from_slice(&mask);
    for (byte, mask) in bytes[start..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_but_valid_frames_are_accepted() {
    assert_eq!(HELLO.find('é').unwrap(), CURSOR + 1);
    let cluster = stack(1).await;
    let cases: Vec<(usize, Good)> = cases().into_iter().enumerate().collect();
    all(cases, async |(n, case)| {
        hello(&cluster, n, &case).await.map_err(|error| format!("  {}: {error}", case.name))
    })
    .await;
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    all(codes.to_vec(), async |code: u16| {
        for reason in [&b""[..], b"bye", &[b'x'; 123]] {
            let mut socket = Socket::ready(&cluster, &format!("c{code}")).await?;
            socket.send(&frame(0x88, &[&code.to_be_bytes(), reason].concat())).await;
            let echoed = socket.close(ANSWER_MAX).await;
            if echoed != Some(code) {
                return Err(format!("  close with {code}: {echoed:?}"));
            }
        }
        Ok(())
    })
    .await;
    let mut bare = Socket::ready(&cluster, "bare").await.unwrap();
    bare.send(&frame(0x88, b"")).await;
    assert_eq!(bare.close(ANSWER_MAX).await, Some(1005), "an empty close is echoed as it came");
}

async fn hello(cluster: &Cluster, n: usize, case: &Good) -> Result<(), String> {
    let api = cluster.api(&format!("g{n}"));
    let target = api.connect(None).await.map_err(|error| error.to_string())?.target;
    let mut socket = Socket::open(&target.url).await?;
    for piece in (case.pieces)(HELLO.replace("$T", &target.ticket).as_bytes()) {
        socket.send(&piece).await;
    }
    for pong in case.pongs {
        let received = socket.next(ANSWER_MAX).await;
        if received != Received::Frame(10, pong.to_vec()) {
            return Err(format!("no pong, but {received:?}"));
        }
    }
    match socket.next(ANSWER_MAX).await {
        Received::Frame(1, frame)
            if String::from_utf8_lossy(&frame).contains(r#""resumed":false"#) => {}
        other => return Err(format!("no ready, but {other:?}")),
    }
    socket.lives().await.map_err(|error| format!("after its ready: {error}"))
}
