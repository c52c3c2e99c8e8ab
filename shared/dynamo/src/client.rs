//! Builds the SDK's client and sets every limit explicitly.

use std::fmt;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, IdentityCache, Region, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

/// Which store to use, and with which credentials.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The region to sign for.
    pub region: String,
    /// Where the store listens, if it is not the region's own: `http://` or `https://`.
    pub endpoint: Option<String>,
    /// The credentials.
    pub credentials: CredentialSource,
}

/// Where credentials come from.
#[derive(Clone)]
pub enum CredentialSource {
    /// The SDK's chain: environment, profile, web identity, container, instance.
    Environment,
    /// Fixed ones.
    Given {
        /// The access key's id.
        access_key_id: String,
        /// The key. Not shown by `Debug`.
        secret_access_key: String,
    },
}

impl CredentialSource {
    /// What local engines accept: any name and any key.
    #[must_use]
    pub fn local() -> Self {
        Self::Given { access_key_id: "local".to_owned(), secret_access_key: "local".to_owned() }
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Given { .. } => f.write_str("Given(..)"),
        }
    }
}

/// Builds a client. Opens no connection; for a plain `http://` endpoint it reads no certificates
/// either.
pub async fn client(config: &ClientConfig) -> Client {
    Client::new(&sdk_config(config).await)
}

/// The same client for a caller that paces its own retries. Each call is one attempt, and may take
/// as long as a call with all its attempts. Otherwise retries would multiply.
#[must_use]
pub fn paced(client: &Client) -> Client {
    let timeouts = timeouts()
        .to_builder()
        .read_timeout(OPERATION_MAX)
        .operation_attempt_timeout(OPERATION_MAX)
        .build();
    let config = client.config().to_builder();
    let config = config.retry_config(RetryConfig::disabled()).timeout_config(timeouts);
    Client::from_conf(config.build())
}

/// The configuration of every SDK client here, also for other services: the same limits.
pub async fn sdk_config(config: &ClientConfig) -> SdkConfig {
    let http = http_client(config.endpoint.as_deref());
    let region = Region::new(config.region.clone());
    let credentials = match &config.credentials {
        CredentialSource::Given { access_key_id, secret_access_key } => {
            SharedCredentialsProvider::new(Credentials::new(
                access_key_id.as_str(),
                secret_access_key.as_str(),
                None,
                None,
                "given",
            ))
        }
        CredentialSource::Environment => {
            let provider = ProviderConfig::without_region()
                .with_region(Some(region.clone()))
                .with_http_client(http.clone());
            let chain =
                DefaultCredentialsChain::builder().configure(provider).region(region.clone());
            SharedCredentialsProvider::new(chain.build().await)
        }
    };
    let mut builder = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(region)
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_MAX).build())
        .http_client(http)
        .timeout_config(timeouts())
        .retry_config(retries())
        // Answers are small and arrive whole within an attempt's timeout. A second timer would only
        // add a task.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    builder.set_endpoint_url(config.endpoint.clone());
    builder.build()
}

fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(POOL_IDLE_MAX)
        .pool_max_idle_per_host(POOL_IDLE_CONNECTIONS_MAX);
    if endpoint.is_some_and(|url| url.starts_with("http://")) {
        builder.build_http()
    } else {
        builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https()
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_MAX)
        .read_timeout(ATTEMPT_MAX)
        .operation_attempt_timeout(ATTEMPT_MAX)
        .operation_timeout(OPERATION_MAX)
        .build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(BACKOFF_FIRST)
        .with_max_backoff(BACKOFF_MAX)
}

/// Connecting. Within a region a second means an outage.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// One attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// All attempts of one call and the waits between: below [`model::limits::SEND_DEADLINE`], so that
/// a send can still answer that its outcome is unknown.
pub(crate) const OPERATION_MAX: Duration = Duration::from_secs(5);
/// Attempts of one call.
const ATTEMPTS_MAX: u32 = 3;
/// First wait between attempts.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Longest wait between attempts.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Loading credentials, which the first call after a cold start does.
const CREDENTIALS_MAX: Duration = Duration::from_secs(2);
/// How long an idle connection is kept; the service closes it later than that.
const POOL_IDLE_MAX: Duration = Duration::from_secs(20);
/// Idle connections that are kept.
const POOL_IDLE_CONNECTIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_before_the_send_that_made_it() {
        assert!(OPERATION_MAX < model::limits::SEND_DEADLINE);
        assert!(CONNECT_MAX < ATTEMPT_MAX && ATTEMPT_MAX < OPERATION_MAX);
    }

    #[test]
    fn debug_shows_no_secret() {
        let source = CredentialSource::Given {
            access_key_id: "name".to_owned(),
            secret_access_key: "secret".to_owned(),
        };
        assert_eq!(format!("{source:?}"), "Given(..)");
    }
}
