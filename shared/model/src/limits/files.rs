//! Bounds of files, and how long they and the URLs to them live (ADR 0040).

use std::time::Duration;

/// Bytes of one file.
pub const ATTACHMENT_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// Files that one message may name: a gallery on one screen.
pub const ATTACHMENTS_MAX: usize = 10;
/// Bytes of a file's name in UTF-8: as many as common file systems take. Ten names of this length
/// keep a message's row below 8 KiB.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// Bytes of a file's media type: the longest that RFC 6838 (4.2) advises for each of its halves.
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;
/// How long an upload may take to begin: a person retries within it, and a leaked URL dies soon.
pub const UPLOAD_URL_TTL: Duration = Duration::from_secs(15 * 60);
/// How long the URL of a download lives: after a removal from a channel, an old one is void this
/// soon.
pub const DOWNLOAD_URL_TTL: Duration = Duration::from_secs(60);
/// How long a file waits for a message that names it.
pub const UNNAMED_FILE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long the row of an unnamed file is kept: twice [`UNNAMED_FILE_MAX`]. `derive` takes this end
/// away once a message names the file, and may be a day late.
pub const FILE_ROW_TTL: Duration = Duration::from_secs(48 * 3600);
