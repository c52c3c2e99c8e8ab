//! Bodies that are no valid JSON of the protocol: first media type, then size, then form.

use crate::door::{Cast, Rest, all, stack};

fn call(name: impl Into<String>) -> Rest {
    Rest::of(name, "POST", "/messages")
}

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = media();
    cases.extend(sizes());
    cases.extend(texts(&cast.channel));
    cases.extend(not_utf8());
    for (name, body) in
        [("list", "[]"), ("text", "\"x\""), ("number", "7"), ("null", "null"), ("true", "true")]
    {
        let case = call(format!("a body that is a {name}")).body(body);
        cases.push(case.refused(400, "invalid_field").field("body"));
    }
    cases
}

fn media() -> Vec<Rest> {
    let call = |name: &str| call(name).without("Content-Type").body("{}");
    let of = |name: &str, media: &str| {
        call(name).with("Content-Type", media).refused(415, "unsupported_media_type")
    };
    let coded = |name: &str, coding: &[u8]| {
        let call = self::call(name).body("{}").with("Content-Encoding", coding.to_vec());
        call.refused(415, "unsupported_media_type")
    };
    vec![
        call("no media type").refused(415, "unsupported_media_type"),
        of("an empty media type", ""),
        of("plain text", "text/plain"),
        of("a form", "application/x-www-form-urlencoded"),
        of("a form in parts", "multipart/form-data; boundary=x"),
        of("JSON as text", "text/json"),
        of("more after json", "application/jsonx"),
        of("a problem", "application/problem+json"),
        of("lines of JSON", "application/x-ndjson"),
        of("XML with a charset", "application/xml; charset=utf-8"),
        of("any media type", "*/*"),
        of("the type without its half", "application/"),
        of("JSON after a comma", "text/plain, application/json"),
        call("a media type that is not ASCII")
            .with("Content-Type", b"application/json\xff".to_vec())
            .refused(415, "unsupported_media_type"),
        of("a wrong media type, and too much", "text/plain").body(vec![b'x'; 800 * 1024]),
        coded("a body in gzip", b"gzip").body(b"\x1f\x8b\x08\x00".to_vec()),
        coded("a body in deflate", b"deflate"),
        coded("a body in br", b"br"),
        coded("two content codings", b"identity, gzip"),
        coded("an unknown content coding", b"x"),
        coded("an empty content coding", b""),
        coded("a content coding that is not ASCII", b"\xff"),
        coded("a content coding, and too much", b"gzip").body(vec![b'x'; 800 * 1024]),
        self::call("identity is no coding")
            .with("Content-Encoding", "Identity")
            .body("{}")
            .refused(400, "invalid_field")
            .field("channel_id"),
    ]
}

fn sizes() -> Vec<Rest> {
    let blank = |bytes: usize| [b"{".to_vec(), vec![b' '; bytes - 2], b"}".to_vec()].concat();
    vec![
        call("one byte over 768 KiB").body(blank(768 * 1024 + 1)).refused(413, "too_large"),
        call("2 MB of spaces").body(blank(2_000_000)).refused(413, "too_large"),
        call("800 KiB that are no JSON").body(vec![b'{'; 800 * 1024]).refused(413, "too_large"),
        // The largest size that is read: here, only the form is wrong.
        call("768 KiB of spaces")
            .body(blank(768 * 1024))
            .refused(400, "invalid_field")
            .field("channel_id"),
        call("768 KiB of lists").body(vec![b'['; 768 * 1024]).refused(400, "bad_json"),
    ]
}

