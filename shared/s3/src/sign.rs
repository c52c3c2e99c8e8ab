//! Signatures of URLs (SigV4, in the query).

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::Request;
use messaging::ports::Cause;
use model::Timestamp;

/// A URL could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("the URL could not be signed")]
pub struct SignError(#[source] Cause);

fn refused(cause: impl Into<Cause>) -> SignError {
    SignError(cause.into())
}

/// What a URL is good for.
pub(crate) struct Signable<'a> {
    pub(crate) method: &'static str,
    /// Encoded, with its query.
    pub(crate) url: &'a str,
    /// Headers that the request must have, beside `host`.
    pub(crate) headers: &'a [(&'static str, String)],
    pub(crate) now: Timestamp,
    pub(crate) lives: Duration,
}

/// Signs a URL for one region's S3.
pub(crate) fn signed(
    signable: &Signable<'_>,
    region: &str,
    credentials: &Credentials,
) -> Result<String, SignError> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(signable.lives);
    // S3's own rules: its keys are not normalised, and encoded once.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(SystemTime::UNIX_EPOCH + Duration::from_millis(signable.now.unix_ms()))
        .settings(settings)
        .build()
        .map_err(refused)?;
    let headers = signable.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let request =
        SignableRequest::new(signable.method, signable.url, headers, SignableBody::UnsignedPayload);
    let (instructions, _) =
        sign(request.map_err(refused)?, &params.into()).map_err(refused)?.into_parts();
    let mut request =
        Request::builder().method(signable.method).uri(signable.url).body(()).map_err(refused)?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(request.uri().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of "Authenticating Requests: Using Query Parameters" in the reference of S3's API.
    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "example",
        );
        let signable = Signable {
            method: "GET",
            url: "https://examplebucket.s3.amazonaws.com/test.txt",
            headers: &[],
            now: Timestamp::from_unix_ms(1_369_353_600_000),
            lives: Duration::from_secs(86_400),
        };
        let url = signed(&signable, "us-east-1", &credentials).unwrap();
        for part in [
            "https://examplebucket.s3.amazonaws.com/test.txt?",
            "X-Amz-Date=20130524T000000Z",
            "X-Amz-Expires=86400",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        ] {
            assert!(url.contains(part), "{url}");
        }
    }
}
