//! `GET`, `PATCH` and `DELETE` on one message: ids, fields, revisions, and who may.

use std::time::Duration;

use model::{ChangeId, MessageId, Timestamp};
use serde_json::{Value, json};

use crate::door::{Cast, POSTED, Rest, absent, all, stack};
use crate::tokens;

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = fields(cast);
    cases.extend(ids(cast));
    cases.extend(times(cast));
    cases.extend(rights(cast));
    cases.extend(reactions(cast));
    cases.extend(pins(cast));
    cases
}

fn path(channel: &str, id: &str) -> String {
    format!("/channels/{channel}/messages/{id}")
}

fn change_id(ahead_ms: i64) -> String {
    let at = tokens::now_ms().saturating_add_signed(ahead_ms);
    ChangeId::mint(Timestamp::from_unix_ms(at), 7).to_string()
}

/// A valid edit of the cast's message with one field changed, or removed if `value` is `None`.
fn edit(cast: &Cast, name: impl Into<String>, field: &str, value: Option<Value>) -> Rest {
    let mut body = json!({ "message": "x", "change_id": change_id(0) });
    match value {
        Some(value) => body[field] = value,
        None => drop(body.as_object_mut().unwrap().remove(field)),
    }
    Rest::of(name, "PATCH", path(&cast.channel, &cast.posted)).body(body.to_string())
}

fn fields(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    for field in ["message", "change_id", "if_rev"] {
        for (kind, value) in
            [("null", json!(null)), ("a number", json!(7)), ("a list", json!(["x"]))]
        {
            let case = edit(cast, format!("an edit's {field} is {kind}"), field, Some(value));
            cases.push(case.refused(400, "invalid_field").field(field));
        }
    }
    for field in ["message", "change_id"] {
        let case = edit(cast, format!("an edit without {field}"), field, None);
        cases.push(case.refused(400, "invalid_field").field(field));
    }
    for field in ["id", "sender_id", "rev"] {
        let case = edit(cast, format!("an edit of {field}"), field, Some(json!("x")));
        cases.push(case.refused(400, "invalid_field").field(field));
    }
    for (name, text, status, code) in [
        ("an edit to nothing", "", 400, "empty_message"),
        ("an edit to white space", " \n\u{2003}", 400, "empty_message"),
        ("an edit to invisible characters", "\u{200b}\u{2060}", 400, "empty_message"),
        ("an edit with a NUL", "a\0", 400, "invalid_field"),
    ] {
        let case = edit(cast, name, "message", Some(json!(text)));
        cases.push(case.refused(status, code).field("message"));
    }
    let many: String = (0..51).map(|n| format!("<@user{n}>")).collect();
    let many = edit(cast, "an edit that mentions 51 users", "message", Some(json!(many)));
    cases.push(many.refused(400, "invalid_field").field("message"));
    let long = edit(cast, "an edit that is too long", "message", Some(json!("x".repeat(40_001))));
    cases.push(long.refused(413, "message_too_long").field("message"));
    for (name, rev) in [("an empty revision", ""), ("a long revision", &"x".repeat(65))] {
        let case = edit(cast, name, "if_rev", Some(json!(rev)));
        cases.push(case.refused(400, "invalid_field").field("if_rev"));
    }
    let other = edit(cast, "an edit of another revision", "if_rev", Some(json!("0")));
    cases.push(other.refused(409, "revision_conflict"));
    cases
}

