//! How a failing store is reported: throttled, not stored, or outcome unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dynamo::{Capacity, DynamoStore};
use messaging::ports::{
    Appended, ChannelStore, Creation, Marking, MessageStore, ReadError, WriteError,
};
use tests::store::local_client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{channel, channel_id, id, log_id, message, redirect, user};

/// What the scripted store does with one attempt.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Closes the connection after reading the request.
    Lost,
    /// Does not answer for longer than an attempt may take.
    Silent,
    /// Answers with an error.
    Error(u16, &'static str),
    /// Answers with this body.
    Body(u16, &'static str),
}

const THROTTLED: Answer = Answer::Error(400, "ThrottlingException");
const OVER_CAPACITY: Answer = Answer::Error(400, "ProvisionedThroughputExceededException");
const REFUSED: Answer = Answer::Error(400, "ValidationException");
const FAILED: Answer = Answer::Error(500, "InternalServerError");
const EMPTY: Answer = Answer::Body(200, "{}");
const CONFLICT: Answer = Answer::Body(
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}"#,
);
const THROTTLED_TRANSACTION: Answer = Answer::Body(
    400,
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "CancellationReasons":[{"Code":"None"},{"Code":"ProvisionedThroughputExceeded"}]}"#,
);
const CONDITION_FAILED: Answer = Answer::Error(400, "ConditionalCheckFailedException");
const THE_ROW: Answer = Answer::Body(
    200,
    r#"{"Item":{"channel_id":{"S":"C00000000000000000000000000"},
        "created_at":{"S":"00000000000000000000000000"},
        "s":{"S":"ada"},"t":{"S":"hello"},"v":{"N":"1"}}}"#,
);
const ONE_CHANNEL_LEFT_OUT: Answer = Answer::Body(
    200,
    r#"{"UnprocessedKeys":{"channels":{"ConsistentRead":true,
        "Keys":[{"channel_id":{"S":"C00000000000000000000000000"}}]}}}"#,
);

/// A store that answers the attempts by a script. The last answer repeats.
async fn scripted(script: &'static [Answer]) -> (DynamoStore, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let attempt = counted.fetch_add(1, Ordering::Relaxed);
            let answer = script[attempt.min(script.len() - 1)];
            tokio::spawn(serve(socket, answer));
        }
    });
    (store_at(&endpoint).await, attempts)
}

async fn store_at(endpoint: &str) -> DynamoStore {
    DynamoStore::new(local_client(endpoint).await, "", Capacity::default())
}

async fn serve(mut socket: TcpStream, answer: Answer) {
    let mut request = vec![0; 64 * 1024];
    let read = socket.read(&mut request).await.unwrap();
    assert!(read > 0, "a request came");
    match answer {
        Answer::Lost => {}
        Answer::Silent => tokio::time::sleep(Duration::from_secs(30)).await,
        Answer::Error(status, code) => {
            let body = format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}"}}"#);
            respond(socket, status, &body).await;
        }
        Answer::Body(status, body) => respond(socket, status, body).await,
    }
}

async fn respond(mut socket: TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: application/x-amz-json-1.0\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all((head + body).as_bytes()).await.unwrap();
}

async fn append(store: &DynamoStore) -> WriteError {
    store.append(&message(1, id(0, 1), "ada", "hello")).await.unwrap_err()
}

#[tokio::test]
async fn a_store_that_refuses_connections_has_stored_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let begun = Instant::now();
    let err = append(&store_at(&endpoint).await).await;
    assert!(matches!(err, WriteError::NotStored(_)), "{err:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_throttled_call_is_tried_three_times_and_reported_as_throttled() {
    for script in [&[THROTTLED], &[OVER_CAPACITY]] {
        let (store, attempts) = scripted(script).await;
        let err = append(&store).await;
        assert!(matches!(err, WriteError::Throttled(_)), "{err:?}");
        assert_eq!(attempts.load(Ordering::Relaxed), 3);
        let err = store.standing(&channel_id(1), &user("ada")).await.unwrap_err();
        assert!(matches!(err, ReadError::Throttled(_)), "{err:?}");
    }
}

