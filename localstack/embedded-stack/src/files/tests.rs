use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use model::{FileDigest, FileId, FileName, MediaType, UserId};
use sha2::{Digest, Sha256};

use super::*;

const BYTES: &[u8] = b"seven b";

fn files() -> LocalFiles {
    LocalFiles::open(None, "http://127.0.0.1:1".to_owned()).unwrap()
}

fn channel() -> ChannelId {
    ChannelId::mint_group(SystemClock.now(), SystemRandomness.bits())
}

fn stored() -> StoredAttachment {
    StoredAttachment {
        attachment: Attachment {
            file: FileId::mint(SystemClock.now(), SystemRandomness.bits()),
            name: FileName::parse("é.png").unwrap(),
            media_type: MediaType::parse("image/png").unwrap(),
            bytes: BYTES.len() as u64,
        },
        digest: FileDigest(Sha256::digest(BYTES).into()),
        by: UserId::parse("ada").unwrap(),
        named_by: None,
        expires_at: None,
    }
}

/// A request to a URL with these headers; the length is that of the body unless one is given.
fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Request<Full<Bytes>> {
    let path = url.strip_prefix("http://127.0.0.1:1").unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if headers.iter().all(|(name, _)| *name != "content-length") {
        request = request.header("content-length", body.len());
    }
    request.body(Full::from(Bytes::copy_from_slice(body))).unwrap()
}

struct Case {
    files: LocalFiles,
    channel: ChannelId,
    stored: StoredAttachment,
    upload: SignedUpload,
}

impl Case {
    async fn new() -> Self {
        let (files, channel, stored) = (files(), channel(), stored());
        let now = SystemClock.now();
        let until = now.plus(Duration::from_secs(60));
        let upload = files.sign_upload(&channel, &stored, now, until).await.unwrap();
        Self { files, channel, stored, upload }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.upload.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    async fn put(&self, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        let request = request(Method::PUT, &self.upload.url, headers, body);
        self.files.serve(request).await.status().as_u16()
    }

    fn id(&self) -> AttachmentId {
        let file = self.stored.attachment.file;
        AttachmentId { channel_id: self.channel.clone(), file }
    }

    async fn is_there(&self) -> bool {
        self.files.is_uploaded(&self.id()).await.unwrap()
    }

    /// Names of all files in the directory.
    fn on_disk(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.files.0.directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[tokio::test]
async fn what_was_signed_is_stored_given_back_and_deleted() {
    let case = Case::new().await;
    assert!(!case.is_there().await);
    for _ in 0..2 {
        assert_eq!(case.put(&case.headers(), BYTES).await, 200);
    }
    assert!(case.is_there().await);
    assert_eq!(case.on_disk(), [case.id().to_string()]);
    let now = SystemClock.now();
    let until = now.plus(Duration::from_secs(60));
    let attachment = &case.stored.attachment;
    let url = case.files.sign_download(&case.channel, attachment, now, until).await.unwrap();
    let get = || request(Method::GET, &url, &[], b"");
    let response = case.files.serve(get()).await;
    assert_eq!(response.status(), 200);
    for (header, value) in [
        ("content-type", "image/png"),
        ("content-length", "7"),
        ("content-disposition", "attachment; filename*=UTF-8''%C3%A9.png"),
    ] {
        assert_eq!(response.headers()[header], value);
    }
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), BYTES);
    case.files.delete(&case.id()).await.unwrap();
    case.files.delete(&case.id()).await.unwrap();
    assert_eq!((case.is_there().await, case.on_disk().len()), (false, 0));
    assert_eq!(case.files.serve(get()).await.status(), 404);
}

#[tokio::test]
async fn other_sizes_types_and_digests_are_refused_and_nothing_stays() {
    let case = Case::new().await;
    let good = case.headers();
    let with = |name: &'static str, value: &'static str| {
        let mut headers = good.clone();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
        headers
    };
    assert_eq!(case.put(&good, b"seven c").await, 400);
    assert_eq!(case.put(&good, b"eight by").await, 403);
    assert_eq!(case.put(&with("content-length", "7"), b"eight by").await, 400);
    assert_eq!(case.put(&with("content-length", "7"), b"six by").await, 400);
    assert_eq!(case.put(&with("content-length", ""), BYTES).await, 411);
    assert_eq!(case.put(&with("content-type", "text/html"), BYTES).await, 403);
    assert_eq!(case.put(&with(CHECKSUM, "AAAA"), BYTES).await, 403);
    assert_eq!(case.put(&good[..1], BYTES).await, 403);
    assert_eq!((case.is_there().await, case.on_disk().len()), (false, 0));
}

#[tokio::test]
async fn a_url_that_was_not_signed_or_has_expired_does_nothing() {
    let case = Case::new().await;
    let url = &case.upload.url;
    let id = case.id().to_string();
    let other = Case::new().await.id().to_string();
    for wrong in [
        url.replace(&id, &other),
        url.replace(&id, &format!("../{id}")),
        url.replace(&id, &format!("%2e%2e%2f{id}")),
        url.replace(&id, ""),
        url.replace("bytes=7", "bytes=8"),
        url.split('?').next().unwrap().to_owned(),
    ] {
        let put = request(Method::PUT, &wrong, &case.headers(), BYTES);
        assert_eq!(case.files.serve(put).await.status(), 403, "{wrong}");
    }
    let get = request(Method::GET, url, &case.headers(), b"");
    assert_eq!(case.files.serve(get).await.status(), 403);
    let delete = request(Method::DELETE, url, &case.headers(), b"");
    assert_eq!(case.files.serve(delete).await.status(), 405);
    let now = SystemClock.now();
    let late = case.files.sign_upload(&case.channel, &case.stored, now, now).await.unwrap();
    let put = request(Method::PUT, &late.url, &case.headers(), BYTES);
    assert_eq!(case.files.serve(put).await.status(), 403);
    assert!(!case.is_there().await);
}

#[test]
fn uploads_that_broke_off_are_gone_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let partial = directory.path().join("0.part");
    fs::write(&partial, "x").unwrap();
    let kept = directory.path().join("kept");
    fs::write(&kept, "x").unwrap();
    LocalFiles::open(Some(directory.path()), String::new()).unwrap();
    assert_eq!((partial.exists(), kept.exists()), (false, true));
}
