//! Looks replication groups up by the ElastiCache API. Only nodes use it: functions are configured
//! with the primary's name, so they need no access to this API and no call in a cold start.

use std::error::Error;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_elasticache::Client;
use aws_sdk_elasticache::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticache::types::{
    ClusterMode, Endpoint as ApiEndpoint, NodeGroup, ReplicationGroup,
};

use crate::discovery::{FindError, FindGroup, Group, HostPort};

/// One replication group of an account and region.
#[derive(Debug)]
pub struct ElastiCache {
    client: Client,
    group: String,
}

impl ElastiCache {
    /// Makes it for a group's id. Calls nothing yet.
    #[must_use]
    pub fn new(config: &SdkConfig, group: &str) -> Self {
        Self { client: Client::new(config), group: group.to_owned() }
    }

    fn refused<E, R>(&self, err: SdkError<E, R>) -> FindError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let group = self.group.clone();
        match err.code() {
            Some("ReplicationGroupNotFoundFault") => FindError::Missing { group },
            Some(
                code @ ("AccessDenied"
                | "AccessDeniedException"
                | "UnauthorizedOperation"
                | "InvalidClientTokenId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "MissingAuthenticationToken"),
            ) => FindError::Denied { group, code: code.to_owned() },
            Some(code) => {
                let message = err.message().unwrap_or("no message");
                FindError::Unanswered { group, why: format!("{code}: {message}") }
            }
            // The wrapper's text says nothing. The innermost source does, and shows no credentials.
            None => FindError::Unanswered { group, why: innermost(&err) },
        }
    }
}

#[async_trait]
impl FindGroup for ElastiCache {
    fn name(&self) -> &str {
        &self.group
    }

    async fn find(&self) -> Result<Group, FindError> {
        let request = self.client.describe_replication_groups().replication_group_id(&self.group);
        let answer = request.send().await.map_err(|err| self.refused(err))?;
        let found = answer.replication_groups.unwrap_or_default();
        let is_ours = |one: &&ReplicationGroup| one.replication_group_id() == Some(&self.group);
        let missing = || FindError::Missing { group: self.group.clone() };
        found.iter().find(is_ours).map(group_of).ok_or_else(missing)
    }
}

fn group_of(found: &ReplicationGroup) -> Group {
    let shards = found.node_groups();
    // A cluster of one shard needs other commands as well, and may grow at any time.
    let is_sharded = found.cluster_enabled() == Some(true)
        || matches!(found.cluster_mode(), Some(ClusterMode::Enabled | ClusterMode::Compatible))
        || shards.len() > 1;
    let only = shards.first();
    let is_setting = found
        .pending_modified_values()
        .is_some_and(|pending| pending.auth_token_status().is_some());
    Group {
        status: found.status().unwrap_or("in no status").to_owned(),
        engine: found.engine().map(str::to_owned),
        members: found.member_clusters().len(),
        is_sharded,
        primary: only.and_then(NodeGroup::primary_endpoint).and_then(address_of),
        reader: only.and_then(NodeGroup::reader_endpoint).and_then(address_of),
        tls: found.transit_encryption_enabled() == Some(true),
        wants_token: found.auth_token_enabled() == Some(true),
        may_take_token: is_setting || !found.user_group_ids().is_empty(),
    }
}

fn address_of(endpoint: &ApiEndpoint) -> Option<HostPort> {
    let host = endpoint.address().filter(|host| !host.is_empty())?.to_owned();
    let port = u16::try_from(endpoint.port()?).ok().filter(|port| *port > 0)?;
    Some(HostPort { host, port })
}

fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
