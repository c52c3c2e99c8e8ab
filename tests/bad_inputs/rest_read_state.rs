//! `POST /read`, `POST /channels/{channel_id}/unread` and `GET /unread`: marks, epochs, pages.

use model::{MessageId, Timestamp};
use serde_json::{Value, json};

use crate::door::{Cast, Rest, absent, all, stack};
use crate::tokens;

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = lists(cast);
    cases.extend(fields(cast));
    cases.extend(ids(cast));
    cases.extend(channels(cast));
    cases.extend(unread(cast));
    cases.extend(pages());
    cases
}

fn id(ahead_ms: i64) -> String {
    let at = tokens::now_ms().saturating_add_signed(ahead_ms);
    MessageId::mint(Timestamp::from_unix_ms(at), 7).to_string()
}

fn read(name: impl Into<String>, marks: Value) -> Rest {
    Rest::of(name, "POST", "/read").body(json!({ "marks": marks }).to_string())
}

/// A mark that is as good as can be, with one field changed, or removed if `value` is `None`.
fn mark(cast: &Cast, field: &str, value: Option<Value>) -> Value {
    let mut mark = json!({ "channel_id": cast.channel, "up_to": id(0), "epoch": 7 });
    match value {
        Some(value) => mark[field] = value,
        None => drop(mark.as_object_mut().unwrap().remove(field)),
    }
    mark
}

fn lists(cast: &Cast) -> Vec<Rest> {
    let good = mark(cast, "epoch", None);
    let post = |name: &str, body: String| Rest::of(name, "POST", "/read").body(body);
    let mut cases = Vec::new();
    for (name, marks) in [
        ("null", json!(null)),
        ("an object", good.clone()),
        ("a string", json!("x")),
        ("an empty list", json!([])),
        ("21 of them", json!(vec![good.clone(); 21])),
        ("a thousand of them", json!(vec![good.clone(); 1_000])),
        ("a list of ids", json!([id(0)])),
        ("a list of lists", json!([[good]])),
        ("a list with null", json!([good, null])),
    ] {
        let case = read(format!("read: marks are {name}"), marks);
        cases.push(case.refused(400, "invalid_field").field("marks"));
    }
    for (name, body) in [("no marks", "{}".to_owned()), ("one mark alone", good.to_string())] {
        let case = post(&format!("read: {name}"), body);
        cases.push(case.refused(400, "invalid_field").field("marks"));
    }
    let unknown = post("read: an unknown field", json!({ "marks": [good], "at": 1 }).to_string());
    cases.push(unknown.refused(400, "invalid_field").field("at"));
    let deep = format!("{{\"marks\":{}{}}}", "[".repeat(8), "]".repeat(8));
    cases.push(post("read: marks too deep", deep).refused(400, "bad_json"));
    let form = post("read: a form", "marks=1".to_owned()).without("Content-Type");
    let form = form.with("Content-Type", "application/x-www-form-urlencoded");
    cases.push(form.refused(415, "unsupported_media_type"));
    cases
}

fn fields(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    for field in ["channel_id", "up_to"] {
        for (kind, value) in [
            ("null", Some(json!(null))),
            ("a number", Some(json!(7))),
            ("a list", Some(json!(["x"]))),
            ("absent", None),
        ] {
            let case =
                read(format!("a mark's {field} is {kind}"), json!([mark(cast, field, value)]));
            cases.push(case.refused(400, "invalid_field").field(field));
        }
    }
    for (kind, value) in [
        ("null", json!(null)),
        ("a string", json!("0")),
        ("negative", json!(-1)),
        ("a fraction", json!(0.5)),
        ("true", json!(true)),
        ("of nine digits", json!(100_000_000)),
        ("beyond 64 bits", json!(1e30)),
    ] {
        let case =
            read(format!("a mark's epoch is {kind}"), json!([mark(cast, "epoch", Some(value))]));
        cases.push(case.refused(400, "invalid_field").field("epoch"));
    }
    for (kind, value) in [("null", json!(null)), ("a word", json!("no")), ("a number", json!(0))] {
        let case =
            read(format!("a mark's share is {kind}"), json!([mark(cast, "share", Some(value))]));
        cases.push(case.refused(400, "invalid_field").field("share"));
    }
    for field in ["thread", "moved", "user_id"] {
        let marks = json!([mark(cast, field, Some(json!("x")))]);
        let case = read(format!("a mark with {field}"), marks);
        cases.push(case.refused(400, "invalid_field").field(field));
    }
    cases
}

