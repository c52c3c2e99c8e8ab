//! A node's identity for its clients: its URL, and a certificate for the host in it.

use model::Timestamp;

use crate::certificate::{Certificate, CertificateError};

use super::reader::{Reader, socket_url};
use super::{Env, NODE_TLS_CERTIFICATE, NODE_TLS_KEY, NODE_URL, TASK_ID, TASK_METADATA};

/// A node's URL and what the host in it needs.
pub(super) struct Identity {
    pub(super) url: String,
    pub(super) task_metadata: Option<String>,
    pub(super) certificate: Option<Certificate>,
}

impl<E: Env> Reader<'_, E> {
    pub(super) fn identity(&mut self, now: Timestamp) -> Option<Identity> {
        let url = self.required(NODE_URL, socket_url);
        let metadata = self.optional(TASK_METADATA, |text| {
            let is_http = text.starts_with("http://");
            if is_http { Ok(text.to_owned()) } else { Err("is not an http:// URL") }
        });
        let certificate = self.certificate();
        let url = url?;
        let needs_task = url.contains(TASK_ID);
        if needs_task && metadata.is_none() && !self.names(TASK_METADATA) {
            self.problems
                .push(format!("{NODE_URL} holds {TASK_ID}, and {TASK_METADATA} is not set"));
        }
        if let Some(certificate) = &certificate {
            self.problems.extend(misfit(certificate, &url, now));
        }
        let task_metadata = metadata.filter(|_| needs_task);
        Some(Identity { url, task_metadata, certificate })
    }

    /// Reads both chain and key, or neither.
    pub(super) fn certificate(&mut self) -> Option<Certificate> {
        let before = self.problems.len();
        let chain = self.optional(NODE_TLS_CERTIFICATE, pem);
        let key = self.optional(NODE_TLS_KEY, pem);
        let is_sound = self.problems.len() == before;
        let (chain, key) = match (chain, key) {
            (Some(chain), Some(key)) => (chain, key),
            (Some(_), None) if is_sound => {
                self.problems
                    .push(format!("{NODE_TLS_KEY} is not set, as {NODE_TLS_CERTIFICATE} is"));
                return None;
            }
            (None, Some(_)) if is_sound => {
                self.problems
                    .push(format!("{NODE_TLS_CERTIFICATE} is not set, as {NODE_TLS_KEY} is"));
                return None;
            }
            (Some(_), None) | (None, Some(_) | None) => return None,
        };
        match Certificate::parse(&chain, &key) {
            Ok(certificate) => Some(certificate),
            Err(wrong) => {
                let name = match wrong {
                    CertificateError::Chain => NODE_TLS_CERTIFICATE,
                    CertificateError::Key | CertificateError::OtherKey => NODE_TLS_KEY,
                };
                self.problems.push(format!("{name} {wrong}"));
                None
            }
        }
    }

    fn names(&self, name: &str) -> bool {
        self.problems.iter().any(|problem| problem.starts_with(name))
    }
}

/// Reads PEM: the value itself, or the file that it names.
fn pem(value: &str) -> Result<String, String> {
    if value.trim_start().starts_with("-----BEGIN ") {
        return Ok(value.to_owned());
    }
    std::fs::read_to_string(value)
        .map_err(|error| format!("is neither PEM nor a readable file: {}", error.kind()))
}

/// Why a certificate cannot be used for a URL at this time.
fn misfit(certificate: &Certificate, url: &str, now: Timestamp) -> Vec<String> {
    let mut problems = Vec::new();
    if !url.starts_with("wss://") {
        problems.push(format!("{NODE_URL} is not wss://, as {NODE_TLS_CERTIFICATE} is set"));
    }
    let host = host_of(&url.replace(TASK_ID, "task"));
    if !host.is_some_and(|host| certificate.serves(&host)) {
        problems.push(format!("{NODE_TLS_CERTIFICATE} is not for the host of {NODE_URL}"));
    }
    if now >= certificate.not_after() {
        let end = certificate.not_after().rfc3339();
        problems.push(format!("{NODE_TLS_CERTIFICATE} is expired since {end}"));
    }
    if now < certificate.not_before() {
        let begin = certificate.not_before().rfc3339();
        problems.push(format!("{NODE_TLS_CERTIFICATE} is not valid before {begin}"));
    }
    problems
}

/// Returns the host of a URL.
pub(super) fn host_of(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host().map(str::to_owned)
}
