//! `POST /attachments`, `GET /attachments/{id}`, and the files that `POST /messages` names.

use messaging::ports::StoredAttachment;
use model::{
    Attachment, AttachmentId, ChannelId, Direction, FileDigest, FileId, FileName, MediaType,
    NewAttachment, Timestamp, limits,
};
use serde_json::{Value, json};
use tests::cluster::{Cluster, user};

use crate::door::{Cast, Rest, absent, all, stack};
use crate::tokens;

/// Files on the stack. None of them may be attached by `alice` in the cast's channel, except `good`.
pub(crate) struct Files {
    good: String,
    not_uploaded: String,
    of_bob: String,
    elsewhere: String,
    lapsed: String,
    foreign: String,
}

impl Files {
    /// Placeholders, for counting cases.
    pub(crate) fn on_paper(cast: &Cast) -> Self {
        let id = |n: u32| format!("{}-{n:026}", cast.channel);
        Self {
            good: id(1),
            not_uploaded: id(2),
            of_bob: id(3),
            elsewhere: id(4),
            lapsed: id(5),
            foreign: id(6),
        }
    }

    async fn on(cluster: &Cluster, cast: &Cast) -> Self {
        let made = async |who: &str, channel: &str| {
            let new = new_file(&channel.parse().unwrap());
            cluster.api(who).create_attachment(&new).await.unwrap()
        };
        let uploaded = async |who: &str, channel: &str| {
            let (id, upload) = made(who, channel).await;
            cluster.api(who).upload(&upload, vec![7]).await.unwrap();
            id.to_string()
        };
        let lapsed = lapsed(cluster, &cast.channel.parse().unwrap()).await;
        let good = uploaded("alice", &cast.channel).await;
        Self {
            not_uploaded: made("alice", &cast.channel).await.0.to_string(),
            of_bob: uploaded("bob", &cast.channel).await,
            elsewhere: uploaded("alice", &cast.dm).await,
            foreign: good.replace(&cast.channel, &cast.foreign),
            lapsed: lapsed.to_string(),
            good,
        }
    }
}

fn new_file(channel: &ChannelId) -> NewAttachment {
    use sha2::{Digest, Sha256};
    NewAttachment {
        channel_id: channel.clone(),
        name: FileName::parse("a").unwrap(),
        media_type: MediaType::parse("a/b").unwrap(),
        bytes: 1,
        digest: FileDigest(Sha256::digest([7]).into()),
    }
}

/// An uploaded file of `alice`'s that is a day old.
async fn lapsed(cluster: &Cluster, channel: &ChannelId) -> AttachmentId {
    let now = Timestamp::from_unix_ms(tokens::now_ms());
    let (new, ports) = (new_file(channel), cluster.stack.ports());
    let file = FileId::mint(now.minus(limits::UNNAMED_FILE_MAX), 7);
    let stored = StoredAttachment {
        attachment: Attachment {
            file,
            name: new.name,
            media_type: new.media_type,
            bytes: new.bytes,
        },
        digest: new.digest,
        by: user("alice"),
        named_by: None,
        expires_at: Some(now.plus(limits::UNNAMED_FILE_MAX)),
    };
    ports.attachments.put_attachment(channel, &stored).await.unwrap();
    let until = now.plus(limits::UPLOAD_URL_TTL);
    let signed = ports.files.sign_upload(channel, &stored, now, until).await.unwrap();
    let path = signed.url.strip_prefix(&cluster.url()).unwrap();
    let headers: Vec<_> =
        signed.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(cluster.call("PUT", path, &headers, &[7]).await.status, 200);
    AttachmentId { channel_id: channel.clone(), file }
}

pub(crate) fn cases(cast: &Cast, files: &Files) -> Vec<Rest> {
    let mut cases = fields(cast);
    cases.extend(channels(cast));
    cases.extend(reads(cast, files));
    cases.extend(named(cast, files));
    cases
}

fn create(name: impl Into<String>, body: &Value) -> Rest {
    Rest::of(name, "POST", "/attachments").body(body.to_string())
}

fn good(cast: &Cast) -> Value {
    json!({
        "channel_id": cast.channel, "name": "plan.pdf", "type": "application/pdf", "bytes": 7,
        "sha256": "0".repeat(64),
    })
}

