//! Files: uploaded by a signed request, named by a message, read by members, deleted with it.

use std::time::Duration;

use client::{ApiError, RawAnswer};
use messaging::ports::{Clock as _, StoredAttachment};
use model::{
    Attachment, AttachmentId, ChannelId, ErrorCode, FileDigest, FileId, FileName, MediaType,
    NewAttachment, limits,
};
use protocol::http::UploadBody;
use service::clock::SystemClock;
use sha2::{Digest, Sha256};
use tests::cluster::{Cluster, Environment, user};
use tests::{SOON, eventually};

use crate::changes::shown;

crate::on_each_environment!(
    g10_a_file_is_shown_and_read_by_members_until_its_message_is_deleted,
    a_retry_of_a_message_with_files_is_a_duplicate,
);

const PICTURE: &[u8] = b"not really a picture";

pub(crate) fn new_file(channel: &ChannelId, name: &str, bytes: &[u8]) -> NewAttachment {
    NewAttachment {
        channel_id: channel.clone(),
        name: FileName::parse(name).unwrap(),
        media_type: MediaType::parse("image/png").unwrap(),
        bytes: bytes.len() as u64,
        digest: FileDigest(Sha256::digest(bytes).into()),
    }
}

/// Uploads a file as a user.
pub(crate) async fn uploaded(
    cluster: &Cluster,
    who: &str,
    channel: &ChannelId,
    name: &str,
) -> AttachmentId {
    let api = cluster.api(who);
    let (id, upload) = api.create_attachment(&new_file(channel, name, PICTURE)).await.unwrap();
    api.upload(&upload, PICTURE.to_vec()).await.unwrap();
    id
}

/// Reads what a URL leads to, without a token.
async fn fetched(cluster: &Cluster, url: &str) -> RawAnswer {
    let path = url.strip_prefix(&cluster.url()).unwrap();
    cluster.call("GET", path, &[], b"").await
}

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> Option<ErrorCode> {
    result.unwrap_err().code()
}

async fn g10_a_file_is_shown_and_read_by_members_until_its_message_is_deleted(
    environment: Environment,
) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, bob) = cluster.two_people_apart("alice", "bob").await;
    let id = uploaded(&cluster, "alice", &channel, "é \"plan\".png").await;
    let files = std::slice::from_ref(&id);
    let posted = alice.api.post_attachments(&channel, "", files, None, None).await.unwrap();
    let message = posted.message;
    assert_eq!((message.text.as_str(), message.attachments.len()), ("", 1));
    for person in [&alice, &bob] {
        eventually("the file is shown", SOON, async || {
            shown(person, &channel, message.id).as_ref() == Some(&message)
        })
        .await;
    }
    let url = bob.api.attachment_url(&id).await.unwrap();
    let answer = fetched(&cluster, &url).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, PICTURE));
    for (header, value) in [
        ("content-type", "image/png"),
        ("content-disposition", "attachment; filename*=UTF-8''%C3%A9%20%22plan%22.png"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.headers[header], value);
    }
    let stranger = cluster.api("mallory").attachment_url(&id).await;
    assert_eq!(code(stranger), Some(ErrorCode::ChannelNotFound));
    alice.api.remove_member(&channel, &user("bob")).await.unwrap();
    assert_eq!(code(bob.api.attachment_url(&id).await), Some(ErrorCode::ChannelNotFound));
    let deleted = alice.api.delete_message(&channel, message.id).await.unwrap();
    assert_eq!(deleted.attachments, []);
    eventually("the bytes are deleted", SOON, async || fetched(&cluster, &url).await.status == 404)
        .await;
    let gone = alice.api.attachment_url(&id).await;
    assert_eq!(code(gone), Some(ErrorCode::AttachmentNotFound));
}

async fn a_retry_of_a_message_with_files_is_a_duplicate(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.api("alice");
    let (id, other) = (
        uploaded(&cluster, "alice", &channel, "a").await,
        uploaded(&cluster, "alice", &channel, "b").await,
    );
    let sent = model::MessageId::mint(SystemClock.now(), 7);
    let post = async |text, files: &[&AttachmentId]| {
        let files: Vec<AttachmentId> = files.iter().copied().cloned().collect();
        alice.post_attachments(&channel, text, &files, Some(sent), None).await
    };
    assert!(!post("hi", &[&id]).await.unwrap().duplicate);
    eventually("`derive` has named it", SOON, async || {
        let again = [id.clone()];
        let refused = alice.post_attachments(&channel, "other", &again, None, None).await;
        refused.is_err_and(|refused| refused.code() == Some(ErrorCode::InvalidField))
    })
    .await;
    assert!(post("hi", &[&id]).await.unwrap().duplicate);
    for files in [&[][..], &[&other], &[&id, &other]] {
        assert_eq!(code(post("hi", files).await), Some(ErrorCode::IdConflict), "{files:?}");
    }
}

