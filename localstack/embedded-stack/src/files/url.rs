//! Signed URLs: each one permits one request until a time.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use http::Method;
use messaging::ports::Randomness;
use model::{AttachmentId, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use service::clock::SystemRandomness;
use sha2::Sha256;

/// The key that signs.
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn random() -> Self {
        let mut key = [0; 32];
        for half in key.chunks_exact_mut(16) {
            half.copy_from_slice(&SystemRandomness.bits().to_be_bytes());
        }
        Self(key)
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(text.as_bytes());
        mac
    }
}

/// What a URL is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    /// Uploading these bytes.
    Upload { until: Timestamp, media_type: String, bytes: u64, sha256: String },
    /// Downloading a file of this type under this name.
    Download { until: Timestamp, media_type: String, name: String },
}

impl Grant {
    fn method(&self) -> &'static str {
        match self {
            Self::Upload { .. } => "PUT",
            Self::Download { .. } => "GET",
        }
    }

    /// Its parameters, in the order of their names.
    fn query(&self) -> String {
        let fields: BTreeMap<&str, String> = match self {
            Self::Upload { until, media_type, bytes, sha256 } => BTreeMap::from([
                ("until", until.unix_ms().to_string()),
                ("type", media_type.clone()),
                ("bytes", bytes.to_string()),
                ("sha256", sha256.clone()),
            ]),
            Self::Download { until, media_type, name } => BTreeMap::from([
                ("until", until.unix_ms().to_string()),
                ("type", media_type.clone()),
                ("name", name.clone()),
            ]),
        };
        let field = |(name, value): (&str, String)| {
            format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))
        };
        fields.into_iter().map(field).collect::<Vec<_>>().join("&")
    }

    /// The query of its URL.
    pub(super) fn signed(&self, key: &Key, id: &AttachmentId) -> String {
        let query = self.query();
        let mac = key.mac(&signable(self.method(), id, &query)).finalize().into_bytes();
        let signature: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{query}&{SIGNATURE}={signature}")
    }

    /// Reads the query of a URL that was signed for this method and file; `None` for any other.
    pub(super) fn read(key: &Key, method: &Method, id: &AttachmentId, query: &str) -> Option<Self> {
        let (query, signature) = query.rsplit_once(&format!("&{SIGNATURE}="))?;
        let signature = bytes_of(signature)?;
        key.mac(&signable(method.as_str(), id, query)).verify_slice(&signature).ok()?;
        let fields: BTreeMap<&str, String> = query
            .split('&')
            .map(|field| {
                let (name, value) = field.split_once('=')?;
                Some((name, percent_decode_str(value).decode_utf8().ok()?.into_owned()))
            })
            .collect::<Option<_>>()?;
        let field = |name: &str| fields.get(name).cloned();
        let until = Timestamp::from_unix_ms(field("until")?.parse().ok()?);
        let media_type = field("type")?;
        match *method {
            Method::PUT => {
                let (bytes, sha256) = (field("bytes")?.parse().ok()?, field("sha256")?);
                Some(Self::Upload { until, media_type, bytes, sha256 })
            }
            _ => Some(Self::Download { until, media_type, name: field("name")? }),
        }
    }

    pub(super) fn until(&self) -> Timestamp {
        match self {
            Self::Upload { until, .. } | Self::Download { until, .. } => *until,
        }
    }
}

fn signable(method: &str, id: &AttachmentId, query: &str) -> String {
    format!("{method}\n{id}\n{query}")
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

const SIGNATURE: &str = "signature";

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> AttachmentId {
        AttachmentId::parse(&format!("C{n:026}-{n:026}")).unwrap()
    }

    #[test]
    fn a_url_is_good_for_one_method_file_and_content() {
        let key = Key::random();
        let until = Timestamp::from_unix_ms(7);
        let (media_type, sha256) = ("a/b+c".to_owned(), "+/=".to_owned());
        let upload = Grant::Upload { until, media_type: media_type.clone(), bytes: 3, sha256 };
        let name = "a&b=c é".to_owned();
        let download = Grant::Download { until, media_type, name };
        for (grant, method, other) in
            [(upload, Method::PUT, Method::GET), (download, Method::GET, Method::PUT)]
        {
            let query = grant.signed(&key, &id(1));
            assert_eq!(Grant::read(&key, &method, &id(1), &query), Some(grant));
            assert_eq!(Grant::read(&key, &other, &id(1), &query), None);
            assert_eq!(Grant::read(&key, &method, &id(2), &query), None);
            assert_eq!(Grant::read(&Key::random(), &method, &id(1), &query), None);
            let longer = query.replace("until=7", "until=8");
            let doubled = format!("until=8&{query}");
            let cut = query.trim_end_matches(|last: char| last.is_ascii_hexdigit());
            for changed in [&longer, &doubled, cut, "", "&signature=", "&signature=zz"] {
                assert_eq!(Grant::read(&key, &method, &id(1), changed), None, "{changed}");
            }
        }
    }
}