fn ids(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    for (name, id) in [
        ("no ULID", "1"),
        ("in lower case", "01kdvsqnc0zzzzzzzzzzzzzzzz"),
        ("beyond time", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        ("a stored mark", "00000003#01KDVSQNC0ZZZZZZZZZZZZZZZZ"),
    ] {
        let case = read(
            format!("a mark up to an id that is {name}"),
            json!([mark(cast, "up_to", Some(json!(id)))]),
        );
        cases.push(case.refused(400, "invalid_id").field("up_to"));
    }
    for (name, ahead_ms) in [("of the next minute", 60_000), ("of tomorrow", 86_400_000)] {
        let far = mark(cast, "up_to", Some(json!(id(ahead_ms))));
        let case = read(format!("a mark up to an id {name}"), json!([far.clone()]));
        cases.push(case.refused(422, "id_out_of_range").field("up_to"));
        let both = json!([mark(cast, "epoch", None), far]);
        let case = read(format!("a good mark and one up to an id {name}"), both);
        cases.push(case.refused(422, "id_out_of_range").field("up_to"));
    }
    let end = mark(cast, "up_to", Some(json!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ")));
    let case = read("a mark up to the last id of all", json!([end]));
    cases.push(case.refused(422, "id_out_of_range").field("up_to"));
    cases
}

fn channels(cast: &Cast) -> Vec<Rest> {
    let of = |channel: &str| mark(cast, "channel_id", Some(json!(channel)));
    let mut cases = Vec::new();
    for (name, channel) in [
        ("a name", "general"),
        ("empty", ""),
        ("a leaving mark", "!leaving#C1"),
        ("a tombstone", "!revoked"),
    ] {
        let case = read(format!("a mark of a channel that is {name}"), json!([of(channel)]));
        cases.push(case.refused(400, "invalid_field").field("channel_id"));
    }
    for (name, channel) in [
        ("that was never created", absent()),
        ("of others", cast.bobs.clone()),
        ("of another workspace", cast.foreign.clone()),
    ] {
        let case = read(format!("a mark of a channel {name}"), json!([of(&channel)]));
        cases.push(case.refused(404, "channel_not_found"));
    }
    let all = json!([of(&absent()), of(&cast.bobs), of(&cast.foreign)]);
    cases.push(read("marks of no channel of one's own", all).refused(404, "channel_not_found"));
    for (name, token) in [
        ("a stranger", tokens::good("eve")),
        ("an admin who is not a member", tokens::admin()),
        ("a revoked user", tokens::good("gone")),
    ] {
        let case = read(format!("a mark by {name}"), json!([of(&cast.channel)]));
        cases.push(case.by(&token).refused(404, "channel_not_found"));
    }
    cases
}

fn unread(cast: &Cast) -> Vec<Rest> {
    let path = |channel: &str| format!("/channels/{channel}/unread");
    let at = |name: &str, channel: &str, from: Value| {
        let body = json!({ "from": from }).to_string();
        Rest::of(format!("unread {name}"), "POST", path(channel)).body(body)
    };
    let mut cases = Vec::new();
    for (name, body) in [
        ("without from", "{}".to_owned()),
        ("from null", json!({ "from": null }).to_string()),
        ("from a number", json!({ "from": 7 }).to_string()),
    ] {
        let case = Rest::of(format!("unread {name}"), "POST", path(&cast.channel)).body(body);
        cases.push(case.refused(400, "invalid_field").field("from"));
    }
    for field in ["epoch", "up_to", "channel_id", "thread"] {
        let body = json!({ "from": cast.posted, field: "x" }).to_string();
        let case = Rest::of(format!("unread with {field}"), "POST", path(&cast.channel)).body(body);
        cases.push(case.refused(400, "invalid_field").field(field));
    }
    let no_ulid = at("from no ULID", &cast.channel, json!("x"));
    cases.push(no_ulid.refused(400, "invalid_id").field("from"));
    let far = at("from tomorrow", &cast.channel, json!(id(86_400_000)));
    cases.push(far.refused(422, "id_out_of_range").field("from"));
    let malformed = at("in no channel", "x", json!(cast.posted));
    cases.push(malformed.refused(400, "invalid_field").field("channel_id"));
    for (name, channel) in [
        ("in an absent channel", absent()),
        ("in a channel of others", cast.bobs.clone()),
        ("in a channel of another workspace", cast.foreign.clone()),
    ] {
        let case = at(name, &channel, json!(cast.posted));
        cases.push(case.refused(404, "channel_not_found"));
    }
    for (name, token) in
        [("by a stranger", tokens::good("eve")), ("by a revoked user", tokens::good("gone"))]
    {
        let case = at(name, &cast.channel, json!(cast.posted));
        cases.push(case.by(&token).refused(404, "channel_not_found"));
    }
    cases
}

fn pages() -> Vec<Rest> {
    [
        ("limit of unread channels", "?limit=0", "invalid_limit", None),
        ("limit of unread channels, too high", "?limit=101", "invalid_limit", None),
        ("limit of unread channels twice", "?limit=1&limit=2", "invalid_field", Some("limit")),
        ("offset of unread channels is a word", "?offset=x", "invalid_offset", None),
        (
            "offset of unread channels is a message",
            "?offset=01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "invalid_offset",
            None,
        ),
    ]
    .into_iter()
    .map(|(name, query, code, field)| {
        let case = Rest::of(name, "GET", format!("/unread{query}")).refused(400, code);
        match field {
            Some(field) => case.field(field),
            None => case,
        }
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_marks_are_refused_by_name_and_nothing_moves() {
    let cluster = stack(0).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    let marks = async || cluster.api("alice").unread().await.unwrap();
    let before = marks().await;
    all(cases(&cast), |case| case.check(&url)).await;
    assert_eq!(marks().await, before);
}
