//! What a client may not send on a socket, and the close code it gets for it.

use std::time::Duration;

use client::{RawSocket, Received};
use protocol::frame::ServerFrame;
use tests::cluster::{Cluster, Environment};
use tests::{SOON, eventually};

/// A masked client frame with an all-zero mask (RFC 6455 5.2): any first byte, any payload.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

async fn before_hello(cluster: &Cluster) -> RawSocket {
    let url = cluster.nodes()[0].url.clone();
    RawSocket::open(&url, &[], SOON).await.unwrap()
}

async fn after_ready(cluster: &Cluster) -> RawSocket {
    let target = cluster.api("alice").connect(None).await.unwrap().target;
    let mut socket = RawSocket::open(&target.url, &[], SOON).await.unwrap();
    socket.hello(&target.ticket, None).await.unwrap();
    let ready = socket.frame_within(SOON, |frame| matches!(frame, ServerFrame::Ready(_))).await;
    assert!(ready.is_some());
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_frame_is_a_hello_or_the_end() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let nested = format!("{}{}", "[".repeat(9), "]".repeat(9));
    let hellos: Vec<(&str, u16)> = vec![
        ("", 4400),
        ("x", 4400),
        ("null", 4400),
        ("[]", 4400),
        ("{}", 4400),
        (&nested, 4400),
        (r#"{"type":"hello""#, 4400),
        (r#"{"type":"hello","ticket":"t"} {}"#, 4400),
        (r#"{"type":"ping"}"#, 4400),
        (r#"{"type":"HELLO","ticket":"t"}"#, 4400),
        (r#"{"type":7,"ticket":"t"}"#, 4400),
        (r#"{"type":"hello","ticket":7}"#, 4400),
        (r#"{"type":"hello","ticket":null}"#, 4400),
        (r#"{"type":"hello","ticket":"t","cursor":7}"#, 4400),
        (r#"{"type":"hello","ticket":"t","cursor":null}"#, 4400),
        (r#"{"type":"hello","ticket":"t","cursor":["1"]}"#, 4400),
        (r#"{"type":"hello","ticket":"t","extra":true}"#, 4400),
        (r#"{"type":"hello","type":"hello","ticket":"t"}"#, 4400),
        (r#"{"type":"hello","ticket":"\ud800"}"#, 4400),
        (r#"{"type":"hello"}"#, 4401),
        (r#"{"type":"hello","ticket":""}"#, 4401),
        (r#"{"type":"hello","ticket":"t"}"#, 4401),
        (r#"{"type":"hello","ticket":"t","cursor":"1-1-ABCD"}"#, 4401),
    ];
    for (hello, code) in hellos {
        let mut socket = before_hello(&cluster).await;
        socket.send_bytes(&text(hello)).await.unwrap();
        assert_eq!(socket.close_within(SOON).await, Some(code), "{hello}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_are_told_apart_before_and_after_ready() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let big = "x".repeat(16 * 1024 + 1);
    let declared: Vec<u8> = [&[0x81, 0xff][..], &(1_u64 << 62).to_be_bytes(), &[0; 4]].concat();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked", vec![0x81, 0x02, b'h', b'i'], 1002),
        ("reserved bit 1", frame(0xc1, b"x"), 1002),
        ("reserved bit 2", frame(0xa1, b"x"), 1002),
        ("reserved bit 3", frame(0x91, b"x"), 1002),
        ("reserved opcode 3", frame(0x83, b"x"), 1002),
        ("reserved opcode 11", frame(0x8b, b"x"), 1002),
        ("orphan continuation", frame(0x80, b"x"), 1002),
        ("nested message", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("long ping", frame(0x89, &[b'x'; 126]), 1002),
        ("fragmented ping", frame(0x09, b"x"), 1002),
        ("close of one byte", frame(0x88, &[3]), 1002),
        ("binary", frame(0x82, b"x"), 1003),
        ("bad UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        ("bad UTF-8 over two frames", [frame(0x01, b"\xc3"), frame(0x80, b"\x28")].concat(), 1007),
        ("over 16 KiB", text(&big), 1009),
        ("declared 2^62", declared, 1009),
        (
            "fragments over 16 KiB",
            [frame(0x01, &big.as_bytes()[..9_000]), frame(0x80, &big.as_bytes()[..9_000])].concat(),
            1009,
        ),
    ];
    for (name, bytes, code) in cases {
        let mut socket = before_hello(&cluster).await;
        socket.send_bytes(&bytes).await.unwrap();
        assert_eq!(socket.close_within(SOON).await, Some(code), "{name}, before hello");
        let mut socket = after_ready(&cluster).await;
        socket.send_bytes(&bytes).await.unwrap();
        assert_eq!(socket.close_within(SOON).await, Some(code), "{name}, after ready");
    }
    for after in ["x", "{}", r#"{"type":"hello","ticket":"t"}"#, r#"{"type":"ping"}"#] {
        let mut socket = after_ready(&cluster).await;
        socket.send_bytes(&text(after)).await.unwrap();
        assert_eq!(socket.close_within(SOON).await, Some(4400), "{after}, after ready");
    }
    // The node is none the worse for any of it.
    after_ready(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_and_a_close_is_echoed() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let mut socket = after_ready(&cluster).await;
    socket.send_bytes(&frame(0x89, b"are you there")).await.unwrap();
    assert_eq!(socket.receive_within(SOON).await, Some(Received::Pong(b"are you there".to_vec())));
    socket.send_bytes(&frame(0x88, &1000_u16.to_be_bytes())).await.unwrap();
    assert_eq!(socket.close_within(SOON).await, Some(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_frames_or_bytes_a_second_close_with_4429() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let mut frames = after_ready(&cluster).await;
    let pings: Vec<u8> = (0..25).flat_map(|_| frame(0x89, b"")).collect();
    frames.send_bytes(&pings).await.unwrap();
    assert_eq!(frames.close_within(SOON).await, Some(4429), "25 pings");
    let mut fragments = after_ready(&cluster).await;
    let begun = std::iter::once(frame(0x01, b"")).chain((0..25).map(|_| frame(0x00, b"")));
    fragments.send_bytes(&begun.flatten().collect::<Vec<u8>>()).await.unwrap();
    assert_eq!(fragments.close_within(SOON).await, Some(4429), "26 fragments are 26 frames");
    let mut bytes = after_ready(&cluster).await;
    // Empty continuations never finish a message: only a meter below the parser sees them.
    let flood: Vec<u8> = std::iter::once(frame(0x01, b""))
        .chain((0..12_000).map(|_| frame(0x00, b"")))
        .flatten()
        .collect();
    let _may_be_cut = bytes.send_bytes(&flood).await.is_err();
    assert_eq!(bytes.close_within(SOON).await, Some(4429), "72 KB of nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hello_a_socket_ends_after_five_seconds() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let mut silent = before_hello(&cluster).await;
    let mut pinging = before_hello(&cluster).await;
    pinging.send_bytes(&frame(0x89, b"")).await.unwrap();
    assert_eq!(silent.close_within(SOON).await, Some(4408));
    assert_eq!(pinging.close_within(SOON).await, Some(4408));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_is_forgotten() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
    let health = cluster.nodes()[0].url.replace("ws://", "http://").replace("/socket", "/healthz");
    let connections = async || {
        let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let answer = client::exchange(&health, request, SOON).await.unwrap();
        String::from_utf8_lossy(&answer).contains(r#""connections":0"#)
    };
    let socket = after_ready(&cluster).await;
    assert!(!connections().await);
    drop(socket);
    eventually("the node forgets it", Duration::from_secs(5), connections).await;
}
