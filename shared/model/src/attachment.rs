//! Files that messages name: their ids, names, types and digests.

use std::fmt;
use std::sync::Arc;

use crate::ids::{ChannelId, FileId};
use crate::invisible::is_invisible;
use crate::limits;

/// The id of a file on the wire, `<channel_id>-<file id>`. It names the file's channel, so that one
/// row finds the file and its members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentId {
    /// The channel in which messages may name it.
    pub channel_id: ChannelId,
    /// The file, within its channel.
    pub file: FileId,
}

/// The error for a text that is not an [`AttachmentId`]; never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an attachment")]
pub struct AttachmentIdError;

impl AttachmentId {
    /// Parses the form on the wire.
    ///
    /// # Errors
    /// [`AttachmentIdError`] if it has another form.
    pub fn parse(text: &str) -> Result<Self, AttachmentIdError> {
        let parts = text.split_once('-').and_then(|(channel, file)| {
            Some(Self {
                channel_id: ChannelId::parse(channel).ok()?,
                file: FileId::parse(file).ok()?,
            })
        });
        parts.ok_or(AttachmentIdError)
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.channel_id, self.file)
    }
}

/// Why a text cannot be the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileNameError {
    /// Empty, or invisible.
    #[error("the name is empty")]
    Empty,
    /// Over 255 bytes.
    #[error("the name is longer than {} bytes", limits::FILE_NAME_BYTES_MAX)]
    TooLong,
    /// A control character.
    #[error("the name holds a control character")]
    Control,
    /// A `/` or a `\`, or the name of a directory.
    #[error("the name is a path")]
    Path,
}

/// A file's name, as its sender gave it: 1-255 bytes, visible, and not a path. `Debug` shows no
/// content.
#[derive(Clone, PartialEq, Eq)]
pub struct FileName(Arc<str>);

impl FileName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`FileNameError`] for the first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, FileNameError> {
        if text.len() > limits::FILE_NAME_BYTES_MAX {
            return Err(FileNameError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(FileNameError::Control);
        }
        if is_invisible(text) {
            return Err(FileNameError::Empty);
        }
        if text.contains(['/', '\\']) || matches!(text, "." | "..") {
            return Err(FileNameError::Path);
        }
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileName({} bytes)", self.0.len())
    }
}

/// The error for a text that is not a [`MediaType`]; never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a media type without parameters")]
pub struct MediaTypeError;

/// A media type without parameters, `image/png`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType(Arc<str>);

impl MediaType {
    /// Parses the names of RFC 6838 (4.2): 1-127 bytes in all.
    ///
    /// # Errors
    /// [`MediaTypeError`] if it has another form.
    pub fn parse(text: &str) -> Result<Self, MediaTypeError> {
        let is_short = text.len() <= limits::MEDIA_TYPE_BYTES_MAX;
        match text.split_once('/') {
            Some((kind, name)) if is_short && is_restricted(kind) && is_restricted(name) => {
                Ok(Self(text.to_ascii_lowercase().into()))
            }
            Some(_) | None => Err(MediaTypeError),
        }
    }

    /// The type.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A `restricted-name` of RFC 6838.
fn is_restricted(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
}

/// The SHA-256 of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest(pub [u8; 32]);

/// The error for a text that is not a [`FileDigest`]; never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct FileDigestError;

impl FileDigest {
    /// Parses 64 hexadecimal digits of either case.
    ///
    /// # Errors
    /// [`FileDigestError`] if it has another form.
    pub fn parse(text: &str) -> Result<Self, FileDigestError> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(FileDigestError);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            // `from_str_radix` takes a sign, too.
            let digits = digits.iter().try_fold(0_u8, |value, digit| {
                let digit = char::from(*digit).to_digit(16).ok_or(FileDigestError)?;
                u8::try_from(u32::from(value) * 16 + digit).or(Err(FileDigestError))
            });
            *byte = digits?;
        }
        Ok(Self(bytes))
    }
}

