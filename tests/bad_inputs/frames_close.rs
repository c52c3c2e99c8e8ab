//! Close frames with codes that may not be sent (RFC 6455 7.4) or with invalid payloads, and
//! sockets that are cut at every byte of a frame's header.

use crate::door::{ANSWER_MAX, all, stack};
use crate::frames::{Frame, check, of};
use crate::raw::{Socket, frame, header};

pub(crate) fn cases() -> Vec<Frame> {
    let mut cases = codes();
    cases.extend(payloads());
    cases.extend(cuts());
    cases
}

fn closing(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

fn codes() -> Vec<Frame> {
    [
        (0, "the lowest"),
        (1, "a small one"),
        (999, "the last below"),
        (1004, "reserved"),
        (1005, "no code, sent"),
        (1006, "a cut, sent"),
        (1015, "a TLS failure, sent"),
        (1016, "not given out"),
        (1100, "not given out either"),
        (2000, "of extensions"),
        (2999, "the last of extensions"),
        (5000, "the first above"),
        (65_535, "the highest"),
    ]
    .into_iter()
    .map(|(code, what)| of(format!("close with {code}: {what}"), closing(code, b""), 1002))
    .collect()
}

fn payloads() -> Vec<Frame> {
    let long = [b'x'; 124];
    vec![
        of("close with half a code", frame(0x88, &[3]), 1002),
        of("close with half a code that is zero", frame(0x88, &[0]), 1002),
        of("close with a reason of 124 bytes", closing(1000, &long), 1002),
        of("close with a bad code and a bad reason", closing(1005, b"\xff"), 1007),
        of("close with a reason of no UTF-8", closing(1000, b"\xff\xfe"), 1007),
        of("close with a reason cut inside a character", closing(1000, b"bye \xe2\x82"), 1007),
        of("close with a surrogate in its reason", closing(1000, b"\xed\xa0\x80"), 1007),
        of("close with a slash in two bytes", closing(3000, b"\xc0\xaf"), 1007),
        of(
            "close with a reason beyond the last character",
            closing(4000, b"\xf4\x90\x80\x80"),
            1007,
        ),
    ]
}

/// The client disconnects in the middle of a frame. No close frame is sent, TCP just ends.
fn cuts() -> Vec<Frame> {
    let mut cases = Vec::new();
    for (name, header) in [
        ("a short frame", header(0x81, 9, 0)),
        ("a frame of 200 bytes", header(0x81, 200, 2)),
        ("a ping", header(0x89, 9, 0)),
    ] {
        for count in 1..=header.len() {
            let cut = &header[..count];
            cases.push(of(format!("{name} cut after {count} bytes of its header"), cut, 1006));
        }
    }
    let hello = frame(0x81, br#"{"type":"hello","ticket":"t"}"#);
    cases.extend([
        of("nothing, and the end", "", 1006),
        of("a hello cut after its first byte", &hello[..7], 1006),
        of("a hello cut in the middle", &hello[..20], 1006),
        of("a hello cut before its last byte", &hello[..hello.len() - 1], 1006),
        of("a message cut between its fragments", frame(0x01, b"{"), 1006),
        of("a message cut inside a character", frame(0x01, b"\xe2\x82"), 1006),
        of(
            "a ping between fragments, and the end",
            [frame(0x01, b"{"), frame(0x89, b"")].concat(),
            1006,
        ),
    ]);
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_close_frames_and_cut_sockets_end_the_session() {
    let cluster = stack(1).await;
    let url = cluster.nodes()[0].url.clone();
    let (cut, closed): (Vec<Frame>, Vec<Frame>) =
        cases().into_iter().partition(|case| case.code == 1006);
    let closed = closed.into_iter().enumerate().collect();
    all(closed, async |(n, case): (usize, Frame)| {
        check(Socket::open(&url).await?, &case, "before hello").await?;
        check(Socket::ready(&cluster, &format!("u{n}")).await?, &case, "after ready").await
    })
    .await;
    all(cut, async |case| {
        let mut socket = Socket::open(&url).await?;
        socket.send(&case.bytes).await;
        socket.half_close().await;
        match socket.close(ANSWER_MAX).await {
            Some(1006) => Ok(()),
            other => Err(format!("  {}: {other:?}", case.name)),
        }
    })
    .await;
    let health = url.replace("ws://", "http://").replace("/socket", "/healthz");
    tests::eventually("the node forgets them all", tests::SOON, async || {
        let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let answer = client::exchange(&health, request, tests::SOON).await.unwrap();
        String::from_utf8_lossy(&answer).contains(r#""connections":0"#)
    })
    .await;
}
