//! Input that is not valid HTTP, which is refused below the protocol, by a status alone. In the
//! cloud, the load balancer does that; here, the gateway.

use client::exchange;

use crate::door::{ANSWER_MAX, Answer, all, stack};
use crate::tokens;

/// Bytes, and the statuses that may answer them; 0 means that the connection is just closed.
pub(crate) struct Bytes {
    pub(crate) name: String,
    bytes: Vec<u8>,
    statuses: &'static [u16],
}

pub(crate) fn cases() -> Vec<Bytes> {
    let mut cases = lines();
    cases.extend(heads());
    cases.extend(bodies());
    cases
}

fn of(name: &str, bytes: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Bytes {
    Bytes { name: name.to_owned(), bytes: bytes.into(), statuses }
}

/// The request line.
fn lines() -> Vec<Bytes> {
    let line = |name: &str, line: &[u8]| {
        of(name, [line, b"\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"].concat(), &[400])
    };
    vec![
        line("a line of one word", b"GET"),
        line("a line without a version", b"GET /connect"),
        line("a line without a target", b"GET HTTP/1.1"),
        line("a target with a space", b"GET /conn ect HTTP/1.1"),
        line("a target with a NUL", b"GET /\0 HTTP/1.1"),
        line("a method with a bracket", b"GE(T /connect HTTP/1.1"),
        line("a method with a NUL", b"G\0T /connect HTTP/1.1"),
        line("no method", b" /connect HTTP/1.1"),
        line("version 3", b"GET /connect HTTP/3.0"),
        line("version 1.10", b"GET /connect HTTP/1.10"),
        line("a version in lower case", b"GET /connect http/1.1"),
        line("another protocol", b"GET /connect ICY/1.1"),
        // This is the form of a tunnel's target (CONNECT). There is no such route.
        of(
            "a target that is no path",
            "GET connect HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            &[404],
        ),
        of("no host", "GET /connect HTTP/1.1\r\nConnection: close\r\n\r\n", &[400]),
        of(
            "two hosts",
            "GET /connect HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n",
            &[400],
        ),
        of("version 1.0 without a host", "GET /connect HTTP/1.0\r\n\r\n", &[401]),
        of("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(9), &[400]),
        of("an SSH banner", "SSH-2.0-OpenSSH_9.9\r\n\r\n", &[400]),
        of("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0]),
    ]
}

/// Headers.
fn heads() -> Vec<Bytes> {
    let head = |name: &str, head: &[u8], statuses| {
        let end = b"\r\nConnection: close\r\n\r\n";
        let request = [b"GET /connect HTTP/1.1\r\nHost: 127.0.0.1\r\n", head, end].concat();
        of(name, request, statuses)
    };
    let many: String = (0..120).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X: {}", "x".repeat(20_000));
    let target = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    vec![
        head("a header without a colon", b"X", &[400]),
        head("a header without a name", b": x", &[400]),
        head("a header with a space in its name", b"X y: 1", &[400]),
        head("a header with a space after its name", b"X : 1", &[400]),
        head("a header that continues in the next line", b"X: a\r\n b", &[400]),
        head("a header with a NUL", b"X: a\0b", &[400]),
        head("a header with a bare return", b"X: a\rb", &[400]),
        head("a header's name that is not ASCII", b"X\xff: 1", &[400]),
        head("over 100 headers", many.trim_end().as_bytes(), &[431]),
        head("a head over 16 KiB", long.as_bytes(), &[431]),
        of("a target over 64 KiB", target, &[414, 431]),
    ]
}

/// Lengths and chunks.
fn bodies() -> Vec<Bytes> {
    let post = |name: &str, headers: &str, body: &str, statuses| {
        let token = tokens::good("alice");
        let request = format!(
            "POST /messages HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}"
        );
        of(name, request, statuses)
    };
    let chunked = "Transfer-Encoding: chunked";
    let big = format!("{:x}\r\n{}\r\n0\r\n\r\n", 800 * 1024, "x".repeat(800 * 1024));
    vec![
        post("a length that is negative", "Content-Length: -1", "", &[400]),
        post("a length with a plus", "Content-Length: +2", "{}", &[400]),
        post("a length in hexadecimal", "Content-Length: 0x2", "{}", &[400]),
        post("a length that is empty", "Content-Length:", "{}", &[400]),
        post("a length beyond 64 bits", "Content-Length: 18446744073709551617", "{}", &[400]),
        post("two lengths", "Content-Length: 2\r\nContent-Length: 3", "{} ", &[400]),
        post("two lengths in one header", "Content-Length: 2, 3", "{} ", &[400]),
        post("an unknown transfer coding", "Transfer-Encoding: gzip", "{}", &[400]),
        post(
            "chunked, but not last",
            "Transfer-Encoding: chunked, gzip",
            "2\r\n{}\r\n0\r\n\r\n",
            &[400],
        ),
        post("a chunk's size that is none", chunked, "zz\r\n{}\r\n0\r\n\r\n", &[400]),
        post("a chunk's size that is negative", chunked, "-2\r\n{}\r\n0\r\n\r\n", &[400]),
        post("a chunk's size beyond 64 bits", chunked, "fffffffffffffffff\r\n{}", &[400]),
        post("a chunk that is longer than it says", chunked, "1\r\n{}\r\n0\r\n\r\n", &[400]),
        post("chunks of 800 KiB", chunked, &big, &[413]),
        // The announced length is refused before the body arrives.
        post("a length of 8 MB that never comes", "Content-Length: 8000000", "{", &[413]),
        post("a body that stops", "Content-Length: 100", "{", &[408]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_http_is_refused_with_its_status() {
    let cluster = stack(0).await;
    let url = cluster.url();
    all(cases(), async |case| check(&url, case).await).await;
    assert!(cluster.api("alice").channels().await.is_ok(), "the gateway is none the worse");
}

async fn check(url: &str, case: Bytes) -> Result<(), String> {
    let answer = exchange(url, &case.bytes, ANSWER_MAX).await.map_err(|error| error.to_string())?;
    let status = Answer::parse(&answer).map_or(0, |answer| answer.status);
    if case.statuses.contains(&status) {
        return Ok(());
    }
    Err(format!("  {}: {status}, not {:?}", case.name, case.statuses))
}
