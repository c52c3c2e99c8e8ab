//! Files: the bodies that create them, and the ids that messages name.

use std::collections::BTreeMap;

use model::{
    AttachmentId, ChannelId, ErrorCode, FileDigest, FileId, FileName, MediaType, NewAttachment,
    limits,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::request::{Fields, path_channel};
use crate::problem::Problem;

/// The body of `POST /attachments`.
impl TryFrom<Fields> for NewAttachment {
    type Error = Problem;

    fn try_from(mut fields: Fields) -> Result<Self, Problem> {
        let channel_id = fields.string("channel_id")?;
        let name = fields.string("name")?;
        let media_type = fields.string("type")?;
        let bytes = fields.whole_number("bytes")?;
        let digest = fields.string("sha256")?;
        fields.finish()?;
        if !(1..=limits::ATTACHMENT_BYTES_MAX).contains(&bytes) {
            return Err(Problem::invalid_field("bytes", "Not 1 to 104857600 bytes"));
        }
        Ok(Self {
            channel_id: path_channel(&channel_id)?,
            name: FileName::parse(&name).map_err(|_form| {
                let detail =
                    "Not 1 to 255 bytes of visible text without a path or control characters";
                Problem::invalid_field("name", detail)
            })?,
            media_type: MediaType::parse(&media_type).map_err(|_form| {
                Problem::invalid_field("type", "Not a media type without parameters")
            })?,
            bytes,
            digest: FileDigest::parse(&digest)
                .map_err(|_form| Problem::invalid_field("sha256", "Not 64 hexadecimal digits"))?,
        })
    }
}

/// Reads the files that a message of this channel names.
pub(super) fn files_of(
    fields: Option<Vec<String>>,
    channel: &ChannelId,
) -> Result<Vec<FileId>, Problem> {
    let refused = |detail| Problem::invalid_field("attachments", detail);
    let listed = fields.unwrap_or_default();
    if listed.len() > limits::ATTACHMENTS_MAX {
        return Err(refused("More than 10 attachments"));
    }
    let mut files = Vec::with_capacity(listed.len());
    for text in &listed {
        let id = AttachmentId::parse(text).ok().filter(|id| id.channel_id == *channel);
        let id = id.ok_or_else(|| refused("Not an attachment of this channel"))?;
        if files.contains(&id.file) {
            return Err(refused("An attachment is named twice"));
        }
        files.push(id.file);
    }
    Ok(files)
}

/// An attachment's id in a path.
///
/// # Errors
/// `invalid_id`.
pub fn path_attachment(segment: &str) -> Result<AttachmentId, Problem> {
    AttachmentId::parse(segment).map_err(|_form| Problem::from(ErrorCode::InvalidId).of_field("id"))
}

/// The header `content-disposition` of a file: browsers save it under its name, and do not show it.
/// RFC 6266 and RFC 8187: ASCII, whatever the name.
#[must_use]
pub fn content_disposition(name: &FileName) -> String {
    format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(name.as_str(), ATTR))
}

/// What RFC 8187 lets stand in a parameter: `attr-char`.
const ATTR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The response to `POST /attachments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentBody {
    /// The file's id.
    pub id: String,
    /// The request that uploads it.
    pub upload: UploadBody,
}

/// A signed upload.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadBody {
    /// The method.
    pub method: String,
    /// The URL. Whoever has it may upload the file, so `Debug` does not show it.
    pub url: String,
    /// Headers that the request must have besides `content-length`.
    pub headers: BTreeMap<String, String>,
    /// Until when the upload may begin, Unix milliseconds.
    pub expires_at: u64,
}

impl std::fmt::Debug for UploadBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadBody").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
    use model::NewMessage;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::read_json;

    const CHANNEL: &str = "C01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn read<T: TryFrom<Fields, Error = Problem>>(body: &Value) -> Result<T, Problem> {
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        T::try_from(read_json(&headers, body.to_string().as_bytes())?)
    }

    fn field(problem: &Problem) -> (ErrorCode, Option<&str>) {
        (problem.code, problem.field.as_deref())
    }

    fn good() -> Value {
        json!({
            "channel_id": CHANNEL, "name": "plan.pdf", "type": "application/pdf",
            "bytes": 104_857_600, "sha256": "0".repeat(64),
        })
    }

    #[test]
    fn the_body_of_a_new_file_is_read() {
        let new: NewAttachment = read(&good()).unwrap();
        assert_eq!((new.bytes, new.name.as_str()), (104_857_600, "plan.pdf"));
    }

    #[test]
    fn a_field_that_is_wrong_is_named() {
        for (name, wrong) in [
            ("channel_id", json!("C1")),
            ("name", json!("a/b")),
            ("name", json!(null)),
            ("type", json!("pdf")),
            ("bytes", json!(0)),
            ("bytes", json!(104_857_601)),
            ("bytes", json!(-1)),
            ("bytes", json!(1.5)),
            ("bytes", json!("1")),
            ("sha256", json!("0".repeat(63))),
            ("other", json!(1)),
        ] {
            let mut body = good();
            body[name] = wrong.clone();
            let refused = read::<NewAttachment>(&body).unwrap_err();
            assert_eq!(field(&refused), (ErrorCode::InvalidField, Some(name)), "{wrong}");
        }
    }

    fn message(text: &str, attachments: &Value) -> Result<NewMessage, Problem> {
        let body = json!({ "channel_id": CHANNEL, "message": text, "attachments": attachments });
        read(&body)
    }

    fn id(n: u32) -> String {
        format!("{CHANNEL}-{n:026}")
    }

    #[test]
    fn a_files_name_is_ascii_in_a_header() {
        let name = FileName::parse("a b\"é'.png").unwrap();
        assert_eq!(
            content_disposition(&name),
            "attachment; filename*=UTF-8''a%20b%22%C3%A9%27.png"
        );
    }

    #[test]
    fn a_message_with_files_may_have_no_text() {
        let sent = message("", &json!([id(1), id(2)])).unwrap();
        assert_eq!((sent.attachments.len(), sent.text.as_str()), (2, ""));
        for (text, attachments) in [("", json!([])), (" ", json!([id(1)]))] {
            let refused = message(text, &attachments).unwrap_err();
            assert_eq!(field(&refused), (ErrorCode::EmptyMessage, Some("message")));
        }
    }

    #[test]
    fn a_list_of_files_that_is_wrong_is_refused() {
        let eleven: Vec<String> = (0..11).map(id).collect();
        for wrong in [
            json!(null),
            json!({}),
            json!(id(1)),
            json!([1]),
            json!([""]),
            json!([id(1), id(1)]),
            json!([id(1).replace("C0", "C1")]),
            json!(eleven),
        ] {
            let refused = message("hi", &wrong).unwrap_err();
            assert_eq!(field(&refused), (ErrorCode::InvalidField, Some("attachments")), "{wrong}");
        }
    }
}