#[tokio::test]
async fn a_refused_call_is_not_retried_and_stores_nothing() {
    let (store, attempts) = scripted(&[REFUSED]).await;
    let err = append(&store).await;
    assert!(matches!(err, WriteError::NotStored(_)), "{err:?}");
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_lost_answer_or_a_server_error_leaves_the_outcome_unknown() {
    for script in [&[Answer::Lost], &[FAILED]] {
        let (store, _) = scripted(script).await;
        let err = append(&store).await;
        assert!(matches!(err, WriteError::OutcomeUnknown(_)), "{script:?}: {err:?}");
        let err = store.entry(&log_id(1), id(0, 1)).await.unwrap_err();
        assert!(matches!(err, ReadError::Unavailable(_)), "{script:?}: {err:?}");
    }
}

#[tokio::test]
async fn a_refusal_after_a_lost_attempt_leaves_the_outcome_unknown() {
    let scripts: [&[Answer]; 4] = [
        &[Answer::Lost, THROTTLED],
        &[FAILED, THROTTLED],
        &[Answer::Lost, REFUSED],
        &[Answer::Silent, REFUSED],
    ];
    for script in scripts {
        let (store, _) = scripted(script).await;
        let err = append(&store).await;
        assert!(matches!(err, WriteError::OutcomeUnknown(_)), "{script:?}: {err:?}");
    }
}

#[tokio::test]
async fn a_failed_condition_returns_the_existing_item_whoever_wrote_it() {
    // The late mark may have been set by the lost attempt. It exists, whoever set it.
    let (store, _) = scripted(&[Answer::Lost, CONDITION_FAILED]).await;
    let late = model::LateArrivals { reread_from: id(0, 1), until: super::at(0) };
    assert_eq!(store.mark_late(&channel_id(1), late).await.unwrap(), Marking::Covered);
    let (store, _) = scripted(&[CONDITION_FAILED]).await;
    assert_eq!(store.bump_members_version(&channel_id(1)).await.unwrap(), None);
    assert_eq!(store.create(&channel(1)).await.unwrap(), Creation::Existed);
}

async fn append_redirected(store: &DynamoStore) -> Result<Appended, WriteError> {
    let late = message(1, id(100, 1), "ada", "late");
    store.append_redirected(&redirect(id(0, 1), &late), &late).await
}

#[tokio::test]
async fn a_transaction_conflict_is_retried_and_then_reported_as_throttled() {
    let (store, _) = scripted(&[CONFLICT, CONFLICT, EMPTY]).await;
    assert_eq!(append_redirected(&store).await.unwrap(), Appended::Stored);

    let (store, attempts) = scripted(&[CONFLICT]).await;
    let err = append_redirected(&store).await.unwrap_err();
    assert!(matches!(err, WriteError::Throttled(_)), "{err:?}");
    assert_eq!(attempts.load(Ordering::Relaxed), 4);

    let (store, _) = scripted(&[THROTTLED_TRANSACTION]).await;
    let err = append_redirected(&store).await.unwrap_err();
    assert!(matches!(err, WriteError::Throttled(_)), "{err:?}");

    let (store, _) = scripted(&[Answer::Lost, CONFLICT]).await;
    let err = append_redirected(&store).await.unwrap_err();
    assert!(matches!(err, WriteError::OutcomeUnknown(_)), "{err:?}");
}

#[tokio::test]
async fn a_failed_condition_without_its_row_is_read_once() {
    let (store, attempts) = scripted(&[CONDITION_FAILED, THE_ROW]).await;
    let appended = store.append(&message(1, id(0, 1), "ada", "hello")).await.unwrap();
    assert!(matches!(appended, Appended::Occupied(_)));
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    // The row has vanished in between, so only another write can find out.
    let (store, _) = scripted(&[CONDITION_FAILED, EMPTY]).await;
    let err = append(&store).await;
    assert!(matches!(err, WriteError::NotStored(_)), "{err:?}");
}

#[tokio::test]
async fn unprocessed_keys_of_a_batch_are_requested_again_within_bounds() {
    let (store, attempts) = scripted(&[ONE_CHANNEL_LEFT_OUT, ONE_CHANNEL_LEFT_OUT, EMPTY]).await;
    let standing = store.standing(&channel_id(1), &user("ada")).await.unwrap();
    assert_eq!((standing.channel, standing.is_member), (None, false));
    assert_eq!(attempts.load(Ordering::Relaxed), 3);

    let (store, attempts) = scripted(&[ONE_CHANNEL_LEFT_OUT]).await;
    let err = store.standing(&channel_id(1), &user("ada")).await.unwrap_err();
    assert!(matches!(err, ReadError::Throttled(_)), "{err:?}");
    assert_eq!(attempts.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_call_to_a_silent_store_ends_before_the_send_does() {
    let (store, _) = scripted(&[Answer::Silent]).await;
    let begun = Instant::now();
    let err = append(&store).await;
    assert!(matches!(err, WriteError::OutcomeUnknown(_)), "{err:?}");
    assert!(begun.elapsed() < model::limits::SEND_DEADLINE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_error_names_the_call_and_the_code_but_no_content() {
    let (store, _) = scripted(&[REFUSED]).await;
    let WriteError::NotStored(cause) = append(&store).await else { panic!("it is refused") };
    let text = format!("{cause} {cause:?}");
    assert!(text.contains("PutItem") && text.contains("ValidationException"), "{text}");
    assert!(!text.contains("hello"), "{text}");
}
