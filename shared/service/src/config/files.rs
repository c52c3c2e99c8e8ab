//! Where files are.

use super::reader::{Reader, http_url};
use super::{ENDPOINT_URL, Env, FILES_BUCKET, S3_ENDPOINT_URL};

/// The bucket of files. Its region is the tables'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Its name.
    pub bucket: String,
    /// Where S3 listens, if it is not the region's own.
    pub endpoint: Option<String>,
}

impl<E: Env> Reader<'_, E> {
    pub(super) fn files(&mut self) -> Option<FilesConfig> {
        let bucket = self.required(FILES_BUCKET, bucket);
        let own = self.optional(S3_ENDPOINT_URL, http_url);
        let endpoint = own.or_else(|| self.value(ENDPOINT_URL));
        Some(FilesConfig { bucket: bucket?, endpoint })
    }
}

/// S3's rule without dots, which certificates of hosts do not cover.
fn bucket(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (3..=63).contains(&text.len())
        && text.bytes().all(|byte| is_plain(byte) || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits { Ok(text.to_owned()) } else { Err("is not the name of a bucket without dots") }
}
