//! Queries: pages of messages, channels and members, and `/connect`.

use crate::door::{Cast, Rest, absent, all, stack};
use crate::tokens;

pub(crate) fn cases(cast: &Cast) -> Vec<Rest> {
    let mut cases = scroll(cast);
    cases.extend(limits(cast));
    cases.extend(offsets(cast));
    cases.extend(directions(cast));
    cases.extend(known(cast));
    cases.extend(connect());
    cases
}

fn get(name: impl Into<String>, target: String) -> Rest {
    Rest::of(name, "GET", target)
}

fn scroll(cast: &Cast) -> Vec<Rest> {
    let c = &cast.channel;
    let form = [
        ("no query", String::new()),
        ("no channel", "?limit=5".to_owned()),
        ("an empty channel", "?channel_id=".to_owned()),
        ("a channel without a sign", "?channel_id".to_owned()),
        ("a channel's name", "?channel_id=general".to_owned()),
        ("an escape that is none", "?channel_id=%zz".to_owned()),
        ("an escape cut short", format!("?channel_id={c}%4")),
        ("a NUL", format!("?channel_id={c}%00")),
        ("a slash in two bytes", "?channel_id=%C0%AF".to_owned()),
        ("a surrogate as bytes", "?channel_id=%ED%A0%80".to_owned()),
        ("a channel in lower case", format!("?channel_id={}", c.to_lowercase())),
        ("a space for a plus", format!("?channel_id=+{c}")),
        ("a channel twice", format!("?channel_id={c}&channel_id={c}")),
        ("a channel twice by an escape", format!("?channel_id={c}&channel%5Fid={c}")),
        ("a channel in brackets", format!("?channel_id[]={c}")),
        ("a name in upper case", format!("?Channel_id={c}")),
    ]
    .into_iter()
    .map(|(name, query)| {
        let case = get(format!("scroll: {name}"), format!("/scroll{query}"));
        case.refused(400, "invalid_field").field("channel_id")
    });
    let not_found = [
        ("that was never created", absent(), tokens::good("alice")),
        ("of others", cast.bobs.clone(), tokens::good("alice")),
        ("of another workspace", cast.foreign.clone(), tokens::good("alice")),
        ("by a stranger", cast.channel.clone(), tokens::good("eve")),
        ("by an admin who is not a member", cast.channel.clone(), tokens::admin()),
        ("by a revoked user", cast.channel.clone(), tokens::good("gone")),
    ]
    .into_iter()
    .map(|(name, id, token)| {
        let case = get(format!("scroll a channel {name}"), format!("/scroll?channel_id={id}"));
        case.by(&token).refused(404, "channel_not_found")
    });
    form.chain(not_found).collect()
}

fn limits(cast: &Cast) -> Vec<Rest> {
    let c = &cast.channel;
    let mut cases = Vec::new();
    for (name, limit) in [
        ("zero", "0"),
        ("negative", "-1"),
        ("101", "101"),
        ("with an exponent", "1e1"),
        ("a fraction", "1.5"),
        ("a word", "x"),
        ("empty", ""),
        ("with a plus", "%2B5"),
        ("with a space", "%205"),
        ("hexadecimal", "0x5"),
        ("in other digits", "%D9%A5"),
        ("beyond 64 bits", "18446744073709551617"),
    ] {
        let case = get(format!("limit: {name}"), format!("/scroll?channel_id={c}&limit={limit}"));
        cases.push(case.refused(400, "invalid_limit"));
    }
    for (name, target) in [
        ("of channels", "/channels?limit=0".to_owned()),
        ("of channels, too high", "/channels?limit=1000".to_owned()),
        ("of mentions", "/mentions?limit=0".to_owned()),
        ("of mentions, too high", "/mentions?limit=101".to_owned()),
        ("of members", format!("/channels/{c}/members?limit=0")),
        ("of members, too high", format!("/channels/{c}/members?limit=101")),
    ] {
        cases.push(get(format!("limit {name}"), target).refused(400, "invalid_limit"));
    }
    for (name, target) in [
        ("of messages", format!("/scroll?channel_id={c}&limit=1&limit=1")),
        ("of channels", "/channels?limit=1&limit=2".to_owned()),
        ("of members", format!("/channels/{c}/members?limit=1&l%69mit=2")),
    ] {
        let case = get(format!("limit {name} twice"), target);
        cases.push(case.refused(400, "invalid_field").field("limit"));
    }
    cases
}

