//! The calls that the ports make: each counted, its cost added, and its failure judged, in one place.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemOutput;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use messaging::ports::{ReadError, WriteError};

use crate::attempt::Attempts;
use crate::capacity::{Capacity, Operation};
use crate::error::read_error;
use crate::item::{Item, billed_bytes};
use crate::keys::Key;
use crate::store::DynamoStore;

/// The store asks for this with every call.
pub(crate) const COST: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;

/// The result of a write with a condition.
#[derive(Debug)]
pub(crate) enum Written<T> {
    /// It was written.
    Done(T),
    /// The condition failed. The row that it failed on, if the store was asked for it and sent it.
    Refused(Option<Item>),
}

/// An answer that says what the call cost.
pub(crate) trait Billed {
    fn add_to(&self, capacity: &Capacity, operation: Operation);
}

macro_rules! billed {
    ($($answer:ty),+) => {$(
        impl Billed for $answer {
            fn add_to(&self, capacity: &Capacity, operation: Operation) {
                capacity.count_units(operation, self.consumed_capacity());
            }
        }
    )+};
}

billed!(
    PutItemOutput,
    UpdateItemOutput,
    DeleteItemOutput,
    TransactWriteItemsOutput,
    GetItemOutput,
    BatchGetItemOutput,
    QueryOutput
);

impl DynamoStore {
    /// Makes a call, and counts it and its cost.
    pub(crate) async fn counted<A: Billed, E>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<A, SdkError<E, HttpResponse>>>,
    ) -> Result<A, SdkError<E, HttpResponse>> {
        self.capacity.count_call(operation);
        let answer = call.await?;
        answer.add_to(&self.capacity, operation);
        Ok(answer)
    }

    /// Makes a call that reads.
    pub(crate) async fn read<A: Billed, E>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<A, SdkError<E, HttpResponse>>>,
    ) -> Result<A, ReadError>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        self.counted(operation, call).await.map_err(|err| read_error(operation, err))
    }

    /// Reads at most `limit` rows of one partition.
    pub(crate) async fn query(
        &self,
        query: QueryFluentBuilder,
        limit: u32,
    ) -> Result<QueryOutput, ReadError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let query = query.limit(limit).return_consumed_capacity(COST).send();
        self.read(Operation::Query, query).await
    }

    /// Writes a row, if `condition` holds.
    pub(crate) async fn put(
        &self,
        table: &str,
        row: Item,
        condition: Option<&str>,
        attempts: &Attempts,
    ) -> Result<Written<()>, WriteError> {
        let row_bytes = billed_bytes(&row);
        let old_row = condition.map(|_| ReturnValuesOnConditionCheckFailure::AllOld);
        let put = self
            .client
            .put_item()
            .table_name(table)
            .set_item(Some(row))
            .set_condition_expression(condition.map(str::to_owned))
            .set_return_values_on_condition_check_failure(old_row)
            .return_consumed_capacity(COST)
            .customize()
            .interceptor(attempts.clone())
            .send();
        let Err(err) = self.counted(Operation::Put, put).await else {
            return Ok(Written::Done(()));
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = err.as_service_error()
        else {
            return Err(attempts.write_error(Operation::Put, err));
        };
        let old_bytes = failed.item().map_or(0, billed_bytes);
        self.capacity.count_refused_write(Operation::Put, row_bytes.max(old_bytes));
        Ok(Written::Refused(failed.item().cloned()))
    }

    /// Makes an update, with the condition that it has.
    pub(crate) async fn update(
        &self,
        update: UpdateItemFluentBuilder,
    ) -> Result<Written<UpdateItemOutput>, WriteError> {
        let attempts = Attempts::default();
        let update = update.return_consumed_capacity(COST).customize();
        let update = update.interceptor(attempts.clone()).send();
        let err = match self.counted(Operation::Update, update).await {
            Ok(answer) => return Ok(Written::Done(answer)),
            Err(err) => err,
        };
        match err.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                let bytes = failed.item().map_or(0, billed_bytes);
                self.capacity.count_refused_write(Operation::Update, bytes);
                Ok(Written::Refused(failed.item().cloned()))
            }
            _ => Err(attempts.write_error(Operation::Update, err)),
        }
    }

    /// Deletes a row, if it is there.
    pub(crate) async fn delete(&self, table: &str, key: Key) -> Result<(), WriteError> {
        let attempts = Attempts::default();
        let delete = self.client.delete_item().table_name(table).set_key(Some(key));
        let delete = delete.return_consumed_capacity(COST).customize();
        let delete = self.counted(Operation::Delete, delete.interceptor(attempts.clone()).send());
        delete.await.map(drop).map_err(|err| attempts.write_error(Operation::Delete, err))
    }
}