fn texts(channel: &str) -> Vec<Rest> {
    let deep = |open: &str, close: &str| {
        format!(r#"{{"channel_id":{}1{}}}"#, open.repeat(8), close.repeat(8))
    };
    let member = |text: &str| format!(r#"{{"channel_id":"{channel}","message":{text}}}"#);
    [
        ("nothing", String::new()),
        ("only white space", " \n".to_owned()),
        ("an object that is not closed", "{".to_owned()),
        ("a list that is not closed", "[1,".to_owned()),
        ("an object that is not opened", "}".to_owned()),
        ("a list closed as an object", "[1}".to_owned()),
        ("a text that is not closed", r#"{"channel_id":"C"#.to_owned()),
        ("half a word", "nul".to_owned()),
        ("a word in upper case", member("True")),
        ("undefined", member("undefined")),
        ("a second value", "{} {}".to_owned()),
        ("a word after the value", "{}x".to_owned()),
        ("a NUL after the value", "{}\0".to_owned()),
        ("two objects without a gap", "{}{}".to_owned()),
        ("a comment", "{/* */}".to_owned()),
        ("a line comment", "{}// x".to_owned()),
        ("a comma at an object's end", r#"{"channel_id":"x",}"#.to_owned()),
        ("a comma at a list's end", member("[1,]")),
        ("a comma in front", r#"{,"channel_id":"x"}"#.to_owned()),
        ("two commas", r#"{"channel_id":"x",,"message":"x"}"#.to_owned()),
        ("no comma", r#"{"channel_id":"x" "message":"x"}"#.to_owned()),
        ("no colon", r#"{"channel_id" "x"}"#.to_owned()),
        ("a key without a value", r#"{"channel_id":}"#.to_owned()),
        ("a key without quotes", r#"{channel_id:"x"}"#.to_owned()),
        ("a key that is a number", r#"{1:"x"}"#.to_owned()),
        ("single quotes", "{'channel_id':'x'}".to_owned()),
        ("not a number", member("NaN")),
        ("infinity", member("Infinity")),
        ("minus infinity", member("-Infinity")),
        ("a number beyond a double", member("1e999")),
        ("a hexadecimal number", member("0x10")),
        ("a number with a zero in front", member("01")),
        ("a number with a plus", member("+1")),
        ("a number that ends in a dot", member("1.")),
        ("a number that begins with a dot", member(".5")),
        ("an exponent without digits", member("1e")),
        ("a minus alone", member("-")),
        ("a raw line break in a text", member("\"a\nb\"")),
        ("a raw tab in a text", member("\"a\tb\"")),
        ("a raw NUL in a text", member("\"a\0b\"")),
        ("an unknown escape", member(r#""\x41""#)),
        ("an escape cut short", member(r#""\u00""#)),
        ("an escape that is not hexadecimal", member(r#""\u00zz""#)),
        ("a backslash at the end", member(r#""a\""#)),
        ("a lone high surrogate", member(r#""\ud800""#)),
        ("a lone low surrogate", member(r#""\udc00""#)),
        ("two high surrogates", member(r#""\ud83d\ud83d""#)),
        ("surrogates the wrong way round", member(r#""\ude00\ud83d""#)),
        ("a lone surrogate in a key", r#"{"\ud800":1}"#.to_owned()),
        ("a byte order mark", "\u{feff}{}".to_owned()),
        ("nine levels of lists", deep("[", "]")),
        ("nine levels of objects", deep(r#"{"a":"#, "}")),
        ("a thousand levels", "[".repeat(1_000)),
        ("a key twice", r#"{"message":"a","message":"b"}"#.to_owned()),
        ("a key twice with one value", r#"{"message":"a","message":"a"}"#.to_owned()),
        ("a key twice by an escape", r#"{"message":"a","mess\u0061ge":"b"}"#.to_owned()),
        ("a key twice further in", r#"{"x":[{"a":1,"a":2}]}"#.to_owned()),
        ("an empty key twice", r#"{"":1,"":1}"#.to_owned()),
        ("a form's fields", "channel_id=x&message=y".to_owned()),
    ]
    .into_iter()
    .map(|(name, body)| call(name).body(body).refused(400, "bad_json"))
    .collect()
}

/// The classes of invalid UTF-8 (RFC 3629 3), inside a text.
fn not_utf8() -> Vec<Rest> {
    let inside = |bytes: &[u8]| [b"{\"message\":\"", bytes, b"\"}"].concat();
    let utf16 = |bytes: fn(u16) -> [u8; 2]| {
        r#"{"message":"x"}"#.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
    };
    [
        ("a byte of no character", inside(b"\xff")),
        ("a continuation alone", inside(b"\x80")),
        ("a character of two bytes cut short", inside(b"\xc3")),
        ("a character of three bytes cut short", inside(b"\xe2\x82")),
        ("a character of four bytes cut short", inside(b"\xf0\x9f\x98")),
        ("a slash in two bytes", inside(b"\xc0\xaf")),
        ("a NUL in two bytes", inside(b"\xc0\x80")),
        ("a quote in three bytes", inside(b"\xe0\x80\xa2")),
        ("a surrogate as bytes", inside(b"\xed\xa0\x80")),
        ("a pair of surrogates as bytes", inside(b"\xed\xa0\xbd\xed\xb8\x80")),
        ("beyond the last character", inside(b"\xf4\x90\x80\x80")),
        ("a character of five bytes", inside(b"\xf8\x88\x80\x80\x80")),
        ("a key that is not UTF-8", b"{\"\xff\":1}".to_vec()),
        ("UTF-16, the high byte first", utf16(u16::to_be_bytes)),
        ("UTF-16, the low byte first", utf16(u16::to_le_bytes)),
        ("compressed bytes", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec()),
    ]
    .into_iter()
    .map(|(name, body)| call(name).body(body).refused(400, "bad_json"))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_accepted_only_as_the_protocols_json() {
    let cluster = stack(0).await;
    let url = cluster.url();
    let cast = Cast::on(&cluster).await;
    all(cases(&cast), |case| case.check(&url)).await;
}
