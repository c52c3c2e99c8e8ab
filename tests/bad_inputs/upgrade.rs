//! A node before the 101: it answers with a status, and a header if the protocol names one.

use std::time::Duration;

use client::{exchange, exchange_for};
use model::limits;

use crate::door::{ANSWER_MAX, Answer, all, stack};
use crate::raw::Socket;

/// A request for a socket, and its expected refusal.
pub(crate) struct Upgrade {
    pub(crate) name: String,
    bytes: Vec<u8>,
    /// 0 means that the connection is just closed.
    statuses: &'static [u16],
    header: Option<(&'static str, &'static str)>,
    within: Duration,
}

/// The headers of a valid request.
const HEADERS: [(&str, &str); 5] = [
    ("Host", "127.0.0.1"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn of(name: &str, bytes: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Upgrade {
    let (name, bytes) = (name.to_owned(), bytes.into());
    Upgrade { name, bytes, statuses, header: None, within: ANSWER_MAX }
}

/// A valid request with one header changed (removed by `None`), and with bytes after its head.
fn changed(
    name: &str,
    (header, values): (&str, &[&str]),
    behind: &[u8],
    status: &'static [u16],
) -> Upgrade {
    let mut request = "GET /socket HTTP/1.1\r\n".to_owned();
    for (known, value) in HEADERS.iter().filter(|(known, _)| *known != header) {
        request.push_str(&format!("{known}: {value}\r\n"));
    }
    for value in values {
        request.push_str(&format!("{header}: {value}\r\n"));
    }
    of(name, [request.as_bytes(), b"\r\n", behind].concat(), status)
}

fn line(name: &str, line: &str, statuses: &'static [u16]) -> Upgrade {
    let headers: String =
        HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    of(name, format!("{line}\r\n{headers}\r\n"), statuses)
}

impl Upgrade {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

pub(crate) fn cases() -> Vec<Upgrade> {
    let mut cases = lines();
    cases.extend(upgrades());
    cases.extend(versions());
    cases.extend(hosts_and_keys());
    cases.extend(early());
    cases.extend(origins());
    cases.extend(heads());
    cases.extend(orders());
    cases
}

fn lines() -> Vec<Upgrade> {
    let mut cases = Vec::new();
    for method in ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get"] {
        let case = line(method, &format!("{method} /socket HTTP/1.1"), &[405]);
        cases.push(case.header("allow", "GET"));
    }
    for (name, path) in [
        ("another path", "/other"),
        ("no path", "/"),
        ("a slash at the end", "/socket/"),
        ("a slash in front", "//socket"),
        ("an escaped letter", "/%73ocket"),
        ("upper case", "/Socket"),
        ("more after the path", "/socket/x"),
        ("a letter after the path", "/sockets"),
        ("the gateway's path", "/connect"),
        ("metrics on the socket's port", "/metrics"),
    ] {
        cases.push(line(name, &format!("GET {path} HTTP/1.1"), &[404]));
    }
    cases.extend([
        line("version 1.0", "GET /socket HTTP/1.0", &[400]),
        line("version 9", "GET /socket HTTP/9.9", &[400]),
        line("no version", "GET /socket", &[400]),
        line("a target with a space", "GET /soc ket HTTP/1.1", &[400]),
        line("a tunnel", "CONNECT 127.0.0.1:1 HTTP/1.1", &[404]),
        line("the preface of HTTP/2", "PRI * HTTP/2.0", &[400]),
        of("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(9), &[400]),
        of("an SSH banner", "SSH-2.0-OpenSSH_9.9\r\n\r\n", &[400]),
        of("a frame without an upgrade", b"\x81\x82\0\0\0\0hi\r\n\r\n".to_vec(), &[400]),
        of("NULs", vec![0; 64], &[400]),
    ]);
    cases
}

fn upgrades() -> Vec<Upgrade> {
    [
        ("no upgrade", "Upgrade", &[][..]),
        ("an empty upgrade", "Upgrade", &[""]),
        ("an upgrade to HTTP/2", "Upgrade", &["h2c"]),
        ("an upgrade to two words", "Upgrade", &["web socket"]),
        ("an upgrade with a version", "Upgrade", &["websocket/13"]),
        ("no connection", "Connection", &[]),
        ("a connection that is kept", "Connection", &["keep-alive"]),
        ("a connection that closes", "Connection", &["close"]),
        ("a connection upgraded", "Connection", &["upgraded"]),
    ]
    .into_iter()
    .map(|(name, header, values)| {
        changed(name, (header, values), b"", &[426]).header("upgrade", "websocket")
    })
    .collect()
}

fn versions() -> Vec<Upgrade> {
    [
        ("no version of the socket", &[][..]),
        ("an empty version", &[""]),
        ("version 0 of the socket", &["0"]),
        ("version 7 of the socket", &["7"]),
        ("version 8 of the socket", &["8"]),
        ("version 14 of the socket", &["14"]),
        ("version 13 with a zero", &["013"]),
        ("version 13.0", &["13.0"]),
        ("a list of versions", &["13, 8"]),
        ("two versions of the socket", &["13", "8"]),
        ("a word for a version", &["x"]),
    ]
    .into_iter()
    .map(|(name, values)| {
        let case = changed(name, ("Sec-WebSocket-Version", values), b"", &[426]);
        case.header("sec-websocket-version", "13")
    })
    .collect()
}

fn hosts_and_keys() -> Vec<Upgrade> {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let keys = [
        ("no key", &[][..]),
        ("an empty key", &[""]),
        ("a key of a letter", &["x"]),
        ("a key without padding", &["dGhlIHNhbXBsZSBub25jZQ"]),
        ("a key with half its padding", &["dGhlIHNhbXBsZSBub25jZQ="]),
        ("a key with too much padding", &["dGhlIHNhbXBsZSBub25jZQ==="]),
        ("a key of 15 bytes", &["dGhlIHNhbXBsZSBub25j"]),
        ("a key of 17 bytes", &["dGhlIHNhbXBsZSBub25jZXM="]),
        ("a key of 32 bytes", &["dGhlIHNhbXBsZSBub25jZXRoZSBzYW1wbGUgbm9uY2U="]),
        ("a key of another alphabet", &["dGhlIHNhbXBsZSBub25-_Q=="]),
        ("a key that is not base 64", &["dGhlIHNhbXBsZSBub25j!!=="]),
        ("a key with a space", &["dGhlIHNhbXBs ZSBub25jZQ=="]),
        ("a key twice", &[KEY, KEY]),
        ("two keys in one header", &["dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="]),
    ]
    .into_iter()
    .map(|(name, values)| changed(name, ("Sec-WebSocket-Key", values), b"", &[400]));
    let hosts = [("no host", &[][..]), ("two hosts", &["127.0.0.1", "evil.example"])]
        .into_iter()
        .map(|(name, values)| changed(name, ("Host", values), b"", &[400]));
    hosts.chain(keys).collect()
}

/// Bytes after the head: a client must wait for the answer before it sends anything.
fn early() -> Vec<Upgrade> {
    let hello = b"\x81\x80\0\0\0\0";
    vec![
        changed("a frame after the head", ("X", &[]), hello, &[400]),
        changed("a byte after the head", ("X", &[]), b"\x81", &[400]),
        changed("a line after the head", ("X", &[]), b"\r\n", &[400]),
        changed("a request after the head", ("X", &[]), b"GET / HTTP/1.1\r\n\r\n", &[400]),
        changed("25 pings after the head", ("X", &[]), &b"\x89\x80\0\0\0\0".repeat(25), &[400]),
        changed("a body", ("Content-Length", &["3"]), b"abc", &[400]),
        changed("a body that does not come", ("Content-Length", &["3"]), b"", &[400]),
        changed("chunks", ("Transfer-Encoding", &["chunked"]), b"0\r\n\r\n", &[400]),
        changed("chunks that do not come", ("Transfer-Encoding", &["chunked"]), b"", &[400]),
        changed("a length that is none", ("Content-Length", &["x"]), b"", &[400]),
        changed("a length that is negative", ("Content-Length", &["-1"]), b"", &[400]),
        changed("two lengths", ("Content-Length", &["0", "3"]), b"abc", &[400]),
    ]
}

fn origins() -> Vec<Upgrade> {
    [
        ("a foreign origin", &["http://evil.example"][..]),
        ("the null origin", &["null"]),
        ("an empty origin", &[""]),
        ("a file", &["file://"]),
        ("another port", &["http://127.0.0.1:1"]),
        ("no port", &["http://127.0.0.1"]),
        ("another scheme", &["https://127.0.0.1:1"]),
        ("a name that begins like ours", &["http://127.0.0.1.evil.example"]),
        ("a name that ends like ours", &["http://evil-localhost"]),
        ("a user in front of the name", &["http://127.0.0.1@evil.example"]),
        ("any origin", &["*"]),
        ("two origins in one header", &["http://127.0.0.1:1 http://evil.example"]),
        ("two origins", &["http://127.0.0.1:1", "http://evil.example"]),
        ("an origin with a path", &["http://127.0.0.1:1/"]),
        ("the address of version 6", &["http://[::1]:1"]),
        ("any address", &["http://0.0.0.0:1"]),
    ]
    .into_iter()
    .map(|(name, values)| changed(name, ("Origin", values), b"", &[403]))
    .collect()
}

fn heads() -> Vec<Upgrade> {
    let long = "x".repeat(9_000);
    let many = ["1"; 70];
    let target = format!("GET /socket?{long} HTTP/1.1");
    let malformed = |name: &str, header: &str| {
        of(name, format!("GET /socket HTTP/1.1\r\n{header}\r\n\r\n"), &[400])
    };
    let mut cases = vec![
        changed("a header of 9 KB", ("X", &[&long]), b"", &[431]),
        changed("70 headers", ("X", &many), b"", &[431]),
        line("a target of 9 KB", &target, &[431]),
        malformed("a header without a colon", "Host"),
        malformed("a header without a name", ": x"),
        malformed("a header with a space in its name", "X y: 1"),
        malformed("a header with a space after its name", "Host : x"),
        malformed("a header that continues in the next line", "X: a\r\n b"),
        malformed("a header with a NUL", "X: a\0b"),
        malformed("a header with a bare return", "X: a\rb"),
    ];
    for (name, bytes) in [
        ("nothing for five seconds", ""),
        ("one byte in five seconds", "G"),
        ("half a line in five seconds", "GET /socket"),
        ("a line in five seconds", "GET /socket HTTP/1.1\r\n"),
        ("a head without its end", "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\n"),
        ("a head without its last byte", "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\n\r"),
    ] {
        let within = limits::HEAD_WAIT_MAX * 2;
        cases.push(Upgrade { within, ..of(name, bytes, &[408, 0]) });
    }
    cases
}

/// More than one thing is wrong. The first in the protocol's order is reported.
fn orders() -> Vec<Upgrade> {
    vec![
        line("a wrong path before a wrong method", "POST /other HTTP/1.1", &[404]),
        of("a wrong method before no upgrade", "POST /socket HTTP/1.1\r\n\r\n", &[405]),
        of("no upgrade before no host", "GET /socket HTTP/1.1\r\n\r\n", &[426]),
        changed("no key before a foreign origin", ("Sec-WebSocket-Key", &[]), b"", &[400]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_upgrade_is_refused_with_its_status() {
    let cluster = stack(1).await;
    let url = cluster.nodes()[0].url.clone();
    all(cases(), async |case| check(&url, case).await).await;
    let port = cluster.stack.address().port();
    for origin in [None, Some("127.0.0.1"), Some("localhost"), Some("LOCALHOST")] {
        let origin = origin.map(|name| format!("http://{name}:{port}"));
        let origins: Vec<&str> = origin.iter().map(String::as_str).collect();
        let good = changed("good", ("Origin", &origins), b"", &[101]);
        // A socket that opens does not end, so it is read only for a moment.
        let answer = exchange_for(&url, &good.bytes, Duration::from_secs(2)).await.unwrap();
        let answer = Answer::parse(&answer).unwrap();
        assert_eq!(answer.status, 101, "{origin:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_draining_node_says_when_to_retry() {
    let cluster = stack(1).await;
    let url = cluster.nodes()[0].url.clone();
    let authority = url.trim_start_matches("ws://").trim_end_matches("/socket").to_owned();
    let bytes = changed("good", ("X", &[]), b"", &[503]).bytes;
    // Hundreds of silent clients do not lock others out. Once all places are taken, each new
    // connection is cut, until the silent ones have reached their limit of five seconds.
    let mut silent = Vec::new();
    for n in 0..limits::HANDSHAKES_MAX + 20 {
        silent.push(tokio::net::TcpStream::connect(&authority).await.unwrap());
        if n == 500 {
            drop(Socket::open(&url).await.unwrap());
        }
    }
    // Connections are handled in no fixed order, so a later one may be checked first.
    let refused = async || Socket::open(&url).await.is_err();
    tests::eventually("the node is full", limits::HEAD_WAIT_MAX, refused).await;
    drop(silent);
    tests::eventually("there is room again", tests::SOON, async || {
        Socket::open(&url).await.is_ok()
    })
    .await;
    // A client that ignores its close frame keeps the node draining for a second.
    let mut stays = Socket::ready(&cluster, "alice").await.unwrap();
    let stopping = tokio::spawn(cluster.stack.stop());
    assert_eq!(stays.close(ANSWER_MAX).await, Some(1012));
    let answer = Answer::parse(&exchange(&url, &bytes, ANSWER_MAX).await.unwrap()).unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.body, b"this node is shutting down");
    stopping.await.unwrap();
}

async fn check(url: &str, case: Upgrade) -> Result<(), String> {
    let answer = exchange(url, &case.bytes, case.within).await;
    let bytes = answer.map_err(|error| format!("  {}: {error}", case.name))?;
    let answer = Answer::parse(&bytes);
    let status = answer.as_ref().map_or(0, |answer| answer.status);
    let header = case.header.filter(|(name, value)| {
        answer.as_ref().is_none_or(|answer| answer.header(name) != Some(*value))
    });
    if case.statuses.contains(&status) && header.is_none() {
        return Ok(());
    }
    Err(format!("  {}: {status}, not {:?}; {header:?}", case.name, case.statuses))
}
