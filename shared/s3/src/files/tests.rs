use aws_credential_types::Credentials;
use memory::ManualClock;
use model::{FileDigest, FileName, MediaType, UserId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

fn files(endpoint: Option<String>) -> S3Files {
    let credentials = Credentials::new("AKID", "hunter2", Some("token".to_owned()), None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    let sdk = SdkConfig::builder().credentials_provider(credentials).build();
    let (name, region) = ("inkwire-files".to_owned(), "eu-central-1".to_owned());
    let clock = Arc::new(ManualClock::at(NOW));
    S3Files::new(&Bucket { name, region, endpoint }, &sdk, clock)
}

fn channel() -> ChannelId {
    ChannelId::mint_group(NOW, 1)
}

fn stored(name: &str) -> StoredAttachment {
    StoredAttachment {
        attachment: Attachment {
            file: FileId::mint(NOW, 2),
            name: FileName::parse(name).unwrap(),
            media_type: MediaType::parse("image/png").unwrap(),
            bytes: 7,
        },
        digest: FileDigest([0; 32]),
        by: UserId::parse("ada").unwrap(),
        named_by: None,
        expires_at: None,
    }
}

#[tokio::test]
async fn an_upload_is_good_for_one_size_type_and_digest() {
    let until = NOW.plus(Duration::from_secs(900));
    let upload = files(None).sign_upload(&channel(), &stored("a"), NOW, until).await.unwrap();
    let start = format!(
        "https://inkwire-files.s3.eu-central-1.amazonaws.com/{}/{}?",
        channel(),
        FileId::mint(NOW, 2)
    );
    assert!(upload.url.starts_with(&start), "{}", upload.url);
    for part in [
        "X-Amz-Expires=900",
        "X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost%3Bx-amz-checksum-sha256",
        "X-Amz-Security-Token=token",
    ] {
        assert!(upload.url.contains(part), "{}", upload.url);
    }
    let digest = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
    let headers = vec![("content-type", "image/png".to_owned()), ("x-amz-checksum-sha256", digest)];
    assert_eq!((upload.method, upload.headers), ("PUT", headers));
    let mut larger = stored("a");
    larger.attachment.bytes = 8;
    let other = files(None).sign_upload(&channel(), &larger, NOW, until).await.unwrap();
    assert_ne!(other.url, upload.url);
}

#[tokio::test]
async fn a_download_is_saved_under_the_files_name() {
    let until = NOW.plus(Duration::from_secs(60));
    let attachment = stored("a b\"é.png").attachment;
    let url = files(None).sign_download(&channel(), &attachment, NOW, until).await.unwrap();
    assert!(url.contains("X-Amz-Expires=60"), "{url}");
    let disposition = "response-content-disposition=attachment%3B%20filename%2A%3DUTF-8%27%27a%2520b%2522%25C3%25A9.png&";
    assert!(url.contains(disposition), "{url}");
}

/// Answers these statuses in turn. Returns its address, and what it was asked.
async fn answering(statuses: &'static [u16]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let mut asked = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let read = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(head.get(..read).unwrap()).into_owned();
            asked.push(head.lines().next().unwrap_or_default().to_owned());
            let answer =
                format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (address, asked)
}

#[tokio::test]
async fn a_file_is_there_or_not_and_any_other_answer_is_an_error() {
    let id = AttachmentId { channel_id: channel(), file: FileId::mint(NOW, 2) };
    let (address, asked) = answering(&[200, 404, 503, 200, 403]).await;
    let files = files(Some(address));
    assert!(files.is_uploaded(&id).await.unwrap());
    assert!(!files.is_uploaded(&id).await.unwrap());
    assert!(files.is_uploaded(&id).await.unwrap(), "it is asked once more");
    let error = files.is_uploaded(&id).await.unwrap_err();
    let cause = model::chain(&error).to_string();
    assert!(cause.contains("403") && !cause.contains("hunter2"), "{cause}");
    let start = format!("HEAD /inkwire-files/{}/{}?", id.channel_id, id.file);
    for line in asked.await.unwrap() {
        assert!(line.starts_with(&start), "{line}");
    }
}

#[tokio::test]
async fn deleting_what_is_not_there_is_done_already() {
    let id = AttachmentId { channel_id: channel(), file: FileId::mint(NOW, 2) };
    let (address, asked) = answering(&[204, 404]).await;
    let files = files(Some(address));
    files.delete(&id).await.unwrap();
    files.delete(&id).await.unwrap();
    assert!(asked.await.unwrap().iter().all(|line| line.starts_with("DELETE ")));
    assert!(!format!("{files:?}").contains("hunter2"));
}
