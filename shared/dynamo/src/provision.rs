//! Creates the tables in local environments, and checks that tables match this code. In the cloud
//! the IaC creates them from the same file.

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType, TableDescription, TableStatus, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use messaging::ports::Cause;

use crate::error::CallError;
use crate::schema::{self, Billing, KeyAttribute, StreamView, TableShape};

/// What is wrong with the tables.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A table does not exist.
    #[error("there is no table {table}")]
    Missing {
        /// Its full name.
        table: String,
    },
    /// A table has another shape.
    #[error("the table {table} has {what} {found}, not {expected}")]
    Differs {
        /// Its full name.
        table: String,
        /// Which part of its shape.
        what: &'static str,
        /// What is expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A table did not become active.
    #[error("the table {table} did not become active within {} s", ACTIVE_WAIT_MAX.as_secs())]
    NotActive {
        /// Its full name.
        table: String,
    },
    /// The store did not answer, or refused.
    #[error("the store did not answer about the table {table}")]
    Call {
        /// Its full name.
        table: String,
        /// The store's error.
        #[source]
        source: Cause,
    },
}

/// Creates the tables that do not exist yet, and verifies all. Idempotent, even if several
/// processes do it at once. The IaC alone sets point-in-time recovery.
///
/// # Errors
/// [`SchemaError`].
pub async fn create_tables(client: &Client, prefix: &str) -> Result<(), SchemaError> {
    for shape in &schema::schema().tables {
        let table = format!("{prefix}{}", shape.name);
        create_table(client, &table, shape).await?;
        wait_until_active(client, &table).await?;
        if let Some(attribute) = &shape.ttl_attribute {
            enable_ttl(client, &table, attribute).await?;
        }
    }
    verify_tables(client, prefix).await
}

/// Compares each table with its definition: keys, billing, stream, time-to-live.
///
/// # Errors
/// [`SchemaError`] that names the first table that differs, and how.
pub async fn verify_tables(client: &Client, prefix: &str) -> Result<(), SchemaError> {
    for shape in &schema::schema().tables {
        if let Some(first) = differences(client, prefix, shape).await.into_iter().next() {
            return Err(first);
        }
    }
    Ok(())
}

/// Everything in which a table differs from its definition.
pub(crate) async fn differences(
    client: &Client,
    prefix: &str,
    shape: &TableShape,
) -> Vec<SchemaError> {
    let table = format!("{prefix}{}", shape.name);
    let found = match describe(client, &table).await {
        Ok(Some(found)) => found,
        Ok(None) => return vec![SchemaError::Missing { table }],
        Err(error) => return vec![error],
    };
    let ttl = match ttl_attribute(client, &table).await {
        Ok(ttl) => ttl,
        Err(error) => return vec![error],
    };
    let parts = [
        ("keys", keys_of_shape(shape), keys_of_table(&found)),
        ("billing", billing_of_shape(shape), billing_of_table(&found)),
        ("stream", stream_of_shape(shape), stream_of_table(&found)),
        ("time-to-live", text(shape.ttl_attribute.as_deref()), text(ttl.as_deref())),
    ];
    let differing = parts.into_iter().filter(|(_, expected, found)| expected != found);
    let differs = |(what, expected, found)| SchemaError::Differs {
        table: table.clone(),
        what,
        expected,
        found,
    };
    differing.map(differs).collect()
}

async fn create_table(client: &Client, table: &str, shape: &TableShape) -> Result<(), SchemaError> {
    let mut request = client.create_table().table_name(table).billing_mode(billing(shape.billing));
    for (key, role) in key_roles(shape) {
        let attribute = AttributeDefinition::builder()
            .attribute_name(&key.name)
            .attribute_type(scalar(key))
            .build()
            .map_err(|err| failed(table, err))?;
        let element = KeySchemaElement::builder()
            .attribute_name(&key.name)
            .key_type(role)
            .build()
            .map_err(|err| failed(table, err))?;
        request = request.attribute_definitions(attribute).key_schema(element);
    }
    if let Some(view) = shape.stream {
        let stream = StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(stream_view(view))
            .build()
            .map_err(|err| failed(table, err))?;
        request = request.stream_specification(stream);
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(err) => match err.as_service_error() {
            Some(CreateTableError::ResourceInUseException(_)) => Ok(()),
            _ => Err(failed(table, err)),
        },
    }
}

async fn wait_until_active(client: &Client, table: &str) -> Result<(), SchemaError> {
    let poll = async {
        loop {
            let found = describe(client, table).await?;
            if found.and_then(|found| found.table_status) == Some(TableStatus::Active) {
                return Ok(());
            }
            tokio::time::sleep(ACTIVE_POLL).await;
        }
    };
    let late = || SchemaError::NotActive { table: table.to_owned() };
    tokio::time::timeout(ACTIVE_WAIT_MAX, poll).await.unwrap_or_else(|_| Err(late()))
}