fn offsets(cast: &Cast) -> Vec<Rest> {
    let c = &cast.channel;
    let mut cases = Vec::new();
    for (name, offset) in [
        ("a word", "x".to_owned()),
        ("empty", String::new()),
        ("a channel's id", c.clone()),
        ("in lower case", "01arz3ndektsv4rrffq69g5fav".to_owned()),
        ("beyond time", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ".to_owned()),
        ("one short", "01ARZ3NDEKTSV4RRFFQ69G5FA".to_owned()),
        ("one long", "01ARZ3NDEKTSV4RRFFQ69G5FAVV".to_owned()),
        ("a time", "2026-01-01T00:00:00Z".to_owned()),
        ("with a NUL", "01ARZ3NDEKTSV4RRFFQ69G5FA%00".to_owned()),
        ("an escape that is none", "%q".to_owned()),
    ] {
        let case =
            get(format!("offset: {name}"), format!("/scroll?channel_id={c}&offset={offset}"));
        cases.push(case.refused(400, "invalid_offset"));
    }
    for (name, target) in [
        ("of channels is a word", "/channels?offset=x".to_owned()),
        ("of channels is a message", "/channels?offset=01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
        ("of mentions is a word", "/mentions?offset=x".to_owned()),
        ("of mentions is a message", "/mentions?offset=01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
        (
            "of mentions is in no channel",
            "/mentions?offset=01ARZ3NDEKTSV4RRFFQ69G5FAV.x".to_owned(),
        ),
        ("of mentions is empty", "/mentions?offset=".to_owned()),
        ("of pins is a channel", format!("/channels/{c}/pins?offset={c}")),
        ("of channels is empty", "/channels?offset=".to_owned()),
        ("of members has a space", format!("/channels/{c}/members?offset=a%20b")),
        ("of members is empty", format!("/channels/{c}/members?offset=")),
        ("of members is too long", format!("/channels/{c}/members?offset={}", "x".repeat(65))),
    ] {
        cases.push(get(format!("offset {name}"), target).refused(400, "invalid_offset"));
    }
    for (name, target) in [
        (
            "of messages",
            format!("/scroll?channel_id={c}&offset={0}&offset={0}", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ),
        ("of channels", format!("/channels?offset={c}&offset={c}")),
        ("of mentions", "/mentions?offset=a&offset=b".to_owned()),
        ("of members", format!("/channels/{c}/members?offset=a&offset=b")),
    ] {
        let case = get(format!("offset {name} twice"), target);
        cases.push(case.refused(400, "invalid_field").field("offset"));
    }
    cases
}

fn directions(cast: &Cast) -> Vec<Rest> {
    let c = &cast.channel;
    let of = |name: &str, rest: &str| {
        get(format!("direction: {name}"), format!("/scroll?channel_id={c}&{rest}"))
    };
    let mut cases: Vec<Rest> = [
        ("both", "direction=both"),
        ("empty", "direction="),
        ("without a sign", "direction"),
        ("in upper case", "direction=NEWER"),
        ("with a space", "direction=newer%20"),
        ("a number", "direction=1"),
    ]
    .into_iter()
    .map(|(name, rest)| of(name, rest).refused(400, "invalid_direction"))
    .collect();
    for (name, rest) in [
        ("both ways at once", "direction=newer&direction=older"),
        ("one way twice", "direction=newer&direction=newer"),
    ] {
        cases.push(of(name, rest).refused(400, "invalid_field").field("direction"));
    }
    cases
}

fn known(cast: &Cast) -> Vec<Rest> {
    let c = &cast.channel;
    let of = |name: &str, rest: &str| {
        let target = format!("/scroll?channel_id={c}&{rest}");
        get(format!("known: {name}"), target).refused(400, "invalid_field").field("known")
    };
    let newer = |name: &str, known: String| of(name, &format!("direction=newer&known={known}"));
    let mark = "aB3-_zZ9";
    vec![
        newer("empty", String::new()),
        newer("a word", "x".to_owned()),
        newer("a mark cut short", mark[1..].to_owned()),
        newer("a mark too long", format!("{mark}0")),
        newer("a second mark cut short", format!("{mark}{}", &mark[1..])),
        newer("401 marks", mark.repeat(401)),
        newer("800 marks", mark.repeat(800)),
        newer("padded", "aB3-_z==".to_owned()),
        newer("of plain base64", "aB3%2B%2FzZ9".to_owned()),
        newer("with a comma", format!("{mark},{}", &mark[1..])),
        newer("a digest", format!("5:{}", "0".repeat(32))),
        newer("not ASCII", "%C3%A9".repeat(4)),
        newer("with a space", format!("{}%20", &mark[1..])),
        newer("with a NUL", format!("{}%00", &mark[1..])),
        newer("twice", format!("{mark}&known={mark}")),
        newer("twice, by an escape", format!("{mark}&k%6Eown={mark}")),
        of("of older messages", &format!("direction=older&known={mark}")),
        of("without a direction", &format!("known={mark}")),
    ]
}

fn connect() -> Vec<Rest> {
    let long = "N".repeat(65);
    [
        ("empty", "failed="),
        ("without a sign", "failed"),
        ("with a space", "failed=a%20b"),
        ("a path", "failed=..%2FN1"),
        ("a URL", "failed=ws://127.0.0.1:1/socket"),
        ("not ASCII", "failed=%C3%A9"),
        ("with a NUL", "failed=N1%00"),
        ("65 characters", &format!("failed={long}")),
        ("twice", "failed=N1&failed=N2"),
        ("twice, by an escape", "failed=N1&f%61iled=N1"),
    ]
    .into_iter()
    .flat_map(|(name, query)| ["failed", "renew", "left"].map(|field| (name, query, field)))
    .map(|(name, query, field)| {
        let escaped = match field {
            "renew" => "r%65new",
            "left" => "l%65ft",
            _ => "f%61iled",
        };
        let query = query.replace("failed", field).replace("f%61iled", escaped);
        let case = get(format!("{field}: {name}"), format!("/connect?{query}"));
        case.refused(400, "invalid_field").field(field)
    })
    .chain(["renew", "left"].map(|field| {
        let case = get(format!("{field}: beside failed"), format!("/connect?{field}=N1&failed=N2"));
        case.refused(400, "invalid_field").field(field)
    }))
    .chain(invisible())
    .chain(device())
    .collect()
}

fn device() -> Vec<Rest> {
    let long = "d".repeat(65);
    [
        ("empty", "device="),
        ("without a sign", "device"),
        ("with a space", "device=a%20b"),
        ("with a hash", "device=a%23b"),
        ("not ASCII", "device=%C3%A9"),
        ("65 characters", &format!("device={long}")),
        ("twice", "device=a&device=a"),
    ]
    .into_iter()
    .map(|(name, query)| {
        let case = get(format!("device: {name}"), format!("/connect?{query}"));
        case.refused(400, "invalid_field").field("device")
    })
    .collect()
}

fn invisible() -> Vec<Rest> {
    [
        ("empty", "invisible="),
        ("without a sign", "invisible"),
        ("a number", "invisible=1"),
        ("in capitals", "invisible=True"),
        ("twice", "invisible=true&invisible=true"),
        ("beside a renewal", "renew=N1&invisible=yes"),
    ]
    .into_iter()
    .map(|(name, query)| {
        let case = get(format!("invisible: {name}"), format!("/connect?{query}"));
        case.refused(400, "invalid_field").field("invisible")
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_pages_are_refused_by_name() {
    let cluster = stack(1).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    all(cases(&cast), |case| case.check(&url)).await;
}
