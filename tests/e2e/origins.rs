//! Pages of other origins, as browsers see them: they ask before a call, and read an answer only if it says
//! that they may.

use client::{OpenError, RawSocket};
use embedded_stack::StackOptions;
use tests::SOON;
use tests::cluster::{Cluster, options};

const ALLOWED: &str = "http://localhost:5173";
const FOREIGN: &str = "http://evil.example";

async fn cluster() -> Cluster {
    let allowed_origins = vec![ALLOWED.to_owned()];
    Cluster::of(StackOptions { nodes: 1, allowed_origins, ..options() }, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_allowed_origin_may_use_the_stack() {
    let cluster = cluster().await;
    let json = ("content-type", "application/json");
    let who = br#"{"workspace_id":"w","user_id":"alice"}"#;
    let name = |of: &str| format!("access-control-{of}");
    for (origin, is_allowed) in [(ALLOWED, true), (FOREIGN, false)] {
        let origin_header = ("origin", origin);
        let readable = is_allowed.then_some(origin);
        let asks = [
            origin_header,
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        for path in ["/messages", "/dev/token", "/connect", "/channels/x/members/y"] {
            let answer = cluster.call("OPTIONS", path, &asks, b"").await;
            let header = |of: &str| {
                answer.headers.get(name(of)).map(|value| value.to_str().unwrap().to_owned())
            };
            assert_eq!(header("allow-origin").as_deref(), readable, "{origin} {path}");
            assert_eq!(answer.status == 204, is_allowed, "{origin} {path}");
            if is_allowed {
                assert_eq!(header("allow-headers").unwrap(), "authorization, content-type");
                assert_eq!(header("allow-methods").unwrap(), "GET, POST, PUT, PATCH, DELETE");
                assert_eq!(answer.headers["vary"], "Origin");
            }
        }
        let token = cluster.call("POST", "/dev/token", &[origin_header, json], who).await;
        assert_eq!(token.status, if is_allowed { 200 } else { 403 }, "{origin}");
        // A refusal, too, is for the page to read.
        let refused = cluster.call("GET", "/channels", &[origin_header], b"").await;
        let may_read = refused.headers.get(name("allow-origin"));
        assert_eq!(may_read.map(|value| value.to_str().unwrap()), readable);
        assert_eq!(
            (refused.status, refused.headers.get("access-control-allow-credentials")),
            (401, None)
        );
        let target = cluster.api("alice").connect(None).await.unwrap().target;
        let opened = RawSocket::open(&target.url, &[origin_header], SOON).await;
        match opened {
            Ok(_) => assert!(is_allowed, "{origin}"),
            Err(OpenError::Refused { status, .. }) => {
                assert_eq!((status, is_allowed), (403, false))
            }
            Err(other) => panic!("{other}"),
        }
    }
}