async fn enable_ttl(client: &Client, table: &str, attribute: &str) -> Result<(), SchemaError> {
    if ttl_attribute(client, table).await?.is_some() {
        return Ok(());
    }
    let specification = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name(attribute)
        .build()
        .map_err(|err| failed(table, err))?;
    let request = client.update_time_to_live().table_name(table);
    let answer = request.time_to_live_specification(specification).send().await;
    match answer {
        Ok(_) => Ok(()),
        // Another process did it first.
        Err(_) if ttl_attribute(client, table).await?.is_some() => Ok(()),
        Err(err) => Err(failed(table, err)),
    }
}

async fn describe(client: &Client, table: &str) -> Result<Option<TableDescription>, SchemaError> {
    match client.describe_table().table_name(table).send().await {
        Ok(answer) => Ok(answer.table),
        Err(SdkError::ServiceError(err))
            if matches!(err.err(), DescribeTableError::ResourceNotFoundException(_)) =>
        {
            Ok(None)
        }
        Err(err) => Err(unanswered(table, "DescribeTable", err)),
    }
}

/// The time-to-live attribute, if it is enabled or being enabled.
async fn ttl_attribute(client: &Client, table: &str) -> Result<Option<String>, SchemaError> {
    let request = client.describe_time_to_live().table_name(table);
    let answer =
        request.send().await.map_err(|err| unanswered(table, "DescribeTimeToLive", err))?;
    let description = answer.time_to_live_description;
    Ok(description.and_then(|found| match found.time_to_live_status {
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => found.attribute_name,
        _ => None,
    }))
}

fn unanswered<E>(
    table: &str,
    operation: &'static str,
    err: SdkError<E, HttpResponse>,
) -> SchemaError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    failed(table, CallError::named(operation, err))
}

fn failed(table: &str, source: impl Into<Cause>) -> SchemaError {
    SchemaError::Call { table: table.to_owned(), source: source.into() }
}

fn key_roles(shape: &TableShape) -> impl Iterator<Item = (&KeyAttribute, KeyType)> {
    let sort_key = shape.sort_key.iter().map(|key| (key, KeyType::Range));
    std::iter::once((&shape.partition_key, KeyType::Hash)).chain(sort_key)
}

fn keys_of_shape(shape: &TableShape) -> String {
    let name = |(key, role): (&KeyAttribute, KeyType)| key_text(&role, &key.name, &scalar(key));
    key_roles(shape).map(name).collect::<Vec<_>>().join(", ")
}

fn keys_of_table(table: &TableDescription) -> String {
    let scalar_of = |name: &str| {
        let definitions = table.attribute_definitions().iter();
        let mut types = definitions.filter(|found| found.attribute_name() == name);
        types.next().map_or_else(|| "?".into(), |found| found.attribute_type().clone())
    };
    let keys = table.key_schema().iter().map(|key| {
        key_text(key.key_type(), key.attribute_name(), &scalar_of(key.attribute_name()))
    });
    keys.collect::<Vec<_>>().join(", ")
}

fn key_text(role: &KeyType, name: &str, scalar: &ScalarAttributeType) -> String {
    format!("{} {name} ({})", role.as_str(), scalar.as_str())
}

fn billing_of_shape(shape: &TableShape) -> String {
    billing(shape.billing).as_str().to_owned()
}

fn billing_of_table(table: &TableDescription) -> String {
    let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    mode.unwrap_or(&BillingMode::Provisioned).as_str().to_owned()
}

fn stream_of_shape(shape: &TableShape) -> String {
    text(shape.stream.map(stream_view).as_ref().map(StreamViewType::as_str))
}

fn stream_of_table(table: &TableDescription) -> String {
    let stream = table.stream_specification().filter(|stream| stream.stream_enabled());
    text(stream.and_then(|stream| stream.stream_view_type()).map(StreamViewType::as_str))
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or("none").to_owned()
}

const fn billing(billing: Billing) -> BillingMode {
    match billing {
        Billing::PayPerRequest => BillingMode::PayPerRequest,
    }
}

const fn stream_view(view: StreamView) -> StreamViewType {
    match view {
        StreamView::NewImage => StreamViewType::NewImage,
    }
}

const fn scalar(key: &KeyAttribute) -> ScalarAttributeType {
    match key.scalar {
        schema::KeyType::S => ScalarAttributeType::S,
    }
}

/// How long a new table may take to become active; locally it is active at once.
const ACTIVE_WAIT_MAX: Duration = Duration::from_secs(30);
/// How often that is checked.
const ACTIVE_POLL: Duration = Duration::from_millis(100);