fn ids(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    for (name, id) in [
        ("a change id that is no ULID", "1"),
        ("a change id in lower case", "01kdvsqnc0zzzzzzzzzzzzzzzz"),
        ("a change id beyond time", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
    ] {
        let case = edit(cast, name, "change_id", Some(json!(id)));
        cases.push(case.refused(400, "invalid_id").field("change_id"));
    }
    let body = json!({ "message": "x", "change_id": change_id(0) }).to_string();
    let absent_id = MessageId::mint(Timestamp::from_unix_ms(1), 1).to_string();
    for method in ["GET", "PATCH", "DELETE"] {
        let on = |name: &str, channel: &str, id: &str| {
            let case = Rest::of(format!("{method} {name}"), method, path(channel, id));
            if method == "PATCH" { case.body(body.clone()) } else { case }
        };
        for (name, id) in [
            ("of no ULID", "x"),
            ("of a ULID in lower case", "01kdvsqnc0zzzzzzzzzzzzzzzz"),
            ("of a ULID with an escape", "01KDVSQNC0ZZZZZZZZZZZZZZZ%00"),
        ] {
            let case = on(&format!("a message {name}"), &cast.channel, id);
            cases.push(case.refused(400, "invalid_id").field("id"));
        }
        let malformed = on("a message of no channel", "x", &cast.posted);
        cases.push(malformed.refused(400, "invalid_field").field("channel_id"));
        let absent_message = on("a message that was never sent", &cast.channel, &absent_id);
        cases.push(absent_message.refused(404, "message_not_found"));
        for (name, channel) in [
            ("an absent channel", absent()),
            ("a channel of others", cast.bobs.clone()),
            ("a channel of another workspace", cast.foreign.clone()),
        ] {
            let case = on(&format!("a message of {name}"), &channel, &cast.posted);
            cases.push(case.refused(404, "channel_not_found"));
        }
        let stranger = on("a message by a stranger", &cast.channel, &cast.posted);
        cases.push(stranger.by(&tokens::good("eve")).refused(404, "channel_not_found"));
        let revoked = on("a message by a revoked user", &cast.channel, &cast.posted);
        cases.push(revoked.by(&tokens::good("gone")).refused(404, "channel_not_found"));
    }
    cases
}

fn times(cast: &Cast) -> Vec<Rest> {
    let hours = |count: u64| i64::try_from(Duration::from_secs(count * 3_600).as_millis()).unwrap();
    [
        ("a change id of tomorrow", hours(24)),
        ("a change id of the next minute", 60_000),
        ("a change id of the day before", -hours(25)),
    ]
    .into_iter()
    .map(|(name, ms)| {
        let case = edit(cast, name, "change_id", Some(json!(change_id(ms))));
        case.refused(422, "id_out_of_range").field("change_id")
    })
    .collect()
}

fn rights(cast: &Cast) -> Vec<Rest> {
    let edit = edit(cast, "an edit of another's message", "message", Some(json!("x")));
    let delete =
        Rest::of("a deletion of another's message", "DELETE", path(&cast.channel, &cast.posted));
    [edit, delete]
        .into_iter()
        .map(|case| case.by(&tokens::good("bob")).refused(403, "forbidden"))
        .collect()
}

fn reaction(cast: &Cast, name: impl Into<String>, method: &'static str, emoji: &str) -> Rest {
    let path = format!("{}/reactions/{emoji}", path(&cast.channel, &cast.posted));
    Rest::of(name, method, path)
}

fn reactions(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    let absent_id = MessageId::mint(Timestamp::from_unix_ms(1), 1).to_string();
    let long = format!(":{}:", "a".repeat(63));
    for method in ["PUT", "DELETE"] {
        for (name, emoji) in [
            ("a letter", "a"),
            ("a combining mark alone", "%CC%81"),
            ("an emoji with a combining mark", "%F0%9F%91%8D%CC%81"),
            ("two emoji", "%F0%9F%91%8D%F0%9F%91%8D"),
            ("a right-to-left override before an emoji", "%E2%80%AE%F0%9F%91%8D"),
            ("a joiner at the end", "%F0%9F%91%8D%E2%80%8D"),
            ("half a flag", "%F0%9F%87%A9"),
            ("bytes that are no UTF-8", "%F0%9F"),
            ("a name in upper case", ":UPPER:"),
            ("a name of nothing", "::"),
            ("65 bytes", &long),
            ("white space", "%20"),
            ("a NUL", "%00"),
        ] {
            let case = reaction(cast, format!("{method} of {name} as a reaction"), method, emoji);
            cases.push(case.refused(400, "invalid_field").field("emoji"));
        }
        let nothing = reaction(cast, format!("{method} of no reaction"), method, "");
        cases.push(nothing.refused(404, "not_found"));
        for (name, id, status, code) in [
            ("no ULID", "1".to_owned(), 400, "invalid_id"),
            ("tomorrow", change_id(86_400_000), 422, "id_out_of_range"),
            ("the day before", change_id(-90_000_000), 422, "id_out_of_range"),
        ] {
            let emoji = format!(":a:?change_id={id}");
            let name = format!("{method} of a reaction with a change id of {name}");
            let case = reaction(cast, name, method, &emoji);
            cases.push(case.refused(status, code).field("change_id"));
        }
        let emoji = format!(":a:?change_id={0}&change_id={0}", change_id(0));
        let twice = reaction(cast, format!("{method} of a reaction with two ids"), method, &emoji);
        cases.push(twice.refused(400, "invalid_field").field("change_id"));
        let on = |name: &str, channel: &str, id: &str| {
            let path = format!("{}/reactions/:a:", path(channel, id));
            Rest::of(format!("{method} of a reaction {name}"), method, path)
        };
        let absent_message = on("to a message that was never sent", &cast.channel, &absent_id);
        cases.push(absent_message.refused(404, "message_not_found"));
        for (name, channel) in [
            ("in an absent channel", absent()),
            ("in a channel of others", cast.bobs.clone()),
            ("in a channel of another workspace", cast.foreign.clone()),
        ] {
            cases.push(on(name, &channel, &cast.posted).refused(404, "channel_not_found"));
        }
        for (name, who) in [("a stranger", "eve"), ("a revoked user", "gone")] {
            let case = on(&format!("by {name}"), &cast.channel, &cast.posted);
            cases.push(case.by(&tokens::good(who)).refused(404, "channel_not_found"));
        }
    }
    let list = |name: &str, query: &str| {
        let path = format!("{}/reactions?{query}", path(&cast.channel, &cast.posted));
        Rest::of(name, "GET", path)
    };
    cases.push(list("reactions from no place", "offset=x").refused(400, "invalid_offset"));
    cases.push(list("reactions, none a page", "limit=0").refused(400, "invalid_limit"));
    let strangers = list("reactions for a stranger", "").by(&tokens::good("eve"));
    cases.push(strangers.refused(404, "channel_not_found"));
    cases
}

fn pins(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    let absent_id = MessageId::mint(Timestamp::from_unix_ms(1), 1).to_string();
    for method in ["PUT", "DELETE"] {
        let on = |name: &str, channel: &str, id: &str| {
            Rest::of(
                format!("{method} of a pin {name}"),
                method,
                format!("/channels/{channel}/pins/{id}"),
            )
        };
        let posted = &cast.posted;
        for (name, id) in
            [("of no ULID", "x"), ("of a message in lower case", "01kdvsqnc0zzzzzzzzzzzzzzzz")]
        {
            cases.push(on(name, &cast.channel, id).refused(400, "invalid_id").field("id"));
        }
        cases.push(on("of nothing", &cast.channel, "").refused(404, "not_found"));
        cases.push(
            on("in no channel", "x", posted).refused(400, "invalid_field").field("channel_id"),
        );
        for (name, id, status, code) in [
            ("no ULID", "1".to_owned(), 400, "invalid_id"),
            ("tomorrow", change_id(86_400_000), 422, "id_out_of_range"),
            ("the day before", change_id(-90_000_000), 422, "id_out_of_range"),
            ("today, twice", format!("{0}&change_id={0}", change_id(0)), 400, "invalid_field"),
        ] {
            let name = format!("with a change id of {name}");
            let case = on(&name, &cast.channel, &format!("{posted}?change_id={id}"));
            cases.push(case.refused(status, code).field("change_id"));
        }
        let absent_message = on("of a message that was never sent", &cast.channel, &absent_id);
        cases.push(absent_message.refused(404, "message_not_found"));
        for (name, channel) in [
            ("in an absent channel", absent()),
            ("in a channel of others", cast.bobs.clone()),
            ("in a channel of another workspace", cast.foreign.clone()),
        ] {
            cases.push(on(name, &channel, posted).refused(404, "channel_not_found"));
        }
        for (name, who) in [("by a stranger", "eve"), ("by a revoked user", "gone")] {
            let case = on(name, &cast.channel, posted);
            cases.push(case.by(&tokens::good(who)).refused(404, "channel_not_found"));
        }
    }
    let list = |name: &str, query: &str| {
        Rest::of(name, "GET", format!("/channels/{}/pins?{query}", cast.channel))
    };
    cases.push(list("pins from no place", "offset=x").refused(400, "invalid_offset"));
    cases.push(list("pins, none a page", "limit=0").refused(400, "invalid_limit"));
    cases.push(list("pins, 101 a page", "limit=101").refused(400, "invalid_limit"));
    let strangers = list("pins for a stranger", "").by(&tokens::good("eve"));
    cases.push(strangers.refused(404, "channel_not_found"));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_changes_are_refused_by_name_and_nothing_changes() {
    let cluster = stack(0).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    all(cases(&cast), |case| case.check(&url)).await;
    let (channel, id) = (cast.channel.parse().unwrap(), cast.posted.parse().unwrap());
    let message = cluster.api("alice").message(&channel, id).await.unwrap();
    assert_eq!((message.text.as_str(), message.is_changed()), (POSTED, false));
    assert_eq!(cluster.api("alice").pins(&channel, None).await.unwrap().0, []);
}
