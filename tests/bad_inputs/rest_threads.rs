//! Threads: roots that are none, and what may not be done in them.

use model::{LogId, MessageId, Timestamp};
use serde_json::{Value, json};

use crate::door::{Cast, Rest, absent, all, stack};
use crate::tokens;

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = sends(cast);
    cases.extend(pages(cast));
    cases.extend(changes(cast));
    cases.extend(follows(cast));
    cases.extend(marks(cast));
    cases
}

/// A well-formed id of no message.
fn nobody() -> String {
    MessageId::mint(Timestamp::from_unix_ms(1), 1).to_string()
}

fn sends(cast: &Cast) -> Vec<Rest> {
    let send = |name: &str, channel: &str, field: &str, value: Value| {
        let body = json!({ "channel_id": channel, "message": "x", field: value });
        Rest::of(name, "POST", "/messages").body(body.to_string())
    };
    let mut cases = Vec::new();
    for field in ["thread", "quote"] {
        for (kind, value) in [
            ("null", json!(null)),
            ("a number", json!(7)),
            ("a list", json!([cast.posted])),
            ("no ULID", json!("x")),
            ("empty", json!("")),
            ("a ULID in lower case", json!("01kdvsqnc0zzzzzzzzzzzzzzzz")),
        ] {
            let case = send(&format!("a send's {field} is {kind}"), &cast.channel, field, value);
            cases.push(case.refused(400, "invalid_field").field(field));
        }
    }
    let absent_root = send("a reply to nothing", &cast.channel, "thread", json!(nobody()));
    cases.push(absent_root.refused(404, "message_not_found").field("thread"));
    for (name, channel) in [
        ("a reply in an absent channel", absent()),
        ("a reply in a channel of others", cast.bobs.clone()),
        ("a reply in a channel of another workspace", cast.foreign.clone()),
    ] {
        for (to, root) in [("to a message", cast.posted.clone()), ("to nothing", nobody())] {
            let case = send(&format!("{name} {to}"), &channel, "thread", json!(root));
            cases.push(case.refused(404, "channel_not_found"));
        }
    }
    cases
}

fn pages(cast: &Cast) -> Vec<Rest> {
    let page = |name: &str, query: &str| {
        let path = format!("/scroll?channel_id={}&thread={query}", cast.channel);
        Rest::of(name, "GET", path)
    };
    let threads = |name: &str, query: &str| Rest::of(name, "GET", format!("/threads?{query}"));
    let (posted, channel) = (&cast.posted, &cast.channel);
    let twice = format!("{posted}&thread={posted}");
    vec![
        page("the replies to no ULID", "x").refused(400, "invalid_field").field("thread"),
        page("the replies to nobody", "").refused(400, "invalid_field").field("thread"),
        page("the replies to two", &twice).refused(400, "invalid_field").field("thread"),
        page("the replies to an absent message", &nobody()).refused(404, "message_not_found"),
        page("replies for a stranger", posted)
            .by(&tokens::good("eve"))
            .refused(404, "channel_not_found"),
        page("replies to nothing for a stranger", &nobody())
            .by(&tokens::good("eve"))
            .refused(404, "channel_not_found"),
        threads("threads from no place", "offset=x").refused(400, "invalid_offset"),
        threads("threads from a root", &format!("offset={posted}")).refused(400, "invalid_offset"),
        threads("threads from a channel", &format!("offset={channel}"))
            .refused(400, "invalid_offset"),
        threads("threads, none a page", "limit=0").refused(400, "invalid_limit"),
        threads("threads, 101 a page", "limit=101").refused(400, "invalid_limit"),
    ]
}

