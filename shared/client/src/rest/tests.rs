use std::sync::atomic::{AtomicUsize, Ordering};

use model::Direction;
use serde_json::json;

use super::*;
use crate::DevUser;
use crate::fake_server::{FakeServer, general, message, page, problem};

#[tokio::test]
async fn a_typed_call_sends_its_parameters_and_parses_the_answer() {
    let fake =
        FakeServer::start(|_| Some(page(&[message(2), message(1)], Some(message(1).id)))).await;
    let offset = message(3).id;
    let api = fake.api();
    let read = api.scroll(&general(), Some(offset), 7, Direction::Older).await.unwrap();
    assert_eq!(read.messages, [message(2), message(1)]);
    assert_eq!(read.next_offset, Some(message(1).id));
    let call = fake.calls().remove(0);
    let (general, token) = (general(), "Bearer secret");
    let line = format!("GET /scroll?channel_id={general}&limit=7&direction=older&offset={offset}");
    assert_eq!((call.line, call.token.as_str()), (line, token));
}

#[tokio::test]
async fn a_refusal_is_typed_and_anything_else_is_a_bad_answer() {
    let answers = AtomicUsize::new(0);
    let fake = FakeServer::start(move |_| match answers.fetch_add(1, Ordering::Relaxed) {
        0 => Some(problem(404, "channel_not_found")),
        1 => Some((500, json!("<html>"))),
        _ => Some((200, json!({ "something": "else" }))),
    })
    .await;
    let api = fake.api();
    let error = api.channel(&general()).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(404), Some(ErrorCode::ChannelNotFound)));
    assert!(!error.is_retryable() && !error.outcome_unknown());
    let error = api.channel(&general()).await.unwrap_err();
    assert!(matches!(error, ApiError::BadAnswer { status: 500, .. }));
    assert!(error.is_retryable() && error.outcome_unknown());
    let error = api.channel(&general()).await.unwrap_err();
    assert!(matches!(error, ApiError::BadAnswer { status: 200, .. }));
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    let tokens = AtomicUsize::new(0);
    let fake = FakeServer::start(move |call| match call.line.as_str() {
        "POST /dev/token" => {
            let count = tokens.fetch_add(1, Ordering::Relaxed);
            Some((200, json!({ "token": format!("t{count}") })))
        }
        _ if call.token == "Bearer t0" => Some(problem(401, "token_expired")),
        _ => None,
    })
    .await;
    let user = DevUser::new("demo".parse().unwrap(), "bob".parse().unwrap()).admin();
    let api = fake.api().with_source(TokenSource::Dev(user));
    assert_eq!(api.channels().await.unwrap().len(), 1);
    let expected = json!({ "workspace_id": "demo", "user_id": "bob", "role": "admin" });
    assert_eq!(fake.calls()[0].body, expected);
    assert_eq!(fake.lines("GET /channels").len(), 2);
    assert!(!format!("{:?}", api.token().await).contains("t1"));
}

#[tokio::test]
async fn a_raw_call_sends_exactly_the_given_request() {
    let fake = FakeServer::start(|_| Some(problem(400, "bad_json"))).await;
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, "Basic x".parse().unwrap());
    let answer = fake.api().raw(Method::POST, "/messages?a=1", headers, "{").await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_json")));
    let call = fake.calls().remove(0);
    assert_eq!((call.line.as_str(), call.token.as_str()), ("POST /messages?a=1", "Basic x"));
}

#[test]
fn only_http_urls_are_accepted() {
    for url in ["", "127.0.0.1:8080", "wss://x", "ws://x"] {
        let api = Api::new(url, TokenSource::Fixed(Token::new("t")));
        assert!(matches!(api, Err(ApiError::BadAddress)), "{url}");
    }
    for url in ["http://127.0.0.1:8080/", "https://chat.example.com"] {
        assert!(Api::new(url, TokenSource::Fixed(Token::new("t"))).is_ok(), "{url}");
    }
}