/// Uploads bytes by hand, with some headers changed; those that are empty are left out.
async fn put(
    cluster: &Cluster,
    upload: &UploadBody,
    changed: &[(&str, &str)],
    bytes: &[u8],
) -> u16 {
    let mut headers = upload.headers.clone();
    headers.extend(changed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let path = upload.url.strip_prefix(&cluster.url()).unwrap();
    cluster.call(&upload.method, path, &headers, bytes).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_takes_the_signed_bytes_only() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.api("alice");
    let (id, upload) =
        alice.create_attachment(&new_file(&channel, "a.png", PICTURE)).await.unwrap();
    assert_eq!(upload.method, "PUT");
    let left = upload.expires_at.saturating_sub(SystemClock.now().unix_ms());
    let fifteen_minutes = u64::try_from(limits::UPLOAD_URL_TTL.as_millis()).unwrap();
    assert!((fifteen_minutes - 10_000..=fifteen_minutes).contains(&left), "{left}");
    let mut other = PICTURE.to_vec();
    other[0] ^= 1;
    assert_eq!(put(&cluster, &upload, &[], &other).await, 400);
    assert_eq!(put(&cluster, &upload, &[], &[PICTURE, b"!"].concat()).await, 403);
    assert_eq!(put(&cluster, &upload, &[], b"").await, 411);
    assert_eq!(put(&cluster, &upload, &[("content-type", "text/html")], PICTURE).await, 403);
    assert_eq!(put(&cluster, &upload, &[("x-amz-checksum-sha256", "")], PICTURE).await, 403);
    let forged = UploadBody { url: upload.url.replace("until=", "until=9"), ..upload.clone() };
    assert_eq!(put(&cluster, &forged, &[], PICTURE).await, 403);
    let posted = alice.post_attachments(&channel, "", std::slice::from_ref(&id), None, None).await;
    assert_eq!(code(posted), Some(ErrorCode::InvalidField), "nothing was stored");
    assert_eq!(code(alice.attachment_url(&id).await), Some(ErrorCode::AttachmentNotFound));
    for _ in 0..2 {
        assert_eq!(put(&cluster, &upload, &[], PICTURE).await, 200);
    }
    alice.post_attachments(&channel, "", &[id], None, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_many_megabytes_goes_up_and_down() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &[]).await.id;
    let alice = cluster.api("alice");
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (id, upload) = alice.create_attachment(&new_file(&channel, "a.bin", &bytes)).await.unwrap();
    alice.upload(&upload, bytes.clone()).await.unwrap();
    let url = alice.attachment_url(&id).await.unwrap();
    // The client's own calls take no answer of this size.
    let response = hyper_get(&url).await;
    assert_eq!(response, bytes);
}

/// Reads a URL with a client that has no bound.
async fn hyper_get(url: &str) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.split_off(head + 4)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_names_the_machine_as_the_client_does() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &[]).await.id;
    let id = uploaded(&cluster, "alice", &channel, "a").await;
    let bearer = format!("Bearer {}", cluster.token("alice", 60).await);
    let path = format!("/attachments/{id}");
    for host in ["localhost:1", "127.0.0.1:2"] {
        let headers = [("authorization", bearer.as_str()), ("host", host)];
        let answer = cluster.call("GET", &path, &headers, b"").await;
        assert_eq!((answer.status, answer.body.len()), (302, 0));
        let location = answer.headers["location"].to_str().unwrap();
        assert!(location.starts_with(&format!("http://{host}/files/{id}?")), "{location}");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_message_names_lapses_and_its_bytes_go() {
    let cluster = Cluster::start(Environment::Embedded).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let (alice, ports) = (cluster.api("alice"), cluster.stack.ports());
    let now = SystemClock.now();
    let made_at = now.minus(limits::FILE_ROW_TTL + Duration::from_secs(60));
    let new = new_file(&channel, "old.png", PICTURE);
    let stored = StoredAttachment {
        attachment: Attachment {
            file: FileId::mint(made_at, 7),
            name: new.name,
            media_type: new.media_type,
            bytes: new.bytes,
        },
        digest: new.digest,
        by: user("alice"),
        named_by: None,
        expires_at: Some(made_at.plus(limits::FILE_ROW_TTL)),
    };
    ports.attachments.put_attachment(&channel, &stored).await.unwrap();
    let until = now.plus(Duration::from_secs(60));
    let upload = ports.files.sign_upload(&channel, &stored, now, until).await.unwrap();
    let headers = upload.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
    let upload = UploadBody {
        method: upload.method.to_owned(),
        url: upload.url,
        headers: headers.collect(),
        expires_at: 0,
    };
    alice.upload(&upload, PICTURE.to_vec()).await.unwrap();
    let id = AttachmentId { channel_id: channel.clone(), file: stored.attachment.file };
    assert!(ports.files.is_uploaded(&id).await.unwrap());
    let files = std::slice::from_ref(&id);
    let posted = alice.post_attachments(&channel, "hi", files, None, None).await;
    assert_eq!(code(posted), Some(ErrorCode::InvalidField));
    assert_eq!(code(alice.attachment_url(&id).await), Some(ErrorCode::AttachmentNotFound));
    assert!(cluster.stack.engine().unwrap().sweep().unwrap() > 0);
    eventually("the bytes are deleted", SOON, async || {
        !ports.files.is_uploaded(&id).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outlive_a_restart_of_a_stack_with_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let options = || embedded_stack::StackOptions {
        data: embedded_stack::Data::Directory(directory.path().to_owned()),
        ..tests::cluster::options()
    };
    let cluster = Cluster::of(options(), None).await;
    let channel = cluster.group("alice", &[]).await.id;
    let id = uploaded(&cluster, "alice", &channel, "a").await;
    cluster.stack.stop().await;
    let cluster = Cluster::of(options(), None).await;
    let url = cluster.api("alice").attachment_url(&id).await.unwrap();
    assert_eq!(fetched(&cluster, &url).await.body, PICTURE);
}
