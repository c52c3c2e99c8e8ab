//! Checks the tables: makes a node's reads, for rows that do not exist, and compares shapes.

use async_trait::async_trait;
use messaging::ports::{
    Cause, ChannelStore, Finding, HealthCheck, Issue, MemberStore, MessageStore, PageQuery,
    ReadError, RevocationStore, Scope,
};
use model::{ChannelId, IdError, MessageId, Timestamp, UserId, WorkspaceId, chain};

use crate::error::{CallError, Fault, fix_of};
use crate::provision::{SchemaError, differences};
use crate::schema::schema;
use crate::store::DynamoStore;

#[async_trait]
impl HealthCheck for DynamoStore {
    async fn run(&self, scope: Scope) -> Vec<Finding> {
        // A busy node notices by its own calls, and an idle one needs no check.
        if scope == Scope::Running {
            return Vec::new();
        }
        let mut findings = match self.shapes().await {
            Ok(findings) => findings,
            // The store is down: six more calls would find the same.
            Err(silence) => return vec![silence],
        };
        match self.reads().await {
            Ok(reads) => findings.extend(reads),
            Err(no_id) => tracing::error!(cause = %no_id, "a constant id is none"),
        }
        if findings.is_empty() {
            findings.push(Finding::good(TABLES, "every read that a node makes is answered".into()));
        }
        findings
    }
}

impl DynamoStore {
    /// What is wrong with the shapes. A table with provisioned capacity serves as well.
    ///
    /// # Errors
    /// A finding, if the store does not answer at all.
    async fn shapes(&self) -> Result<Vec<Finding>, Finding> {
        let mut findings = Vec::new();
        for shape in &schema().tables {
            for difference in differences(&self.client, &self.prefix, shape).await {
                match difference {
                    SchemaError::Differs { what: "billing", .. } => {}
                    SchemaError::Missing { .. } => findings.push(wrong(
                        Issue::TableMissing,
                        format!(
                            "{difference}; fix: make it from tables.json, or correct \
                             INKWIRE_TABLE_PREFIX, AWS_REGION or AWS_ENDPOINT_URL"
                        ),
                    )),
                    SchemaError::Differs { what: "keys", .. } => findings.push(wrong(
                        Issue::TableShape,
                        format!("{difference}; fix: keys cannot be changed, make it anew"),
                    )),
                    SchemaError::Differs { .. } => findings.push(wrong(
                        Issue::TableSettings,
                        format!("{difference}; fix: set it as tables.json says"),
                    )),
                    SchemaError::NotActive { .. } | SchemaError::Call { .. } => {
                        findings.extend(untold(&difference)?);
                    }
                }
            }
        }
        Ok(findings)
    }

    /// What is wrong with the reads; equal findings are reported once.
    async fn reads(&self) -> Result<Vec<Finding>, IdError> {
        let (workspace, user) = (WorkspaceId::parse(NOBODY)?, UserId::parse(NOBODY)?);
        let (channel, id) = (ChannelId::parse(NOWHERE)?, MessageId::first_of(Timestamp::MAX));
        let query = PageQuery {
            log: channel.clone().into(),
            lowest: id,
            highest: MessageId::last_of(Timestamp::MAX),
            newest_first: true,
            limit: 1,
            strong: true,
        };
        let answers = [
            self.entry(&query.log, id).await.map(drop),
            self.page(&query).await.map(drop),
            self.channels(std::slice::from_ref(&channel)).await.map(drop),
            self.members(&channel, None, 1).await.map(drop),
            self.channels_of(&workspace, &user, None, 1).await.map(drop),
            self.revoked_among(&workspace, std::slice::from_ref(&user)).await.map(drop),
        ];
        let mut findings: Vec<Finding> = Vec::new();
        for error in answers.into_iter().filter_map(Result::err) {
            let finding = of_read(&error);
            // One line if the store is unreachable; otherwise one for each different text.
            let is_new = |known: &Finding| {
                known.issue != finding.issue
                    || (finding.issue != Some(Issue::StoreUnreachable)
                        && known.line != finding.line)
            };
            if findings.iter().all(is_new) {
                findings.push(finding);
            }
        }
        Ok(findings)
    }
}

fn wrong(issue: Issue, line: String) -> Finding {
    Finding::bad(TABLES, issue, line)
}

/// A shape that cannot be read is a finding only if the store is unreachable or denies it.
fn untold(error: &SchemaError) -> Result<Option<Finding>, Finding> {
    let SchemaError::Call { source, .. } = error else { return Ok(None) };
    match source.downcast_ref::<CallError>() {
        Some(CallError::Answered { code, .. }) => Ok(match Fault::of(code) {
            Some(Fault::Denied | Fault::Identity) => Some(wrong(Issue::StoreDenied, plain(source))),
            Some(Fault::Missing | Fault::Shape) | None => None,
        }),
        Some(CallError::Unanswered { .. }) => {
            Err(wrong(Issue::StoreUnreachable, format!("{}{UNREACHED}", chain(error))))
        }
        Some(
            CallError::Unprocessed { .. }
            | CallError::Contended { .. }
            | CallError::TargetOccupied
            | CallError::Vanished,
        )
        | None => Ok(None),
    }
}

/// An error without the request id: the same fault gives the same line the next time.
fn plain(cause: &Cause) -> String {
    match cause.downcast_ref::<CallError>() {
        Some(CallError::Answered { operation, code, message, .. }) => {
            format!("{operation} was answered {code}: {message}{}", fix_of(code, operation))
        }
        Some(other) => chain(other),
        None => chain(cause.as_ref()),
    }
}

fn of_read(error: &ReadError) -> Finding {
    let cause = match error {
        ReadError::Throttled(cause)
        | ReadError::Unavailable(cause)
        | ReadError::Unreadable(cause) => cause,
    };
    let code = match cause.downcast_ref::<CallError>() {
        Some(CallError::Answered { code, .. }) => Fault::of(code),
        Some(
            CallError::Unanswered { .. }
            | CallError::Unprocessed { .. }
            | CallError::Contended { .. }
            | CallError::TargetOccupied
            | CallError::Vanished,
        )
        | None => None,
    };
    match code {
        Some(Fault::Denied | Fault::Identity) => wrong(Issue::StoreDenied, plain(cause)),
        Some(Fault::Missing) => wrong(Issue::TableMissing, plain(cause)),
        Some(Fault::Shape) => wrong(Issue::TableShape, plain(cause)),
        None => wrong(Issue::StoreUnreachable, format!("{}{UNREACHED}", chain(error))),
    }
}

const TABLES: &str = "tables";
/// A reserved id: demo data and documentation avoid it, and nothing is ever written under it.
const NOBODY: &str = "inkwire-check";
/// The same for a channel: an id with a time that no clock shows.
const NOWHERE: &str = "C00000000000000000000000000";
const UNREACHED: &str = "; fix: the way to the store (AWS_ENDPOINT_URL, network), or wait for it";
