//! The store as tests reach it, past the system's own adapter.

use dynamo::{ClientConfig, CredentialSource};

/// A DynamoDB client for an engine on this machine. Engines accept any region and credentials.
pub async fn local_client(endpoint: &str) -> aws_sdk_dynamodb::Client {
    dynamo::client(&ClientConfig {
        region: "local".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        credentials: CredentialSource::local(),
    })
    .await
}