/// The cast's message is in the main log, so in a thread there is none.
fn changes(cast: &Cast) -> Vec<Rest> {
    let (channel, posted) = (&cast.channel, &cast.posted);
    let message = format!("/channels/{channel}/messages/{posted}");
    let change_id = MessageId::mint(Timestamp::from_unix_ms(tokens::now_ms()), 7);
    let edit = json!({ "message": "x", "change_id": change_id.to_string() }).to_string();
    let mut cases = Vec::new();
    for (method, path) in [
        ("GET", message.clone()),
        ("PATCH", message.clone()),
        ("DELETE", message.clone()),
        ("GET", format!("{message}/reactions")),
        ("PUT", format!("{message}/reactions/:x:")),
        ("DELETE", format!("{message}/reactions/:x:")),
        ("PUT", format!("/channels/{channel}/pins/{posted}")),
        ("DELETE", format!("/channels/{channel}/pins/{posted}")),
    ] {
        let on = |thread: &str| {
            let name = format!("{method} {path} in the thread {thread:?}");
            let call = Rest::of(name, method, format!("{path}?thread={thread}"));
            if method == "PATCH" { call.body(edit.clone()) } else { call }
        };
        cases.push(on(posted).refused(404, "message_not_found"));
        cases.push(on("x").refused(400, "invalid_field").field("thread"));
    }
    cases
}

fn follows(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    for method in ["PUT", "DELETE"] {
        let on = |name: &str, channel: &str, root: &str| {
            let path = format!("/channels/{channel}/threads/{root}/follow");
            Rest::of(format!("{method} of following {name}"), method, path)
        };
        let posted = &cast.posted;
        cases.push(on("no ULID", &cast.channel, "x").refused(400, "invalid_id").field("id"));
        cases.push(on("nothing", &cast.channel, "").refused(404, "not_found"));
        cases.push(
            on("in no channel", "x", posted).refused(400, "invalid_field").field("channel_id"),
        );
        let absent_root = on("an absent message", &cast.channel, &nobody());
        cases.push(absent_root.refused(404, "message_not_found"));
        for (name, channel) in [
            ("in an absent channel", absent()),
            ("in a channel of others", cast.bobs.clone()),
            ("in a channel of another workspace", cast.foreign.clone()),
        ] {
            cases.push(on(name, &channel, posted).refused(404, "channel_not_found"));
        }
        for (name, who) in [("by a stranger", "eve"), ("by a revoked user", "gone")] {
            let case = on(name, &cast.channel, posted).by(&tokens::good(who));
            cases.push(case.refused(404, "channel_not_found"));
        }
    }
    cases
}

fn marks(cast: &Cast) -> Vec<Rest> {
    let read = |name: &str, channel: &str, thread: Value, epoch: u64| {
        let mark =
            json!({ "channel_id": channel, "thread": thread, "up_to": nobody(), "epoch": epoch });
        Rest::of(name, "POST", "/read").body(json!({ "marks": [mark] }).to_string())
    };
    let (channel, posted) = (&cast.channel, json!(cast.posted));
    let mut cases = vec![
        read("a mark in the thread null", channel, json!(null), 0)
            .refused(400, "invalid_field")
            .field("thread"),
        read("a mark in the thread of no ULID", channel, json!("x"), 0)
            .refused(400, "invalid_field")
            .field("thread"),
        read("a mark in a thread's later epoch", channel, posted.clone(), 1)
            .refused(400, "invalid_field")
            .field("epoch"),
    ];
    for (name, channel) in
        [("an absent channel", absent()), ("a channel of others", cast.bobs.clone())]
    {
        let case = read(&format!("a mark in a thread of {name}"), &channel, posted.clone(), 0);
        cases.push(case.refused(404, "channel_not_found"));
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_threads_are_refused_by_name_and_nothing_is_stored() {
    let cluster = stack(0).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    all(cases(&cast), |case| case.check(&url)).await;
    let alice = cluster.api("alice");
    let channel = cast.channel.parse().unwrap();
    let thread = LogId::new(channel, Some(cast.posted.parse().unwrap()));
    let page = alice.scroll(&thread, None, 20, model::Direction::Older).await.unwrap();
    assert_eq!(page.messages, []);
    assert_eq!(alice.threads(None).await.unwrap().0, []);
}
