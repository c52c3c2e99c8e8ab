//! Channels, members and users: bodies, paths, and who may do what.

use serde_json::{Value, json};

use crate::door::{Cast, Rest, absent, all, stack};
use crate::tokens;

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = bodies();
    cases.extend(keeps());
    cases.extend(people());
    cases.extend(many(cast));
    cases.extend(paths(cast));
    cases.extend(rights(cast));
    cases
}

fn create(name: impl Into<String>, body: &Value) -> Rest {
    Rest::of(name, "POST", "/channels").body(body.to_string())
}

fn bodies() -> Vec<Rest> {
    let group = |name: &str, value: Value| {
        let mut body = json!({ "type": "GROUP_CHANNEL", "name": "general", "members": [] });
        body[name] = value;
        body
    };
    let dm = |name: &str, value: Value| {
        let mut body = json!({ "type": "DM", "members": ["bob"] });
        body[name] = value;
        body
    };
    let without = |mut body: Value, name: &str| {
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let many: Vec<String> = (0..101).map(|n| format!("u{n}")).collect();
    [
        ("an empty body", "type", json!({})),
        ("no type", "type", without(group("x", json!(1)), "type")),
        ("an unknown type", "type", group("type", json!("CHANNEL"))),
        ("a type in lower case", "type", group("type", json!("group_channel"))),
        ("a type that is a number", "type", group("type", json!(1))),
        ("a type that is null", "type", group("type", json!(null))),
        ("no name", "name", without(group("name", json!("")), "name")),
        ("an empty name", "name", group("name", json!(""))),
        ("a name that is white space", "name", group("name", json!(" \u{3000}"))),
        ("a name of zero-width spaces", "name", group("name", json!("\u{200b}\u{200b}"))),
        ("a name that is a Hangul filler", "name", group("name", json!("\u{3164} "))),
        ("a name of 81 characters", "name", group("name", json!("x".repeat(81)))),
        ("a name of 81 characters of four bytes", "name", group("name", json!("😀".repeat(81)))),
        ("a name with a line break", "name", group("name", json!("a\nb"))),
        ("a name with a tab", "name", group("name", json!("a\tb"))),
        ("a name with a NUL", "name", group("name", json!("a\0"))),
        ("a name with a delete", "name", group("name", json!("a\u{7f}"))),
        ("a name with a next line", "name", group("name", json!("a\u{85}b"))),
        ("a name that is null", "name", group("name", json!(null))),
        ("a name that is a number", "name", group("name", json!(7))),
        ("a name that is a list", "name", group("name", json!(["a"]))),
        ("a DM with a name", "name", dm("name", json!("us"))),
        ("a DM with an empty name", "name", dm("name", json!(""))),
        ("no members", "members", without(group("members", json!([])), "members")),
        ("members that are a text", "members", group("members", json!("bob"))),
        ("members that are an object", "members", group("members", json!({ "bob": true }))),
        ("members that are null", "members", group("members", json!(null))),
        ("a member that is a number", "members", group("members", json!([7]))),
        ("a member that is null", "members", group("members", json!([null]))),
        ("a member that is a list", "members", group("members", json!([["bob"]]))),
        ("a member that is empty", "members", group("members", json!([""]))),
        ("a member with a space", "members", group("members", json!(["a b"]))),
        ("a member with a slash", "members", group("members", json!(["a/b"]))),
        ("a member with a key's separator", "members", group("members", json!(["a#b"]))),
        ("a member who is not ASCII", "members", group("members", json!(["é"]))),
        ("a member of 65 characters", "members", group("members", json!(["x".repeat(65)]))),
        ("101 members", "members", group("members", json!(many))),
        ("a DM with oneself", "members", dm("members", json!(["alice"]))),
        ("a DM with nobody", "members", dm("members", json!([]))),
        ("a DM with two", "members", dm("members", json!(["bob", "carol"]))),
        ("a DM with oneself and another", "members", dm("members", json!(["alice", "bob"]))),
        ("another contract", "contract", dm("contract", json!("ephemeral"))),
        ("an empty contract", "contract", group("contract", json!(""))),
        ("a contract in upper case", "contract", group("contract", json!("PERSIST_FIRST"))),
        ("a contract that is null", "contract", group("contract", json!(null))),
        ("a field that is unknown", "topic", group("topic", json!("x"))),
        ("a field that the server makes", "channel_id", group("channel_id", json!("x"))),
        ("a field that is markup", "?", group("<i>", json!("x"))),
    ]
    .into_iter()
    .map(|(name, field, body)| {
        create(format!("channels: {name}"), &body).refused(400, "invalid_field").field(field)
    })
    .collect()
}

/// How long messages are kept that were delivered first.
fn keeps() -> Vec<Rest> {
    [
        ("keep without its contract", "persist_first", "archive"),
        ("keep of what is never kept", "ephemeral", "archive"),
        ("keep of nothing", "deliver_first", ""),
        ("keep of another word", "deliver_first", "for ever"),
        ("keep until all have it, of what is stored first", "persist_first", "acked"),
    ]
    .into_iter()
    .map(|(name, contract, keep)| {
        let body = json!({
            "type": "GROUP_CHANNEL", "name": "general", "members": [], "contract": contract,
            "keep": keep,
        });
        create(format!("channels: {name}"), &body).refused(400, "invalid_field").field("keep")
    })
    .collect()
}

/// Additions of several members at once.
fn many(cast: &Cast) -> Vec<Rest> {
    let Cast { channel, dm, bobs, foreign, .. } = cast;
    let add = |name: &str, channel: &str, body: Value| {
        let path = format!("/channels/{channel}/members");
        Rest::of(format!("add at once: {name}"), "POST", path).body(body.to_string())
    };
    let members = |value: Value| json!({ "members": value });
    let hundred_and_one: Vec<String> = (0..101).map(|n| format!("u{n}")).collect();
    let mut cases: Vec<Rest> = [
        ("no members", "members", json!({})),
        ("an empty list", "members", members(json!([]))),
        ("101 members", "members", members(json!(hundred_and_one))),
        ("a text", "members", members(json!("bob"))),
        ("an object", "members", members(json!({ "bob": true }))),
        ("null", "members", members(json!(null))),
        ("a member that is null", "members", members(json!(["bob", null]))),
        ("a member that is empty", "members", members(json!(["bob", ""]))),
        ("a malformed member", "members", members(json!(["bob", "a b"]))),
        ("a member who is me", "members", members(json!(["me"]))),
        ("a member of 65 characters", "members", members(json!(["x".repeat(65)]))),
        ("a field that is unknown", "role", json!({ "members": ["bob"], "role": "admin" })),
    ]
    .into_iter()
    .map(|(name, field, body)| add(name, channel, body).refused(400, "invalid_field").field(field))
    .collect();
    let (carol, eve, absent) = (members(json!(["carol"])), tokens::good("eve"), absent());
    cases.extend([
        add("to a DM", dm, carol.clone()).refused(409, "dm_immutable"),
        add("by a stranger", channel, carol.clone()).by(&eve).refused(404, NONE),
        add("a stranger themselves", channel, members(json!(["eve"]))).by(&eve).refused(404, NONE),
        add("an admin who is not a member", channel, members(json!(["root"])))
            .by(&tokens::admin())
            .refused(404, NONE),
        add("to a channel that was never created", &absent, carol.clone()).refused(404, NONE),
        add("to a channel of others", bobs, carol.clone()).refused(404, NONE),
        add("to a channel of another workspace", foreign, carol.clone()).refused(404, NONE),
        add("to no channel", "general", carol).refused(400, "invalid_field").field("channel_id"),
    ]);
    cases
}

/// Callers and members whose access was revoked.
fn people() -> Vec<Rest> {
    let group = json!({ "type": "GROUP_CHANNEL", "name": "x", "members": ["bob", "gone"] });
    let empty = json!({ "type": "GROUP_CHANNEL", "name": "x", "members": [] });
    let dm = json!({ "type": "DM", "members": ["gone"] });
    let gone = tokens::good("gone");
    vec![
        create("a group with one who was revoked", &group).refused(404, "user_not_found"),
        create("a DM with one who was revoked", &dm).refused(404, "user_not_found"),
        create("a group by a revoked user", &empty).by(&gone).refused(403, "forbidden"),
        Rest::of("connect by a revoked user", "GET", "/connect")
            .by(&gone)
            .refused(403, "forbidden"),
    ]
}

/// Ids in paths.
fn paths(cast: &Cast) -> Vec<Rest> {
    let (c, long) = (&cast.channel, "x".repeat(65));
    let mut cases = Vec::new();
    for (name, id) in [
        ("a name", "general".to_owned()),
        ("lower case", c.to_lowercase()),
        ("one short", c[..26].to_owned()),
        ("a NUL", "%00".to_owned()),
        ("an escape that is none", "%zz".to_owned()),
        ("a slash in two bytes", "%C0%AF".to_owned()),
        ("a parent", "..".to_owned()),
    ] {
        for (method, path) in [
            ("GET", format!("/channels/{id}")),
            ("GET", format!("/channels/{id}/members")),
            ("PUT", format!("/channels/{id}/members/bob")),
            ("DELETE", format!("/channels/{id}/members/bob")),
        ] {
            let call = path.replace(&id, "id");
            let case = Rest::of(format!("{method} {call} with {name}"), method, path);
            cases.push(case.refused(400, "invalid_field").field("channel_id"));
        }
    }
    for (name, user) in [
        ("a space", "a%20b"),
        ("an escaped slash", "a%2Fb"),
        ("a NUL", "%00"),
        ("an at sign", "bob@example"),
        ("no ASCII", "%C3%A9"),
        ("65 characters", long.as_str()),
    ] {
        for (method, path, call) in [
            ("PUT", format!("/channels/{c}/members/{user}"), "a member"),
            ("DELETE", format!("/channels/{c}/members/{user}"), "a member"),
            ("DELETE", format!("/users/{user}"), "a user"),
        ] {
            let case = Rest::of(format!("{method} {call} with {name}"), method, path);
            cases.push(case.refused(400, "invalid_field").field("user_id"));
        }
    }
    cases
}

fn rights(cast: &Cast) -> Vec<Rest> {
    let Cast { channel, dm, bobs, foreign, .. } = cast;
    let (absent, eve, bob, admin) =
        (absent(), tokens::good("eve"), tokens::good("bob"), tokens::admin());
    let member = |channel: &str, user: &str| format!("/channels/{channel}/members/{user}");
    let mut cases = Vec::new();
    for (name, id) in [
        ("was never created", &absent),
        ("is of others", bobs),
        ("is of another workspace", foreign),
    ] {
        for (method, path, call) in [
            ("GET", format!("/channels/{id}"), "read a channel"),
            ("GET", format!("/channels/{id}/members"), "list the members of a channel"),
            ("PUT", member(id, "carol"), "add to a channel"),
            ("DELETE", member(id, "carol"), "remove from a channel"),
            ("DELETE", member(id, "alice"), "leave a channel"),
        ] {
            let case = Rest::of(format!("{call} that {name}"), method, path);
            cases.push(case.refused(404, "channel_not_found"));
        }
    }
    let of = |name: &str, method: &str, path: String| Rest::of(name, method, path);
    cases.extend([
        of("a stranger joins", "PUT", member(channel, "eve")).by(&eve).refused(404, NONE),
        of("a stranger reads", "GET", format!("/channels/{channel}")).by(&eve).refused(404, NONE),
        of("an admin adds, but is no member", "PUT", member(channel, "carol"))
            .by(&admin)
            .refused(404, NONE),
        of("an admin reads, but is no member", "GET", format!("/channels/{channel}"))
            .by(&admin)
            .refused(404, NONE),
        of("a revoked user is added", "PUT", member(channel, "gone"))
            .refused(404, "user_not_found"),
        of("a member removes the creator", "DELETE", member(channel, "alice"))
            .by(&bob)
            .refused(403, "forbidden"),
        of("add to a DM", "PUT", member(dm, "carol")).refused(409, "dm_immutable"),
        of("add a DM's member again", "PUT", member(dm, "bob")).refused(409, "dm_immutable"),
        of("remove from a DM", "DELETE", member(dm, "bob")).refused(409, "dm_immutable"),
        of("leave a DM", "DELETE", member(dm, "alice")).refused(409, "dm_immutable"),
        of("an admin removes from a DM", "DELETE", member(dm, "bob"))
            .by(&admin)
            .refused(409, "dm_immutable"),
        of("an admin adds to a DM", "PUT", member(dm, "root")).by(&admin).refused(404, NONE),
        of("a stranger removes from a DM", "DELETE", member(dm, "bob")).by(&eve).refused(404, NONE),
        of("a stranger adds to a DM", "PUT", member(dm, "eve")).by(&eve).refused(404, NONE),
        of("a user revokes another", "DELETE", "/users/bob".to_owned()).refused(403, "forbidden"),
        of("a user revokes a revoked user", "DELETE", "/users/gone".to_owned())
            .refused(403, "forbidden"),
        of("one who was revoked revokes another", "DELETE", "/users/bob".to_owned())
            .by(&tokens::good("gone"))
            .refused(403, "forbidden"),
    ]);
    cases
}

const NONE: &str = "channel_not_found";

#[tokio::test(flavor = "multi_thread")]
async fn bad_calls_about_channels_are_refused_by_name() {
    let cluster = stack(0).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    let alice = cluster.api("alice");
    let before = alice.channels().await.unwrap();
    all(cases(&cast), |case| case.check(&url)).await;
    assert_eq!(alice.channels().await.unwrap(), before, "nothing was made or changed");
}
