//! What a client starts and never finishes ends by a timeout.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::door::{ANSWER_MAX, all, stack};
use crate::raw::{Socket, frame, header, text};

/// What is sent, and with which code and after what time the socket ends.
struct Slow {
    name: &'static str,
    is_ready: bool,
    first: Vec<u8>,
    /// What is sent every second in the meantime.
    every_second: Vec<u8>,
    code: u16,
    after: Duration,
}

fn cases() -> Vec<Slow> {
    let hello = |name, first: &[u8], every_second: &[u8]| Slow {
        name,
        is_ready: false,
        first: first.to_vec(),
        every_second: every_second.to_vec(),
        code: 4408,
        after: Duration::from_secs(5),
    };
    let begun = |name, first: Vec<u8>, every_second: &[u8]| Slow {
        name,
        is_ready: true,
        first,
        every_second: every_second.to_vec(),
        code: 1002,
        after: Duration::from_secs(10),
    };
    let ping = frame(0x89, b"");
    let started = text(&[b'x'; 100]);
    vec![
        hello("silence", b"", b""),
        hello("pings and no hello", b"", &ping),
        hello("half a hello", &text(br#"{"type":"hello"}"#)[..15], b""),
        hello("a hello a byte a second", &header(0x81, 100, 0), b"{"),
        hello("a hello in fragments that never end", &frame(0x01, b"{"), &frame(0x00, b" ")),
        begun("the first byte of a frame", started[..1].to_vec(), b""),
        begun("a frame without its mask", started[..2].to_vec(), b""),
        begun("a frame without its payload", started[..6].to_vec(), b""),
        begun("a frame that stops in its payload", started[..50].to_vec(), b""),
        begun("a frame a byte a second", started[..6].to_vec(), b"x"),
        begun("a ping that stops", ping[..3].to_vec(), b""),
        begun("a first fragment", frame(0x01, b"x"), b""),
        begun("a first fragment and an empty one a second", frame(0x01, b""), &frame(0x00, b"")),
        begun("a first fragment and a ping a second", frame(0x01, b"x"), &ping),
        begun(
            "a ping and the begin of a frame in one write",
            [&ping[..], &started[..3]].concat(),
            b"",
        ),
    ]
}

pub(crate) fn names() -> Vec<String> {
    cases().into_iter().map(|case| case.name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_input_ends_at_its_deadline() {
    let cluster = stack(1).await;
    let url = cluster.nodes()[0].url.clone();
    let cases: Vec<(usize, Slow)> = cases().into_iter().enumerate().collect();
    all(cases, async |(n, case)| {
        // The node's clock starts with the socket, or with what is started on it: after this one.
        let mut begun = Instant::now();
        let mut socket = if case.is_ready {
            Socket::ready(&cluster, &format!("u{n}")).await?
        } else {
            Socket::open(&url).await?
        };
        if case.is_ready {
            begun = Instant::now();
        }
        socket.send(&case.first).await;
        loop {
            if let Some(code) = socket.close(Duration::from_secs(1)).await {
                let took = begun.elapsed();
                // The node's clock counts milliseconds, and this one less.
                let after = case.after.saturating_sub(Duration::from_millis(2));
                return if code == case.code && (after..ANSWER_MAX).contains(&took) {
                    Ok(())
                } else {
                    Err(format!("  {}: {code} after {took:?}", case.name))
                };
            }
            if begun.elapsed() > ANSWER_MAX {
                return Err(format!("  {}: it lives on", case.name));
            }
            socket.send(&case.every_second).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_frame_that_is_finished_in_time_is_accepted() {
    let cluster = stack(1).await;
    let mut socket = Socket::ready(&cluster, "alice").await.unwrap();
    // Together they take longer than one unfinished frame may, but no frame is unfinished for long.
    for byte in [&frame(0x89, b"x")[..]].repeat(6) {
        let (one, other) = byte.split_at(3);
        socket.send(one).await;
        sleep(Duration::from_secs(2)).await;
        socket.send(other).await;
        // A tick, which is a text frame, may arrive first.
        let answer = loop {
            match socket.next(ANSWER_MAX).await {
                crate::raw::Received::Frame(1, _) => {}
                other => break other,
            }
        };
        assert!(matches!(answer, crate::raw::Received::Frame(10, payload) if payload == b"x"));
    }
}