/// A file that a message names, without its bytes. Its channel is the message's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The file.
    pub file: FileId,
    /// Its name.
    pub name: FileName,
    /// Its type, as its sender gave it.
    pub media_type: MediaType,
    /// Its size: 1 to [`limits::ATTACHMENT_BYTES_MAX`].
    pub bytes: u64,
}

/// A file to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttachment {
    /// The channel in which messages may name it.
    pub channel_id: ChannelId,
    /// Its name.
    pub name: FileName,
    /// Its type.
    pub media_type: MediaType,
    /// Its size: 1 to [`limits::ATTACHMENT_BYTES_MAX`].
    pub bytes: u64,
    /// The digest of its bytes.
    pub digest: FileDigest,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "C01ARZ3NDEKTSV4RRFFQ69G5FAV";
    const FILE: &str = "01BX5ZZKBKACTAV9WEVGEMMVRZ";

    #[test]
    fn an_id_names_its_channel_and_its_file() {
        let text = format!("{CHANNEL}-{FILE}");
        let id = AttachmentId::parse(&text).unwrap();
        assert_eq!((id.channel_id.as_str(), id.file.to_string().as_str()), (CHANNEL, FILE));
        assert_eq!(id.to_string(), text);
        let bad = [
            String::new(),
            CHANNEL.to_owned(),
            FILE.to_owned(),
            format!("{CHANNEL}-"),
            format!("{CHANNEL}{FILE}"),
            format!("{CHANNEL}-{FILE}-"),
            format!("{CHANNEL}-../../{FILE}"),
            format!("{FILE}-{CHANNEL}"),
            text.to_lowercase(),
        ];
        for text in bad {
            assert_eq!(AttachmentId::parse(&text), Err(AttachmentIdError), "{text}");
        }
    }

    #[test]
    fn names_are_visible_short_and_no_paths() {
        for text in
            ["a", "plan of june.pdf", "réunion 😀.png", ".profile", "a..b", "...", "\u{200b}a"]
        {
            assert!(FileName::parse(text).is_ok(), "{text:?}");
        }
        let of_255 = format!("{}é", "x".repeat(253));
        assert!(FileName::parse(&of_255).is_ok());
        assert_eq!(FileName::parse(&format!("{of_255}x")), Err(FileNameError::TooLong));
        for text in ["", " ", "\u{200b}\u{3000}"] {
            assert_eq!(FileName::parse(text), Err(FileNameError::Empty), "{text:?}");
        }
        for text in ["a\n", "\u{1b}[31m", "a\0b", "\u{85}x"] {
            assert_eq!(FileName::parse(text), Err(FileNameError::Control), "{text:?}");
        }
        for text in ["a/b", "../x", "c:\\x", ".", ".."] {
            assert_eq!(FileName::parse(text), Err(FileNameError::Path), "{text:?}");
        }
        assert_eq!(format!("{:?}", FileName::parse("secret").unwrap()), "FileName(6 bytes)");
    }

    #[test]
    fn types_have_two_restricted_names() {
        for text in ["image/png", "application/vnd.oasis.opendocument.text", "image/svg+xml", "a/b"]
        {
            assert!(MediaType::parse(text).is_ok(), "{text}");
        }
        assert_eq!(MediaType::parse("Image/PNG").unwrap().as_str(), "image/png");
        let long = format!("a/{}", "b".repeat(126));
        let bad = [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a/b; charset=utf-8",
            "a /b",
            "a/*",
            "-a/b",
            "ä/b",
            "a/b\r\nx: y",
            &long,
        ];
        for text in bad {
            assert_eq!(MediaType::parse(text), Err(MediaTypeError), "{text:?}");
        }
    }

    #[test]
    fn digests_have_64_hexadecimal_digits() {
        let digest = FileDigest::parse(&"0aFf".repeat(16)).unwrap();
        assert_eq!((digest.0[0], digest.0[1]), (0x0a, 0xff));
        for text in [
            String::new(),
            "0".repeat(63),
            "0".repeat(65),
            "g".repeat(64),
            "+1".repeat(32),
            "é".repeat(32),
        ] {
            assert_eq!(FileDigest::parse(&text), Err(FileDigestError), "{text}");
        }
    }
}