fn fields(cast: &Cast) -> Vec<Rest> {
    let long_type = format!("a/{}", "b".repeat(126));
    let mut cases = Vec::new();
    for (field, name, value) in [
        ("name", "null", json!(null)),
        ("name", "a number", json!(7)),
        ("name", "empty", json!("")),
        ("name", "white space", json!(" \u{3000}")),
        ("name", "invisible", json!("\u{200b}\u{feff}")),
        ("name", "256 bytes", json!("x".repeat(256))),
        ("name", "86 characters of three bytes", json!("\u{20ac}".repeat(86))),
        ("name", "a line break", json!("a\nb.txt")),
        ("name", "a NUL", json!("a\0.txt")),
        ("name", "an escape", json!("\u{1b}[31m.txt")),
        ("name", "a next line", json!("a\u{85}")),
        ("name", "a path", json!("a/b.txt")),
        ("name", "a parent's path", json!("../../etc/passwd")),
        ("name", "a path with backslashes", json!("..\\a.txt")),
        ("name", "one dot", json!(".")),
        ("name", "two dots", json!("..")),
        ("type", "null", json!(null)),
        ("type", "empty", json!("")),
        ("type", "one name", json!("png")),
        ("type", "no second name", json!("image/")),
        ("type", "no first name", json!("/png")),
        ("type", "three names", json!("image/png/x")),
        ("type", "a wildcard", json!("image/*")),
        ("type", "parameters", json!("text/plain; charset=utf-8")),
        ("type", "a space", json!("image /png")),
        ("type", "a header of its own", json!("a/b\r\nx: y")),
        ("type", "not ASCII", json!("image/p\u{fc}g")),
        ("type", "128 bytes", json!(long_type)),
        ("bytes", "null", json!(null)),
        ("bytes", "none", json!(0)),
        ("bytes", "negative", json!(-1)),
        ("bytes", "a fraction", json!(1.5)),
        ("bytes", "a text", json!("7")),
        ("bytes", "one over 100 MiB", json!(104_857_601)),
        ("bytes", "2^64 - 1", json!(u64::MAX)),
        ("sha256", "null", json!(null)),
        ("sha256", "empty", json!("")),
        ("sha256", "63 digits", json!("0".repeat(63))),
        ("sha256", "65 digits", json!("0".repeat(65))),
        ("sha256", "a letter that is no digit", json!("g".repeat(64))),
        ("sha256", "signs", json!("+1".repeat(32))),
        ("sha256", "base 64", json!("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")),
        ("sha256", "an MD5", json!("d41d8cd98f00b204e9800998ecf8427e")),
        ("channel_id", "null", json!(null)),
        ("channel_id", "not a channel's", json!("general")),
    ] {
        let mut body = good(cast);
        body[field] = value;
        let case = create(format!("attachment: {field} is {name}"), &body);
        cases.push(case.refused(400, "invalid_field").field(field));
    }
    for field in ["channel_id", "name", "type", "bytes", "sha256"] {
        let mut body = good(cast);
        body.as_object_mut().unwrap().remove(field);
        let case = create(format!("attachment: no {field}"), &body);
        cases.push(case.refused(400, "invalid_field").field(field));
    }
    let mut unknown = good(cast);
    unknown["url"] = json!("http://elsewhere");
    let case = create("attachment: an unknown field", &unknown);
    cases.push(case.refused(400, "invalid_field").field("url"));
    cases
}

fn channels(cast: &Cast) -> Vec<Rest> {
    let mut cases = Vec::new();
    for (name, channel) in
        [("absent", absent()), ("bob's", cast.bobs.clone()), ("foreign", cast.foreign.clone())]
    {
        let mut body = good(cast);
        body["channel_id"] = json!(channel);
        let case = create(format!("attachment: the channel is {name}"), &body);
        cases.push(case.refused(404, "channel_not_found"));
    }
    cases
}

