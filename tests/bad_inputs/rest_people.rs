//! Public channels, the details of channels, and profiles: fields, queries, and who may.

use serde_json::{Value, json};

use crate::door::{Cast, Rest, absent, all, stack};
use crate::tokens;

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = details(cast);
    cases.extend(visibility());
    cases.extend(profiles());
    cases.extend(queries());
    cases.extend(rights(cast));
    cases
}

fn refused_fields(
    call: impl Fn(&str, String) -> Rest,
    fields: &[(&'static str, &str, Value)],
) -> Vec<Rest> {
    let refused = fields.iter().map(|(field, name, value)| {
        let mut body = json!({});
        body[*field] = value.clone();
        call(&format!("{field} {name}"), body.to_string())
            .refused(400, "invalid_field")
            .field(field)
    });
    refused.collect()
}

fn details(cast: &Cast) -> Vec<Rest> {
    let call = |name: &str, body: String| {
        let path = format!("/channels/{}", cast.channel);
        Rest::of(format!("details: {name}"), "PATCH", path).body(body)
    };
    let mut cases = refused_fields(
        call,
        &[
            ("name", "that is null", json!(null)),
            ("name", "that is a number", json!(7)),
            ("name", "that is empty", json!("")),
            ("name", "that is white space", json!(" \u{3000}")),
            ("name", "of zero-width spaces", json!("\u{200b}\u{2060}")),
            ("name", "of 81 characters", json!("x".repeat(81))),
            ("name", "with a line break", json!("a\nb")),
            ("topic", "that is null", json!(null)),
            ("topic", "that is a list", json!(["x"])),
            ("topic", "of 251 characters", json!("x".repeat(251))),
            ("topic", "of 251 characters of four bytes", json!("😀".repeat(251))),
            ("topic", "with a NUL", json!("a\0")),
            ("topic", "with a line break", json!("a\nb")),
            ("archived", "that is null", json!(null)),
            ("archived", "that is a text", json!("true")),
            ("archived", "that is a number", json!(1)),
            ("visibility", "that would change", json!("public")),
            ("members", "that would change", json!(["carol"])),
            ("details_version", "that the server counts", json!(9)),
        ],
    );
    let bare = |name: &str| call(name, String::new());
    cases.extend([
        bare("nothing").refused(400, "bad_json"),
        bare("a list").body("[]").refused(400, "invalid_field").field("body"),
        bare("without a media type").without("Content-Type").refused(415, "unsupported_media_type"),
        Rest::of("details: of no channel", "PATCH", "/channels/general")
            .body("{}")
            .refused(400, "invalid_field")
            .field("channel_id"),
    ]);
    cases
}

fn visibility() -> Vec<Rest> {
    let group = |visibility: Value| json!({ "type": "GROUP_CHANNEL", "name": "x", "members": [], "visibility": visibility });
    let dm = json!({ "type": "DM", "members": ["bob"], "visibility": "public" });
    [
        ("a visibility that is null", group(json!(null))),
        ("a visibility that is a truth value", group(json!(true))),
        ("an empty visibility", group(json!(""))),
        ("an unknown visibility", group(json!("secret"))),
        ("a visibility in upper case", group(json!("PUBLIC"))),
        ("a public DM", dm),
    ]
    .into_iter()
    .map(|(name, body)| {
        let case = Rest::of(format!("channels: {name}"), "POST", "/channels");
        case.body(body.to_string()).refused(400, "invalid_field").field("visibility")
    })
    .collect()
}

fn profiles() -> Vec<Rest> {
    let call = |name: &str, body: String| {
        Rest::of(format!("profile: {name}"), "PUT", "/users/me").body(body)
    };
    let long_url = format!("https://example.com/{}", "x".repeat(2_029));
    let mut cases = refused_fields(
        call,
        &[
            ("name", "that is null", json!(null)),
            ("name", "that is a number", json!(7)),
            ("name", "that is empty", json!("")),
            ("name", "that is invisible", json!("\u{200b} \u{3164}")),
            ("name", "of 81 characters", json!("x".repeat(81))),
            ("name", "with a tab", json!("a\tb")),
            ("avatar", "that is null", json!(null)),
            ("avatar", "that is no URL", json!("alice.png")),
            ("avatar", "over http", json!("http://example.com/a.png")),
            ("avatar", "that is a script", json!("javascript:alert(1)")),
            ("avatar", "that is data", json!("data:image/png;base64,AA")),
            ("avatar", "without a host", json!("https:///a.png")),
            ("avatar", "with a password", json!("https://a:b@example.com/a.png")),
            ("avatar", "with a space", json!("https://example.com/a b.png")),
            ("avatar", "with a quote", json!("https://example.com/\"x")),
            ("avatar", "with markup", json!("https://example.com/<x>")),
            ("avatar", "that is not ASCII", json!("https://example.com/é.png")),
            ("avatar", "of 2,049 bytes", json!(long_url)),
            ("status", "that is a list", json!(["x"])),
            ("status", "of 101 characters", json!("é".repeat(101))),
            ("status", "with a line break", json!("a\nb")),
            ("status_emoji", "that is a number", json!(7)),
            ("status_emoji", "of 65 bytes", json!("x".repeat(65))),
            ("status_emoji", "of 17 emoji", json!("😀".repeat(17))),
            ("status_emoji", "with a space", json!("a b")),
            ("status_emoji", "with a NUL", json!("a\0")),
            ("tz", "that is null", json!(null)),
            ("tz", "with a space", json!("Europe/New York")),
            ("tz", "with a dot", json!("../etc/passwd")),
            ("tz", "that is not ASCII", json!("Europe/Zürich")),
            ("tz", "of 65 characters", json!("x".repeat(65))),
            ("user_id", "that would change", json!("bob")),
            ("rev", "that the server mints", json!("x")),
        ],
    );
    let empty = || call("an empty body", String::new());
    cases.extend([
        empty().refused(400, "bad_json"),
        empty()
            .renamed("profile: a text")
            .body("\"x\"")
            .refused(400, "invalid_field")
            .field("body"),
        empty()
            .renamed("profile: a form")
            .without("Content-Type")
            .with("Content-Type", "application/x-www-form-urlencoded")
            .body("name=x")
            .refused(415, "unsupported_media_type"),
    ]);
    cases
}

fn queries() -> Vec<Rest> {
    let many = vec!["bob"; 101].join(",");
    let get = |path: String| Rest::of(format!("GET {path}"), "GET", path);
    let mut cases = Vec::new();
    for scope in ["", "PUBLIC", "private", "mine", "public,private", "public&scope=public"] {
        let case = get(format!("/channels?scope={scope}"));
        cases.push(case.refused(400, "invalid_field").field("scope"));
    }
    for ids in ["", ",", "bob,", "bob,,carol", "a%20b", "me", "%00", "bob&ids=bob", &many] {
        let case = get(format!("/users?ids={ids}"));
        cases.push(case.refused(400, "invalid_field").field("ids"));
    }
    for (path, code) in [
        ("/channels?scope=public&limit=0", "invalid_limit"),
        ("/channels?scope=public&offset=bob", "invalid_offset"),
        ("/users?limit=101", "invalid_limit"),
        ("/users?offset=a%20b", "invalid_offset"),
        ("/users?offset=me", "invalid_offset"),
    ] {
        cases.push(get(path.to_owned()).refused(400, code));
    }
    cases
}

fn rights(cast: &Cast) -> Vec<Rest> {
    let Cast { channel, dm, bobs, foreign, .. } = cast;
    let (eve, bob, gone) = (tokens::good("eve"), tokens::good("bob"), tokens::good("gone"));
    let change = |name: &str, id: &str, body: Value| {
        let case = Rest::of(format!("details: {name}"), "PATCH", format!("/channels/{id}"));
        case.body(body.to_string())
    };
    let (name, archive) = (json!({ "name": "x" }), json!({ "archived": true }));
    let mut cases = vec![
        change("of a DM", dm, name.clone()).refused(409, "dm_immutable"),
        change("a DM is archived", dm, archive.clone()).refused(409, "dm_immutable"),
        change("of a DM by a stranger", dm, name.clone()).by(&eve).refused(404, NONE),
        change("by a stranger", channel, name.clone()).by(&eve).refused(404, NONE),
        change("by an admin who is no member", channel, archive.clone())
            .by(&tokens::admin())
            .refused(404, NONE),
        change("of an absent channel", &absent(), name.clone()).refused(404, NONE),
        change("of a channel of others", bobs, name.clone()).refused(404, NONE),
        change("of another workspace", foreign, name.clone()).refused(404, NONE),
        change("a member archives", channel, archive).by(&bob).refused(403, "forbidden"),
    ];
    let call = |name: &str, method: &str, path: &str| {
        let case = Rest::of(format!("profile: {name}"), method, path);
        if method == "PUT" { case.body(json!({ "name": "x" }).to_string()) } else { case }
    };
    cases.extend([
        call("of another", "PUT", "/users/bob").refused(403, "forbidden"),
        call("an admin changes another's", "PUT", "/users/bob")
            .by(&tokens::admin())
            .refused(403, "forbidden"),
        call("a revoked user changes theirs", "PUT", "/users/me")
            .by(&gone)
            .refused(403, "forbidden"),
        call("a revoked user reads one", "GET", "/users/bob").by(&gone).refused(403, "forbidden"),
        call("a revoked user lists them", "GET", "/users").by(&gone).refused(403, "forbidden"),
        call("a user without one", "GET", "/users/carol").refused(404, "user_not_found"),
        call("a malformed user", "GET", "/users/a%20b")
            .refused(400, "invalid_field")
            .field("user_id"),
        call("a malformed user is changed", "PUT", "/users/a%20b")
            .refused(400, "invalid_field")
            .field("user_id"),
    ]);
    cases
}

const NONE: &str = "channel_not_found";

#[tokio::test(flavor = "multi_thread")]
async fn bad_changes_of_channels_and_profiles_are_refused_by_name_and_nothing_changes() {
    let cluster = stack(0).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    let alice = cluster.api("alice");
    let before = alice.channels().await.unwrap();
    all(cases(&cast), |case| case.check(&url)).await;
    assert_eq!(alice.channels().await.unwrap(), before);
    assert_eq!(alice.browse().await.unwrap(), []);
    assert_eq!(alice.profiles(None).await.unwrap().profiles, []);
}
