//! The id of the ECS task that this program runs in.

use std::time::Duration;

use http::Uri;
use tokio::net::TcpStream;

use crate::http_get::{GetError, get};

/// Reads the id of this program's ECS task, the last part of its ARN, from the metadata endpoint.
/// Retries a few times: the endpoint may come up a moment after the task.
///
/// # Errors
/// [`GetError`] of the last attempt.
pub async fn task_id(metadata_url: &str) -> Result<String, GetError> {
    for _ in 1..TRIES {
        if let Ok(id) = try_task_id(metadata_url).await {
            return Ok(id);
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    try_task_id(metadata_url).await
}

async fn try_task_id(metadata_url: &str) -> Result<String, GetError> {
    let uri: Uri = metadata_url.parse().or(Err(GetError::BadUrl))?;
    let host = uri.host().ok_or(GetError::BadUrl)?;
    let path = format!("{}/task", uri.path().trim_end_matches('/'));
    let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(80)));
    let body = get(tcp, host, &path).await?;
    let task: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let arn = task.get("TaskARN").and_then(serde_json::Value::as_str);
    let id = arn.filter(|arn| arn.starts_with("arn:")).and_then(|arn| arn.rsplit('/').next());
    // The id becomes a DNS label.
    let is_label = |id: &&str| {
        matches!(id.len(), 1..=63)
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    id.filter(is_label).map(str::to_owned).ok_or(GetError::NoTask)
}

const TRIES: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