fn reads(cast: &Cast, files: &Files) -> Vec<Rest> {
    let read = |name: &str, id: &str| {
        Rest::of(format!("file: {name}"), "GET", format!("/attachments/{id}"))
    };
    let file = "01KDVSQNC0ZZZZZZZZZZZZZZZZ";
    let mut cases = Vec::new();
    for (name, id) in [
        ("a word", "plan".to_owned()),
        ("a channel alone", cast.channel.clone()),
        ("a file alone", file.to_owned()),
        ("lower case", files.good.to_lowercase()),
        ("a path after it", format!("{}%2F..%2Fx", files.good)),
        ("a parent before it", format!("..%2F{}", files.good)),
        ("a NUL after it", format!("{}%00", files.good)),
        ("another separator", files.good.replace('-', ".")),
    ] {
        cases.push(read(&format!("the id is {name}"), &id).refused(400, "invalid_id").field("id"));
    }
    for (name, channel) in
        [("absent", &absent()), ("bob's", &cast.bobs), ("foreign", &cast.foreign)]
    {
        let case = read(&format!("of a channel that is {name}"), &format!("{channel}-{file}"));
        cases.push(case.refused(404, "channel_not_found"));
    }
    for (name, id) in [
        ("absent", &format!("{}-{file}", cast.channel)),
        ("not uploaded", &files.not_uploaded),
        ("lapsed", &files.lapsed),
    ] {
        cases.push(read(name, id).refused(404, "attachment_not_found"));
    }
    for (name, id) in [("good", &files.good), ("absent", &format!("{}-{file}", cast.channel))] {
        let case = read(&format!("{name}, by a stranger"), id).by(&tokens::good("eve"));
        cases.push(case.refused(404, "channel_not_found"));
    }
    cases
}

fn named(cast: &Cast, files: &Files) -> Vec<Rest> {
    let post = |name: &str, text: &str, attachments: &Value| {
        let body = json!({
            "channel_id": cast.channel, "message": text, "attachments": attachments,
        });
        Rest::of(format!("message: attachments are {name}"), "POST", "/messages")
            .body(body.to_string())
    };
    let good = &files.good;
    let ids = |count: usize| {
        let id = |n: usize| format!("{}-{n:026}", cast.channel);
        (0..count).map(id).collect::<Vec<_>>()
    };
    let mut cases = Vec::new();
    for (name, attachments) in [
        ("null", json!(null)),
        ("an object", json!({ "id": good })),
        ("one id alone", json!(good)),
        ("a list of objects", json!([{ "id": good }])),
        ("a list with null", json!([good, null])),
        ("a list with an empty text", json!([good, ""])),
        ("the id of a message", json!([cast.posted])),
        ("repeated", json!([good, good])),
        ("eleven", json!(ids(11))),
        ("ten thousand", json!(ids(10_000))),
        ("absent", json!(ids(1))),
        ("ten that are absent", json!(ids(10))),
        ("a good one and an absent one", json!([good, ids(1)[0]])),
        ("not uploaded", json!([files.not_uploaded])),
        ("somebody else's", json!([files.of_bob])),
        ("of another channel", json!([files.elsewhere])),
        ("of another workspace", json!([files.foreign])),
        ("lapsed", json!([files.lapsed])),
    ] {
        let case = post(name, "hi", &attachments);
        cases.push(case.refused(400, "invalid_field").field("attachments"));
    }
    for (name, text, attachments) in
        [("none, without a text", "", json!([])), ("one, with white space", " ", json!([good]))]
    {
        let case = post(name, text, &attachments);
        cases.push(case.refused(400, "empty_message").field("message"));
    }
    let case = post("a stranger's guess", "hi", &json!([good])).by(&tokens::good("eve"));
    cases.push(case.refused(404, "channel_not_found"));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_refused_and_nothing_is_stored() {
    let cluster = stack(0).await;
    let (url, cast) = (cluster.url(), Cast::on(&cluster).await);
    let files = Files::on(&cluster, &cast).await;
    let capacity = cluster.stack.capacity().snapshot();
    all(cases(&cast, &files), |case| case.check(&url)).await;
    let spent = cluster.stack.capacity().since(&capacity).total();
    assert_eq!(spent.write_units, 0.0, "{spent:?}");
    let alice = cluster.api("alice");
    let channel: ChannelId = cast.channel.parse().unwrap();
    let page = alice.scroll(&channel, None, 20, Direction::Older).await.unwrap();
    assert_eq!(page.messages.len(), 1, "only what was stored before");
    let good = AttachmentId::parse(&files.good).unwrap();
    alice.post_attachments(&channel, "", &[good], None, None).await.unwrap();
}
