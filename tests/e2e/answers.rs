//! The shapes of successful answers over real HTTP, and the one refusal that depends on the fleet.

use client::RawAnswer;
use tests::cluster::{Cluster, Environment};

/// A cluster with a channel, and a token to call it.
struct Fixture {
    cluster: Cluster,
    token: String,
    channel: String,
}

impl Fixture {
    async fn open() -> Self {
        let cluster = Cluster::with_nodes(Environment::Embedded, 1).await;
        let channel = cluster.group("alice", &["bob"]).await.id.to_string();
        let token = cluster.token("alice", 3_600).await;
        Self { cluster, token, channel }
    }

    async fn authorized(&self, method: &str, path: &str, body: &[u8]) -> RawAnswer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.cluster.call(method, path, &headers, body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_connect_answers_no_capacity_and_when_to_retry() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 0).await;
    let error = cluster.api("alice").connect(None).await.unwrap_err();
    assert_eq!(error.code(), Some(model::ErrorCode::NoCapacity));
    assert!(error.retry_after().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_shape_of_the_protocol() {
    let fixture = Fixture::open().await;
    let c = &fixture.channel;
    let body = format!(r#"{{"channel_id":"{c}","message":"hi"}}"#);
    let posted = fixture.authorized("POST", "/messages", body.as_bytes()).await.json();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&posted),
        [
            "channel_id",
            "created_at",
            "duplicate",
            "id",
            "message",
            "rev",
            "sender_id",
            "server_time",
            "text_rev"
        ]
    );
    let created_at = posted["created_at"].as_str().unwrap();
    assert!(created_at.len() == 24 && created_at.ends_with('Z'), "{created_at}");
    let page = fixture.authorized("GET", &format!("/scroll?channel_id={c}"), b"").await.json();
    assert_eq!(keys(&page), ["messages", "next_offset"], "without `complete`: it reads older ones");
    assert_eq!(
        keys(&page["messages"][0]),
        ["channel_id", "created_at", "id", "message", "rev", "sender_id", "text_rev"]
    );
    let channel = fixture.authorized("GET", &format!("/channels/{c}"), b"").await.json();
    assert_eq!(
        keys(&channel),
        [
            "archived",
            "channel_id",
            "contract",
            "created_at",
            "created_by",
            "details_version",
            "late",
            "members_version",
            "name",
            "topic",
            "type",
            "visibility",
            "workspace_id"
        ]
    );
    let made = fixture.authorized("POST", "/channels", br#"{"type":"DM","members":["bob"]}"#).await;
    let found =
        fixture.authorized("POST", "/channels", br#"{"type":"DM","members":["bob"]}"#).await;
    assert_eq!((made.status, found.status), (201, 200));
    assert_eq!(made.json()["channel_id"], found.json()["channel_id"]);
    let members = fixture.authorized("GET", &format!("/channels/{c}/members"), b"").await.json();
    assert_eq!(keys(&members), ["members", "next_offset"]);
    assert_eq!(keys(&members["members"][0]), ["joined_at", "user_id"]);
    let connect = fixture.authorized("GET", "/connect", b"").await.json();
    assert_eq!(
        keys(&connect),
        ["alternates", "delay_ms", "expires_at", "node_id", "server_time", "ticket", "url"]
    );
    let conflict = format!(
        r#"{{"channel_id":"{c}","message":"other","id":"{}"}}"#,
        posted["id"].as_str().unwrap()
    );
    let answer = fixture.authorized("POST", "/messages", conflict.as_bytes()).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("id_conflict")));
}
