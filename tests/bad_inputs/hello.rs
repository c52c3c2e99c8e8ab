//! The client's only frame: its form, its ticket, its cursor.

use std::time::Duration;

use auth::tickets::SignedTickets;
use client::SocketKind;
use messaging::ports::{Principal, Ticket, Tickets};
use model::{NodeId, Timestamp};
use serde_json::json;
use tests::cluster::{Cluster, TICKET_SECRET, secrets};

use crate::door::{ANSWER_MAX, all, stack};
use crate::raw::{Received, Socket, text};
use crate::tokens;

pub(crate) fn names() -> Vec<String> {
    let forms = forms().into_iter().map(|(name, ..)| format!("form: {name}"));
    let tickets = tickets("N1", "x").into_iter().map(|(name, _)| format!("ticket: {name}"));
    let after = AFTER.iter().map(|(name, _)| format!("after ready: {name}"));
    let cursors = cursors("1-1-0000abcd", "1-1-0000abcd").into_iter();
    forms
        .chain(tickets)
        .chain(after)
        .chain(cursors.map(|(name, ..)| format!("cursor: {name}")))
        .collect()
}

/// Texts, and the codes that close the socket.
fn forms() -> Vec<(&'static str, String, u16)> {
    let bad = [
        ("nothing", ""),
        ("white space", " \n"),
        ("a word", "x"),
        ("null", "null"),
        ("true", "true"),
        ("a number", "7"),
        ("a text", r#""hello""#),
        ("an empty list", "[]"),
        ("a hello in a list", r#"[{"type":"hello","ticket":"t"}]"#),
        ("an empty object", "{}"),
        ("an object that is not closed", r#"{"type":"hello""#),
        ("a second value", r#"{"type":"hello","ticket":"t"} {}"#),
        ("two hellos", r#"{"type":"hello","ticket":"t"}{"type":"hello","ticket":"t"}"#),
        ("a byte order mark", "\u{feff}{\"type\":\"hello\",\"ticket\":\"t\"}"),
        ("a NUL after it", "{\"type\":\"hello\",\"ticket\":\"t\"}\0"),
        ("a comma at its end", r#"{"type":"hello","ticket":"t",}"#),
        ("single quotes", "{'type':'hello','ticket':'t'}"),
        ("a comment", r#"{"type":"hello","ticket":"t"}//"#),
        ("no type", r#"{"ticket":"t"}"#),
        ("another type", r#"{"type":"ping"}"#),
        ("a server's type", r#"{"type":"ready","ticket":"t"}"#),
        ("a type in upper case", r#"{"type":"HELLO","ticket":"t"}"#),
        ("a type with a space", r#"{"type":"hello ","ticket":"t"}"#),
        ("an empty type", r#"{"type":"","ticket":"t"}"#),
        ("a type that is null", r#"{"type":null,"ticket":"t"}"#),
        ("a type that is a number", r#"{"type":7,"ticket":"t"}"#),
        ("a type that is a list", r#"{"type":["hello"],"ticket":"t"}"#),
        ("a ticket that is null", r#"{"type":"hello","ticket":null}"#),
        ("a ticket that is a number", r#"{"type":"hello","ticket":7}"#),
        ("a ticket that is true", r#"{"type":"hello","ticket":true}"#),
        ("a ticket that is a list", r#"{"type":"hello","ticket":["t"]}"#),
        ("a ticket that is an object", r#"{"type":"hello","ticket":{"t":1}}"#),
        ("a cursor that is null", r#"{"type":"hello","ticket":"t","cursor":null}"#),
        ("a cursor that is a number", r#"{"type":"hello","ticket":"t","cursor":7}"#),
        ("a cursor that is true", r#"{"type":"hello","ticket":"t","cursor":true}"#),
        ("a cursor that is a list", r#"{"type":"hello","ticket":"t","cursor":["1"]}"#),
        ("a cursor that is an object", r#"{"type":"hello","ticket":"t","cursor":{}}"#),
        ("a field that is unknown", r#"{"type":"hello","ticket":"t","extra":true}"#),
        ("a token instead of a ticket", r#"{"type":"hello","token":"t"}"#),
        ("a field without a name", r#"{"type":"hello","ticket":"t","":1}"#),
        ("a type twice", r#"{"type":"hello","type":"hello","ticket":"t"}"#),
        ("a ticket twice", r#"{"type":"hello","ticket":"t","ticket":"t"}"#),
        ("a ticket twice by an escape", r#"{"type":"hello","ticket":"t","ticke\u0074":"t"}"#),
        ("a lone surrogate", r#"{"type":"hello","ticket":"\ud800"}"#),
        ("a raw line break", "{\"type\":\"hello\",\"ticket\":\"\n\"}"),
        ("an unknown escape", r#"{"type":"hello","ticket":"\x41"}"#),
        ("not a number", r#"{"type":"hello","ticket":NaN}"#),
        ("a number beyond a double", r#"{"type":"hello","ticket":1e999}"#),
        ("nine levels", "[[[[[[[[[]]]]]]]]]"),
        ("a request", "GET /socket HTTP/1.1\r\n\r\n"),
    ];
    let mut forms: Vec<(&str, String, u16)> =
        bad.into_iter().map(|(name, text)| (name, text.to_owned(), 4400)).collect();
    forms.push(("16 KiB of lists", "[".repeat(16 * 1024), 4400));
    forms.push(("no ticket", r#"{"type":"hello"}"#.to_owned(), 4401));
    let cursor = r#"{"type":"hello","cursor":"1-1-0000abcd"}"#;
    forms.push(("a cursor and no ticket", cursor.to_owned(), 4401));
    forms
}

/// A ticket with these expiry times, signed with this secret.
fn ticket(node: &str, token_ends: Timestamp, ends: Timestamp, secret: &str) -> String {
    let principal = Principal {
        workspace_id: "w".parse().unwrap(),
        user_id: "alice".parse().unwrap(),
        is_admin: false,
        expires_at: token_ends,
    };
    let node_id = NodeId::parse(node).unwrap();
    let issued_at = ends.minus(Duration::from_secs(60));
    let ticket = Ticket {
        principal,
        node_id,
        is_invisible: false,
        device: None,
        issued_at,
        expires_at: ends,
        nonce: 7,
    };
    SignedTickets::new(&secrets(secret)).issue(&ticket)
}

/// Tickets that a node cannot verify.
fn foreign_tickets(node: &str) -> Vec<(&'static str, String)> {
    let now = Timestamp::from_unix_ms(tokens::now_ms());
    let (hour, later) = (Duration::from_secs(3_600), now.plus(Duration::from_secs(60)));
    let by_another = ticket(node, later, later, "another-secret-0123456789-0123456789");
    let (message, _) = by_another.rsplit_once('.').unwrap();
    vec![
        ("by another secret, forged", format!("{message}.AAAA")),
        ("by another secret", by_another),
        ("of another secret and node", ticket("N0", later, later, &"x".repeat(40))),
        ("of an hour ago", ticket(node, later, now.minus(hour), TICKET_SECRET)),
        ("of the next hour", ticket(node, later.plus(hour), later.plus(hour), TICKET_SECRET)),
    ]
}

/// Tickets that no node accepts. `node` is the one that gets them, and `used` was accepted before.
fn tickets(node: &str, used: &str) -> Vec<(&'static str, String)> {
    let now = Timestamp::from_unix_ms(tokens::now_ms());
    let later = now.plus(Duration::from_secs(60));
    let before = Timestamp::from_unix_ms(tokens::now_ms() - 1_000);
    let good = ticket(node, later, later, TICKET_SECRET);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let admin =
        tokens::encode(r#"{"aud":"inkwire-node","sub":"root","workspace_id":"w","admin":true}"#);
    let none = tokens::encode(r#"{"alg":"none","typ":"inkwire-ticket+jwt"}"#);
    vec![
        ("empty", String::new()),
        ("a space", " ".to_owned()),
        ("a word", "x".to_owned()),
        ("three words", "a.b.c".to_owned()),
        ("two dots", "..".to_owned()),
        ("not ASCII", "é".repeat(40)),
        ("a NUL in front", format!("\0{good}")),
        ("a space after", format!("{good} ")),
        ("16,000 letters", "x".repeat(16_000)),
        ("without a signature", format!("{message}.")),
        ("with a signature cut short", good[..good.len() - 2].to_owned()),
        ("with more after its signature", format!("{good}AA")),
        ("with another payload", format!("{header}.{admin}.{signature}")),
        ("with alg none", format!("{none}.{admin}.")),
        ("of another node", ticket("N0", later, later, TICKET_SECRET)),
        ("of a node in lower case", ticket(&node.to_lowercase(), later, later, TICKET_SECRET)),
        ("that is void", ticket(node, later, before, TICKET_SECRET)),
        ("of a token that ended", ticket(node, before, later, TICKET_SECRET)),
        ("that is a token", tokens::good("alice")),
        ("that was used", used.to_owned()),
    ]
}

/// Cursors, and whether a resume from them succeeds. None closes the socket.
fn cursors(old: &str, foreign: &str) -> Vec<(&'static str, String, bool)> {
    let (entry, history) = old.rsplit_once('-').unwrap();
    let (ms, sequence) = entry.split_once('-').unwrap();
    let other = if history == "00c0ffee" { "0badcafe" } else { "00c0ffee" };
    vec![
        ("of a moment ago", old.to_owned(), true),
        ("of another workspace", foreign.to_owned(), false),
        ("of a stream that was forked", format!("{entry}-{other}"), false),
        ("in upper case", format!("{entry}-{}A", &history.to_uppercase()[1..]), false),
        ("older than the stream", format!("1-1-{history}"), false),
        ("that was trimmed", format!("1700000000000-0-{history}"), false),
        ("of the future", format!("9999999999999-0-{history}"), false),
        ("of the end of time", format!("{}-{}-{history}", u64::MAX, u64::MAX), false),
        ("beyond 64 bits", format!("18446744073709551616-0-{history}"), false),
        ("with another sequence", format!("{ms}-{}9-{history}", sequence), false),
        ("with a zero in front", format!("0{entry}-{history}"), false),
        ("with a plus", format!("+{entry}-{history}"), false),
        ("with a space after", format!("{old} "), false),
        ("without a history", entry.to_owned(), false),
        ("with a digit too few", format!("{entry}-{}", &history[1..]), false),
        ("with a digit too many", format!("{old}0"), false),
        ("empty", String::new(), false),
        ("a word", "garbage".to_owned(), false),
        ("zero", "0".to_owned(), false),
        ("the lowest of Redis", "0-0".to_owned(), false),
        ("the newest of Redis", "$".to_owned(), false),
        ("the first of Redis", "-".to_owned(), false),
        ("the last of Redis", "+".to_owned(), false),
        ("negative", "-1--1-0000abcd".to_owned(), false),
        ("a NUL", "\0".to_owned(), false),
        ("a quote and a statement", "'; --".to_owned(), false),
        ("a line break", format!("{old}\r\nDEL x"), false),
        ("not ASCII", "１-１-ＡＢＣＤ".to_owned(), false),
        ("129 letters", "x".repeat(129), false),
        ("10,000 digits", "9".repeat(10_000), false),
        ("a message's id", "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(), false),
    ]
}

/// Frames that a client sends after its `hello`.
const AFTER: [(&str, &str); 8] = [
    ("a second hello", r#"{"type":"hello","ticket":"t"}"#),
    ("a frame that no node takes", r#"{"type":"shout"}"#),
    ("a message", r#"{"type":"message","channel_id":"x","message":"x"}"#),
    ("a server's frame", r#"{"type":"tick"}"#),
    ("an empty object", "{}"),
    ("a word", "x"),
    ("white space", " "),
    ("nothing", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_first_frame_that_is_not_hello_closes_the_socket() {
    let cluster = stack(1).await;
    let url = cluster.nodes()[0].url.clone();
    all(forms(), async |(name, form, code)| {
        let mut socket = Socket::open(&url).await?;
        socket.send(&text(form.as_bytes())).await;
        ends_with(&mut socket, code, name).await
    })
    .await;
    all(AFTER.into_iter().enumerate().collect(), async |(n, (name, said))| {
        let mut socket = Socket::ready(&cluster, &format!("u{n}")).await?;
        socket.send(&text(said.as_bytes())).await;
        ends_with(&mut socket, 4400, name).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_no_other_ticket_opens_a_socket() {
    let cluster = stack(1).await;
    let target = cluster.api("alice").connect(None).await.unwrap().target;
    let mut first = Socket::open(&target.url).await.unwrap();
    first.send(&hello(&target.ticket, None)).await;
    assert!(matches!(first.next(ANSWER_MAX).await, Received::Frame(1, _)), "it is good once");
    let tickets = tickets(cluster.nodes()[0].node_id.as_str(), &target.ticket);
    all(tickets, async |(name, ticket)| {
        let mut socket = Socket::open(&target.url).await?;
        socket.send(&hello(&ticket, None)).await;
        ends_with(&mut socket, 4401, name).await
    })
    .await;
    all(foreign_tickets(cluster.nodes()[0].node_id.as_str()), async |(name, ticket)| {
        let mut socket = Socket::open(&target.url).await?;
        socket.send(&hello(&ticket, None)).await;
        ends_with(&mut socket, 4411, name).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g5_a_cursor_is_known_or_unknown_and_never_closes_the_socket() {
    let cluster = stack(1).await;
    let old = cursor_of(&cluster, "w", "alice").await;
    cluster.group("alice", &[]).await;
    let foreign = cursor_of(&cluster, "elsewhere", "alice").await;
    let cursors: Vec<_> = cursors(&old, &foreign).into_iter().enumerate().collect();
    all(cursors, async |(n, (name, cursor, resumed))| {
        let api = cluster.api(&format!("u{n}"));
        let target = api.connect(None).await.map_err(|error| error.to_string())?.target;
        let mut socket = Socket::open(&target.url).await?;
        socket.send(&hello(&target.ticket, Some(&cursor))).await;
        let wanted = format!(r#""resumed":{resumed}"#);
        match socket.next(ANSWER_MAX).await {
            Received::Frame(1, ready) if String::from_utf8_lossy(&ready).contains(&wanted) => {}
            other => return Err(format!("  {name}: {other:?}")),
        }
        socket.lives().await.map_err(|error| format!("  {name}: {error}"))
    })
    .await;
}

/// The cursor in a user's first `ready`.
async fn cursor_of(cluster: &Cluster, workspace: &str, name: &str) -> String {
    let user = client::DevUser::new(workspace.parse().unwrap(), name.parse().unwrap());
    let target = cluster.api_of(user).connect(None).await.unwrap().target;
    let mut socket = Socket::open(&target.url).await.unwrap();
    socket.send(&hello(&target.ticket, None)).await;
    let Received::Frame(1, ready) = socket.next(ANSWER_MAX).await else { panic!("no ready") };
    let ready: serde_json::Value = serde_json::from_slice(&ready).unwrap();
    ready["cursor"].as_str().unwrap().to_owned()
}

fn hello(ticket: &str, cursor: Option<&str>) -> Vec<u8> {
    let mut hello = json!({ "type": "hello", "ticket": ticket });
    if let Some(cursor) = cursor {
        hello["cursor"] = json!(cursor);
    }
    text(hello.to_string().as_bytes())
}

async fn ends_with(socket: &mut Socket, code: u16, name: &str) -> Result<(), String> {
    match socket.close(ANSWER_MAX).await {
        Some(found) if found == code => Ok(()),
        other => Err(format!("  {name}: {other:?}, not {code}")),
    }
}

/// Known frames with a bad field.
const PASSED_OVER: [(&str, &str); 23] = [
    ("a got of nothing", r#"{"type":"got"}"#),
    ("a got without an id", r#"{"type":"got","channel_id":"C01MCC5RM00000000000000000A"}"#),
    ("a got of a number", r#"{"type":"got","channel_id":"C01MCC5RM00000000000000000A","up_to":7}"#),
    (
        "a got in a foreign channel",
        r#"{"type":"got","channel_id":"C01MCC5RM00000000000000000A","up_to":"01MCC5RM000000000000000001"}"#,
    ),
    ("a ping with a field", r#"{"type":"ping","at":1}"#),
    ("a renew with a word as its number", r#"{"type":"renew","ref":"x","ticket":"t"}"#),
    ("a renew with a negative number", r#"{"type":"renew","ref":-1,"ticket":"t"}"#),
    ("a renew with a token, too", r#"{"type":"renew","ticket":"t","token":"t"}"#),
    ("idle in a word", r#"{"type":"idle","idle":"yes"}"#),
    ("idle without a word", r#"{"type":"idle"}"#),
    ("idle until", r#"{"type":"idle","idle":true,"until":5}"#),
    ("typing nowhere", r#"{"type":"typing"}"#),
    ("a join of nothing", r#"{"type":"join"}"#),
    (
        "a join after a number",
        r#"{"type":"join","channel_id":"C01MCC5RM00000000000000000A","after":5}"#,
    ),
    ("a leave of no channel", r#"{"type":"leave","channel_id":"general"}"#),
    ("a send without a number", r#"{"type":"send","channel_id":"C01MCC5RM00000000000000000A"}"#),
    ("typing in no channel", r#"{"type":"typing","channel_id":"general"}"#),
    ("a view of all channels", r#"{"type":"view","channels":"*"}"#),
    ("a view of five channels", r#"{"type":"view","channels":["x","x","x","x","x"]}"#),
    ("a view of a number", r#"{"type":"view","users":[1]}"#),
    ("a thread without a root", r#"{"type":"view","threads":[["C01MCC5RM00000000000000000A"]]}"#),
    ("a view of something else", r#"{"type":"view","files":[]}"#),
    ("a view of null", r#"{"type":"view","channels":null}"#),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_known_frame_with_a_bad_field_is_passed_over() {
    let cluster = stack(1).await;
    all(PASSED_OVER.into_iter().enumerate().collect(), async |(n, (name, said))| {
        let mut socket = Socket::ready(&cluster, &format!("u{n}")).await?;
        is_passed_over(&mut socket, name, said).await
    })
    .await;
}

async fn is_passed_over(socket: &mut Socket, name: &str, said: &str) -> Result<(), String> {
    socket.send(&text(said.as_bytes())).await;
    socket.send(&text(br#"{"type":"ping"}"#)).await;
    match socket.next(ANSWER_MAX).await {
        Received::Frame(1, frame) if frame.windows(6).any(|part| part == b"\"pong\"") => Ok(()),
        other => Err(format!("  {name}: {other:?}, not a pong")),
    }
}

const KEPT: &str = r#"{"type":"kept","channel_id":"C01MCC5RM00000000000000000A","ids":["01MCC5RM000000000000000001"]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn g13_only_a_device_can_say_what_it_keeps() {
    let cluster = stack(1).await;
    let phone = SocketKind { device: Some("phone".parse().unwrap()), ..SocketKind::default() };
    let ids = |ids: &str| KEPT.replace(r#"["01MCC5RM000000000000000001"]"#, ids);
    let many = vec![r#""01MCC5RM000000000000000001""#; 101].join(",");
    let cases = [
        ("kept in a foreign channel", KEPT.to_owned()),
        ("kept of nothing", r#"{"type":"kept"}"#.to_owned()),
        ("kept of no ids", ids("[]")),
        ("kept of a number", ids("[7]")),
        ("kept of one id", ids(r#""01MCC5RM000000000000000001""#)),
        ("kept of no id", ids(r#"["x"]"#)),
        ("kept of 101 ids", ids(&format!("[{many}]"))),
        ("kept until", KEPT.replace('}', r#","until":5}"#)),
    ];
    all(cases.into_iter().enumerate().collect(), async |(n, (name, said))| {
        let mut socket = Socket::ready_as(&cluster, &format!("u{n}"), &phone).await?;
        is_passed_over(&mut socket, name, &said).await
    })
    .await;
    let mut socket = Socket::ready(&cluster, "without").await.unwrap();
    socket.send(&text(KEPT.as_bytes())).await;
    ends_with(&mut socket, 4400, "kept without a device").await.unwrap();
}

/// Sends that are refused: the fields beside `type` and `ref`, and the code.
const REFUSED: [(&str, &str, &str); 9] = [
    ("nothing", "", "invalid_field"),
    ("no channel", r#","channel_id":"general","id":"$ID","message":"hi""#, "invalid_field"),
    ("a foreign channel", r#","channel_id":"$C","id":"$ID","message":"hi""#, "channel_not_found"),
    ("an id that is none", r#","channel_id":"$C","id":"x","message":"hi""#, "invalid_id"),
    ("white space", r#","channel_id":"$C","id":"$ID","message":" ""#, "empty_message"),
    ("a control character", r#","channel_id":"$C","id":"$ID","message":"\u0007""#, "invalid_field"),
    ("no text", r#","channel_id":"$C","id":"$ID","message":null"#, "invalid_field"),
    (
        "an unknown field",
        r#","channel_id":"$C","id":"$ID","message":"hi","thread":"$ID""#,
        "invalid_field",
    ),
    (
        "a quote that is no id",
        r#","channel_id":"$C","id":"$ID","message":"hi","quote":"x""#,
        "invalid_id",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_cannot_be_taken_is_refused_by_its_number() {
    let cluster = stack(1).await;
    all(REFUSED.into_iter().enumerate().collect(), async |(n, (name, fields, code))| {
        let mut socket = Socket::ready(&cluster, &format!("u{n}")).await?;
        let fields = fields
            .replace("$C", "C01MCC5RM00000000000000000A")
            .replace("$ID", "01MCC5RM000000000000000001");
        socket.send(&text(format!(r#"{{"type":"send","ref":7{fields}}}"#).as_bytes())).await;
        let wanted = format!(r#""code":"{code}","#);
        match socket.next(ANSWER_MAX).await {
            Received::Frame(1, frame) => {
                let said = String::from_utf8_lossy(&frame);
                let is_right = said.contains(&wanted) && said.contains(r#""ref":7"#);
                if is_right { Ok(()) } else { Err(format!("  {name}: {said}, not {code}")) }
            }
            other => Err(format!("  {name}: {other:?}, not {code}")),
        }
    })
    .await;
}

/// Sends a `renew` with this ticket, in JSON, and compares the answer. The socket stays.
async fn renewal_is_refused(
    socket: &mut Socket,
    name: &str,
    ticket: &str,
    code: &str,
) -> Result<(), String> {
    let frame = format!(r#"{{"type":"renew","ref":7{ticket}}}"#);
    socket.send(&text(frame.as_bytes())).await;
    match socket.next(ANSWER_MAX).await {
        Received::Frame(1, frame) => {
            let said = String::from_utf8_lossy(&frame);
            let wanted =
                format!(r#"{{"code":"{code}","ref":7,"retryable":false,"type":"refused"}}"#);
            if said != wanted {
                return Err(format!("  {name}: {said}, not {code}"));
            }
        }
        other => return Err(format!("  {name}: {other:?}, not {code}")),
    }
    socket.lives().await.map_err(|error| format!("  {name}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_no_other_ticket_renews_a_socket_and_none_costs_it() {
    let cluster = stack(1).await;
    let node = cluster.nodes()[0].node_id.to_string();
    let target = cluster.api("alice").connect(None).await.unwrap().target;
    let mut first = Socket::open(&target.url).await.unwrap();
    first.send(&hello(&target.ticket, None)).await;
    assert!(matches!(first.next(ANSWER_MAX).await, Received::Frame(1, _)), "it is good once");
    let no_strings = [
        ("no ticket", String::new()),
        ("null", r#","ticket":null"#.to_owned()),
        ("a number", r#","ticket":7"#.to_owned()),
        ("a list", r#","ticket":["t"]"#.to_owned()),
    ];
    let bad = tickets(&node, &target.ticket).into_iter().chain(foreign_tickets(&node));
    let bad = bad.map(|(name, ticket)| (name, format!(r#","ticket":{}"#, json!(ticket))));
    let bad: Vec<_> = bad.chain(no_strings).enumerate().collect();
    all(bad, async |(n, (name, ticket))| {
        let mut socket = Socket::ready(&cluster, &format!("u{n}")).await?;
        renewal_is_refused(&mut socket, name, &ticket, "invalid_token").await
    })
    .await;
    let others = [("of another user", "w", "bob"), ("of another workspace", "elsewhere", "alice")];
    all(others.into(), async |(name, workspace, user)| {
        let user = client::DevUser::new(workspace.parse().unwrap(), user.parse().unwrap());
        let target = cluster.api_of(user).connect(None).await.map_err(|error| error.to_string())?;
        let ticket = format!(r#","ticket":{}"#, json!(target.target.ticket));
        let mut socket = Socket::ready(&cluster, "alice").await?;
        renewal_is_refused(&mut socket, name, &ticket, "forbidden").await
    })
    .await;
}
