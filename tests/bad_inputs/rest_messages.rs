//! `POST /messages`: fields, texts, ids, and channels that the caller is not a member of.

use model::{ChannelId, Direction, MessageId, Timestamp};
use serde_json::{Value, json};

use crate::door::{Cast, POSTED, Rest, absent, all, stack};
use crate::tokens;

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = fields(cast);
    cases.extend(channels(cast));
    cases.extend(texts(cast));
    cases.extend(ids(cast));
    cases.extend(times(cast));
    cases.extend(conflicts(cast));
    cases
}

/// A valid body with one field changed, or removed if `value` is `None`.
fn body(cast: &Cast, name: &str, value: Option<Value>) -> String {
    let mut body = json!({ "channel_id": cast.channel, "message": "x" });
    match value {
        Some(value) => body[name] = value,
        None => drop(body.as_object_mut().unwrap().remove(name)),
    }
    body.to_string()
}

fn call(name: impl Into<String>, body: String) -> Rest {
    Rest::of(name, "POST", "/messages").body(body)
}

/// One value of each type that JSON has.
fn types() -> [(&'static str, Value); 6] {
    [
        ("null", json!(null)),
        ("a number", json!(7)),
        ("true", json!(true)),
        ("a text", json!("x")),
        ("a list", json!(["x"])),
        ("an object", json!({ "x": "x" })),
    ]
}

fn fields(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    for field in ["channel_id", "message", "id", "after"] {
        for (kind, value) in types().into_iter().filter(|(kind, _)| *kind != "a text") {
            let case = call(format!("{field} is {kind}"), body(cast, field, Some(value)));
            cases.push(case.refused(400, "invalid_field").field(field));
        }
    }
    for field in ["channel_id", "message"] {
        let case = call(format!("no {field}"), body(cast, field, None));
        cases.push(case.refused(400, "invalid_field").field(field));
    }
    let long = "x".repeat(65);
    for (name, field, expected) in [
        ("a field that is unknown", "extra", "extra"),
        ("a field in upper case", "Message", "Message"),
        ("a field of the answer", "sender_id", "sender_id"),
        ("a field of a prototype", "__proto__", "__proto__"),
        ("a field without a name", "", ""),
        ("a field that is markup", "<b>", "?"),
        ("a field with a NUL", "a\0", "?"),
        ("a field that is not ASCII", "é", "?"),
        ("a field of 65 characters", long.as_str(), "?"),
    ] {
        let expected = if field.is_empty() { "?" } else { expected };
        let case = call(name, body(cast, field, Some(json!("x"))));
        cases.push(case.refused(400, "invalid_field").field(expected));
    }
    cases
}

fn channels(cast: &Cast) -> Vec<Rest> {
    let ulid = &absent()[1..];
    let form = [
        ("an empty channel", String::new()),
        ("a channel's name", "general".to_owned()),
        ("a channel id in lower case", absent().to_lowercase()),
        ("a channel id one short", absent()[..26].to_owned()),
        ("a channel id one long", format!("{}0", absent())),
        ("a channel id of another kind", format!("M{ulid}")),
        ("a channel id with an alias", format!("C{}O", &ulid[..25])),
        ("a channel id beyond time", "C8ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned()),
        ("a channel id with a space", format!(" {}", absent())),
        ("a channel id with a NUL", format!("{}\0", &absent()[..26])),
        ("a channel id with a key's separator", format!("C#{}", &ulid[..25])),
        ("a DM id that is not Crockford", "DUUUUUUUUUUUUUUUUUUUUUUUUUU".to_owned()),
        ("a message id for a channel", ulid.to_owned()),
    ]
    .into_iter()
    .map(|(name, id)| {
        let case = call(name, body(cast, "channel_id", Some(json!(id))));
        case.refused(400, "invalid_field").field("channel_id")
    });
    let not_found = [
        ("a channel that was never created", absent(), tokens::good("alice")),
        ("a DM that was never opened", format!("D{ulid}"), tokens::good("alice")),
        ("a channel of others", cast.bobs.clone(), tokens::good("alice")),
        ("a channel of another workspace", cast.foreign.clone(), tokens::good("alice")),
        ("a channel by a stranger", cast.channel.clone(), tokens::good("eve")),
        ("a DM by a stranger", cast.dm.clone(), tokens::good("eve")),
        ("a channel by an admin who is not a member", cast.channel.clone(), tokens::admin()),
        ("a channel by a revoked user", cast.channel.clone(), tokens::good("gone")),
        (
            "a channel by its member's name elsewhere",
            cast.channel.clone(),
            tokens::of(&tokens::claims("alice", "elsewhere")),
        ),
    ]
    .into_iter()
    .map(|(name, id, token)| {
        let case = call(name, body(cast, "channel_id", Some(json!(id)))).by(&token);
        case.refused(404, "channel_not_found")
    });
    form.chain(not_found).collect()
}

fn texts(cast: &Cast) -> Vec<Rest> {
    let of = |name: String, text: &str| call(name, body(cast, "message", Some(json!(text))));
    let mut cases = Vec::new();
    for (name, text) in [
        ("an empty text", ""),
        ("a space", " "),
        ("line breaks and tabs", "\n\r\t"),
        ("a wide space", "\u{3000}"),
        ("a space that does not break", "\u{a0}"),
        ("a line separator", "\u{2028}"),
        ("a next line alone", "\u{85}"),
        ("a vertical tab alone", "\u{b}"),
        ("a zero-width space", "\u{200b}"),
        ("byte order marks and a space", "\u{feff} \u{feff}"),
        ("a Hangul filler", "\u{3164}"),
        ("a right-to-left override alone", "\u{202e}"),
        ("tags alone", "\u{e0001}\u{e0041}\u{e007f}"),
        ("a variation selector alone", "\u{fe0f}"),
    ] {
        let case = of(name.to_owned(), text);
        cases.push(case.refused(400, "empty_message").field("message"));
    }
    for code in [0, 1, 7, 8, 0xb, 0xc, 0xe, 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9f] {
        let char = char::from_u32(code).unwrap();
        let case =
            of(format!("a text with the control character {code:02x}"), &format!("a{char}b"));
        cases.push(case.refused(400, "invalid_field").field("message"));
    }
    let many: String = (0..51).map(|n| format!("<@user{n}>")).collect();
    let many = of("51 mentions".to_owned(), &many);
    cases.push(many.refused(400, "invalid_field").field("message"));
    for (name, text) in [
        ("40,001 characters", "x".repeat(40_001)),
        ("40,001 characters of four bytes", "😀".repeat(40_001)),
        ("40,001 characters with a control character", format!("{}\0", "x".repeat(40_000))),
        ("a character and its accent, 20,001 times", "e\u{301}".repeat(20_001)),
    ] {
        let case = of(name.to_owned(), &text);
        cases.push(case.refused(413, "message_too_long").field("message"));
    }
    cases
}

/// Both ids, with texts that are no ULID.
fn ids(cast: &Cast) -> Vec<Rest> {
    let good = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let mut cases = Vec::new();
    for field in ["id", "after"] {
        for (name, id) in [
            ("empty", String::new()),
            ("a word", "x".to_owned()),
            ("one short", good[..25].to_owned()),
            ("one long", format!("{good}0")),
            ("in lower case", good.to_lowercase()),
            ("beyond time", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned()),
            ("with an I", good.replace('A', "I")),
            ("with an L", good.replace('A', "L")),
            ("with an O", good.replace('0', "O")),
            ("with a U", good.replace('A', "U")),
            ("with a hyphen", good.replace('3', "-")),
            ("with a space in front", format!(" {}", &good[..25])),
            ("with a NUL at the end", format!("{}\0", &good[..25])),
            ("in wide characters", "０１ARZ3NDEKTSV4RRFFQ69".to_owned()),
            ("a UUID", "01890f2e-7b1c-7cc0-98c4-dc0c0c07398f".to_owned()),
        ] {
            let case = call(format!("{field} is {name}"), body(cast, field, Some(json!(id))));
            cases.push(case.refused(400, "invalid_id").field(field));
        }
    }
    cases
}

/// Ids whose time is too far from now.
fn times(cast: &Cast) -> Vec<Rest> {
    let (now, second, minute, hour) = (tokens::now_ms(), 1_000, 60_000, 3_600_000);
    let at = |ms: u64| MessageId::mint(Timestamp::from_unix_ms(ms), 7).to_string();
    [
        ("id is at the epoch", "id", "00000000000000000000000000".to_owned()),
        ("id is at the end of time", "id", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned()),
        ("id is a year old", "id", at(now - 365 * 24 * hour)),
        ("id is 24 hours and a minute old", "id", at(now - 24 * hour - minute)),
        ("id is 12 minutes ahead", "id", at(now + 12 * minute)),
        ("id is a day ahead", "id", at(now + 24 * hour)),
        ("after is at the end of time", "after", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned()),
        ("after is two minutes ahead", "after", at(now + 120 * second)),
        ("after is a day ahead", "after", at(now + 24 * hour)),
    ]
    .into_iter()
    .map(|(name, field, id)| {
        let case = call(name, body(cast, field, Some(json!(id))));
        case.refused(422, "id_out_of_range").field(field)
    })
    .collect()
}

fn conflicts(cast: &Cast) -> Vec<Rest> {
    let of = |text: &str| {
        let body = json!({ "channel_id": cast.channel, "message": text, "id": cast.posted });
        body.to_string()
    };
    vec![
        call("the id of another text", of("another text")).refused(409, "id_conflict"),
        call("the id of a text with a space more", of(&format!("{POSTED} ")))
            .refused(409, "id_conflict"),
        call("the id of another sender", of(POSTED))
            .by(&tokens::good("bob"))
            .refused(409, "id_conflict"),
        // Membership is checked first, so that an id reveals nothing to a stranger.
        call("the id of another sender, by a stranger", of(POSTED))
            .by(&tokens::good("eve"))
            .refused(404, "channel_not_found"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_refused_and_nothing_is_stored() {
    let cluster = stack(0).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    all(cases(&cast), |case| case.check(&url)).await;
    let (alice, channel) = (cluster.api("alice"), cast.channel.parse::<ChannelId>().unwrap());
    let page = alice.scroll(&channel, None, 20, Direction::Older).await.unwrap();
    assert_eq!(page.messages.len(), 1, "only what was stored before");
}
