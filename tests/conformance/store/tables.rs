//! The tables have the shapes that `tables.json` describes.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use dynamo::{DynamoStore, MalformedRow, SchemaError, TableNames};
use embedded_stack::engine::{Engine, EngineData};
use messaging::ports::{Appended, MessageStore, ReadError};
use serde_json::{Value, json};
use tests::store::local_client;

use super::{EmptyTables, channel_id, id, log_id, message};

#[tokio::test]
async fn created_tables_have_the_shape_that_the_file_describes() {
    let tables = EmptyTables::create().await;
    let file: Value = serde_json::from_str(dynamo::TABLES_JSON).unwrap();
    for expected in file["tables"].as_array().unwrap() {
        let name = format!("{}{}", tables.prefix, expected["name"].as_str().unwrap());
        let answer = tables.client.describe_table().table_name(&name).send().await.unwrap();
        let table = answer.table.unwrap();
        let ttl = tables.client.describe_time_to_live().table_name(&name).send().await.unwrap();
        let key = |role: KeyType| {
            let element = table.key_schema().iter().find(|key| *key.key_type() == role)?;
            let mut types = table.attribute_definitions().iter();
            let found = types.find(|found| found.attribute_name() == element.attribute_name())?;
            Some(json!({ "name": found.attribute_name(), "type": found.attribute_type().as_str() }))
        };
        let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
        let stream = table.stream_specification().and_then(|stream| stream.stream_view_type());
        let ttl = ttl.time_to_live_description.and_then(|ttl| ttl.attribute_name);
        let mut made = json!({
            "name": expected["name"],
            "partition_key": key(KeyType::Hash),
            "billing": mode.map(BillingMode::as_str),
            // No local engine supports it: the test of `infra/` checks it.
            "point_in_time_recovery": true,
        });
        let optional = [
            ("sort_key", key(KeyType::Range)),
            ("stream", stream.map(|view| view.as_str().into())),
            ("ttl_attribute", ttl.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                made[name] = value;
            }
        }
        assert_eq!(&made, expected);
    }
}

#[tokio::test]
async fn creating_the_tables_again_changes_nothing() {
    let tables = EmptyTables::create().await;
    tables.store.append(&message(1, id(0, 1), "ada", "hello")).await.unwrap();
    let again = (0..4).map(|_| dynamo::create_tables(&tables.client, &tables.prefix));
    futures_util::future::try_join_all(again).await.unwrap();
    assert!(tables.store.entry(&log_id(1), id(0, 1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_missing_table_is_named() {
    let tables = EmptyTables::create().await;
    let err = dynamo::verify_tables(&tables.client, "nowhere-").await.unwrap_err();
    assert_eq!(err.to_string(), "there is no table nowhere-messages");
    assert!(matches!(err, SchemaError::Missing { .. }));
}

#[tokio::test]
async fn a_table_of_another_shape_is_named_with_what_differs() {
    let tables = EmptyTables::create().await;
    let prefix = "other-shape-";
    let attribute = AttributeDefinition::builder()
        .attribute_name("id")
        .attribute_type(ScalarAttributeType::S)
        .build()
        .unwrap();
    let key =
        KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let request = tables.client.create_table().table_name(format!("{prefix}messages"));
    let request = request.billing_mode(BillingMode::PayPerRequest);
    request.attribute_definitions(attribute).key_schema(key).send().await.unwrap();
    let err = dynamo::verify_tables(&tables.client, prefix).await.unwrap_err();
    assert_eq!(
        err.to_string(),
        "the table other-shape-messages has keys HASH id (S), \
         not HASH channel_id (S), RANGE created_at (S)"
    );
}

#[tokio::test]
async fn a_foreign_row_is_an_error_and_not_a_panic() {
    let tables = EmptyTables::create().await;
    let request = tables.client.put_item().table_name(format!("{}messages", tables.prefix));
    let request = request
        .item("channel_id", AttributeValue::S(channel_id(1).to_string()))
        .item("created_at", AttributeValue::S(id(0, 1).to_string()))
        .item("s", AttributeValue::S("ada".to_owned()));
    request.send().await.unwrap();
    let err = tables.store.entry(&log_id(1), id(0, 1)).await.unwrap_err();
    let ReadError::Unreadable(cause) = err else { panic!("{err:?}") };
    let row = cause.downcast_ref::<MalformedRow>().unwrap();
    assert_eq!(*row, MalformedRow { table: "messages", attribute: "t" });
}

#[tokio::test]
async fn names_carry_the_prefix() {
    let names = TableNames::with_prefix("inkwire-");
    assert_eq!(names.user_channels, "inkwire-user_channels");
}

#[tokio::test]
async fn a_data_directory_keeps_its_rows_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = EngineData::Directory(directory.path().to_owned());
    let hello = message(1, id(0, 1), "ada", "hello");
    for round in 0..2 {
        let engine = Engine::start(data.clone()).unwrap();
        let client = local_client(engine.endpoint()).await;
        dynamo::create_tables(&client, "").await.unwrap();
        let store = DynamoStore::new(client, "", dynamo::Capacity::default());
        let appended = store.append(&hello).await.unwrap();
        assert_eq!(appended == Appended::Stored, round == 0);
    }
}

#[tokio::test]
async fn an_expired_redirect_is_swept_and_messages_stay() {
    let tables = EmptyTables::create().await;
    let late = message(1, id(100, 1), "ada", "late");
    let mut from = super::redirect(id(0, 1), &late);
    // The engine uses the real time, and this is in its past.
    from.expires_at = super::at(0);
    tables.store.append_redirected(&from, &late).await.unwrap();
    super::ENGINE.sweep().unwrap();
    assert_eq!(tables.store.entry(&log_id(1), id(0, 1)).await.unwrap(), None);
    assert!(tables.store.entry(&log_id(1), id(100, 1)).await.unwrap().is_some());
}
