//! Tokens are checked before the media type, the size and the body.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::door::{Rest, all, stack};
use crate::tokens::{SECRET, claims, encode, good, now_s, of, signed};

pub(crate) fn cases() -> Vec<Rest> {
    let mut cases: Vec<Rest> = headers().into_iter().chain(headers_of_tokens()).collect();
    cases.extend(bad_claims());
    cases.extend(bad_signatures());
    // The order of checks: first the token, then the rest of the request.
    for (name, body) in [("no JSON", b"not json".to_vec()), ("too much", vec![b'x'; 300 * 1024])] {
        let case = call(format!("no token, and the body is {name}")).without("Authorization");
        let case = case.without("Content-Type").body(body);
        cases.push(case.refused(401, "unauthenticated"));
    }
    cases
}

fn call(name: impl Into<String>) -> Rest {
    Rest::of(name, "POST", "/messages")
}

fn refused((name, reason, token): (&str, &'static str, String)) -> Rest {
    call(name).by(&token).refused(401, "invalid_token").reason(reason)
}

/// The `Authorization` header itself.
fn headers() -> Vec<Rest> {
    let token = good("alice");
    let none = |name: &str| call(name).without("Authorization").refused(401, "unauthenticated");
    let of = |name: &str, value: &str| none(name).with("Authorization", value);
    vec![
        none("no authorization"),
        of("an empty authorization", ""),
        of("another scheme", "Basic YWxpY2U6eA=="),
        of("the scheme alone", "Bearer"),
        of("the scheme and a space", "Bearer "),
        of("a token without a scheme", &token),
        of("two tokens in one header", &format!("Bearer {token} {token}")),
        of("a tab after the scheme", &format!("Bearer\t{token}")),
        of("a comma after the scheme", &format!("Bearer,{token}")),
        of("the scheme's name in front", &format!("BearerX {token}")),
        of("one authorization", &format!("Bearer {token}"))
            .with("Authorization", format!("Bearer {token}"))
            .renamed("two authorizations"),
        none("an authorization that is not ASCII")
            .with("Authorization", b"Bearer \xe4\xff".to_vec()),
    ]
}

/// The first part of a token: its header.
fn headers_of_tokens() -> Vec<Rest> {
    let claims = claims("alice", "w").to_string();
    let hs256 = |header: &str| signed(header, &claims, SECRET, Algorithm::HS256);
    let header = |more: Value| {
        let mut header = json!({ "alg": "HS256", "typ": "JWT" });
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        hs256(&header.to_string())
    };
    let hs = |alg: &str, by| signed(&format!(r#"{{"alg":"{alg}"}}"#), &claims, SECRET, by);
    let unsigned = |alg: &str| format!("{}.{}.", encode(alg), encode(&claims));
    [
        ("alg none", "algorithm", unsigned(r#"{"alg":"none"}"#)),
        ("alg None", "algorithm", unsigned(r#"{"alg":"None"}"#)),
        ("alg NONE", "algorithm", unsigned(r#"{"alg":"NONE"}"#)),
        ("alg HS256 without a signature", "signature", unsigned(r#"{"alg":"HS256"}"#)),
        ("alg none with a signature", "algorithm", hs256(r#"{"alg":"none"}"#)),
        ("alg HS384", "algorithm", hs("HS384", Algorithm::HS384)),
        ("alg HS512", "algorithm", hs("HS512", Algorithm::HS512)),
        ("alg RS256 over a shared secret", "algorithm", hs("RS256", Algorithm::HS256)),
        ("alg ES256 over a shared secret", "algorithm", hs("ES256", Algorithm::HS256)),
        ("alg EdDSA over a shared secret", "algorithm", hs("EdDSA", Algorithm::HS256)),
        ("alg in lower case", "algorithm", hs("hs256", Algorithm::HS256)),
        ("no alg", "malformed", hs256(r#"{"typ":"JWT"}"#)),
        ("alg is a number", "malformed", hs256(r#"{"alg":256}"#)),
        ("a header that is a list", "malformed", hs256("[]")),
        ("a header that is no JSON", "malformed", hs256("alg=HS256")),
        ("a kid", "unknown_key", header(json!({ "kid": "1" }))),
        ("a kid that is a path", "unknown_key", header(json!({ "kid": "../../dev/null" }))),
        ("a jku", "malformed", header(json!({ "jku": "https://evil.example/keys" }))),
        ("a jwk", "malformed", header(json!({ "jwk": { "kty": "oct", "k": "AAAA" } }))),
        ("an x5u", "malformed", header(json!({ "x5u": "https://evil.example/cert" }))),
        ("an x5c", "malformed", header(json!({ "x5c": ["AAAA"] }))),
        ("an x5t", "malformed", header(json!({ "x5t": "AAAA" }))),
        ("a crit", "malformed", header(json!({ "crit": ["exp"] }))),
        ("an enc", "malformed", header(json!({ "enc": "A128GCM" }))),
        ("a zip", "malformed", header(json!({ "zip": "DEF" }))),
        ("a b64", "malformed", header(json!({ "b64": false }))),
        ("the type of a ticket", "malformed", header(json!({ "typ": "inkwire-ticket+jwt" }))),
        ("the type of an id token", "malformed", header(json!({ "typ": "id+jwt" }))),
    ]
    .into_iter()
    .map(refused)
    .collect()
}

/// The second part of a token: its claims.
fn bad_claims() -> Vec<Rest> {
    let with = |name: &str, value: Value| {
        let mut claims = claims("alice", "w");
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = claims("alice", "w");
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let now = now_s();
    let invalid = [
        ("no exp", "claims", without("exp")),
        ("no sub", "claims", without("sub")),
        ("no workspace", "claims", without("workspace_id")),
        ("exp is a text", "claims", with("exp", json!((now + 60).to_string()))),
        ("exp is negative", "claims", with("exp", json!(-1))),
        ("exp is null", "claims", with("exp", json!(null))),
        ("exp is a list", "claims", with("exp", json!([now + 60]))),
        ("exp is true", "claims", with("exp", json!(true))),
        ("nbf is a text", "claims", with("nbf", json!("0"))),
        ("nbf is null", "claims", with("nbf", json!(null))),
        ("nbf is in an hour", "not_yet_valid", with("nbf", json!(now + 3_600))),
        ("exp is in milliseconds", "claims", with("exp", json!((now + 60) * 1_000))),
        ("sub is empty", "user_id", with("sub", json!(""))),
        ("sub has a space", "user_id", with("sub", json!("a b"))),
        ("sub is not ASCII", "user_id", with("sub", json!("é"))),
        ("sub is a number", "claims", with("sub", json!(7))),
        ("sub has 65 characters", "user_id", with("sub", json!("x".repeat(65)))),
        ("sub is me", "user_id", with("sub", json!("me"))),
        ("workspace is a path", "claims", with("workspace_id", json!("../w"))),
        ("workspace is null", "claims", with("workspace_id", json!(null))),
        ("workspace has a key's separator", "claims", with("workspace_id", json!("w#1"))),
        ("role is a list", "claims", with("role", json!(["admin"]))),
        ("role is true", "claims", with("role", json!(true))),
        ("role is null", "claims", with("role", json!(null))),
        ("claims that are a list", "malformed", json!(["alice"])),
        ("claims that are a text", "malformed", json!("alice")),
    ];
    let expired = [
        ("expired an hour ago", json!(now - 3_600)),
        ("expired at the epoch", json!(0)),
        ("expired by a fraction", json!(now as f64 - 0.5)),
    ];
    let invalid =
        invalid.into_iter().map(|(name, reason, claims)| refused((name, reason, of(&claims))));
    let expired = expired
        .into_iter()
        .map(|(name, exp)| call(name).by(&of(&with("exp", exp))).refused(401, "token_expired"))
        .map(|case| case.reason("expired"));
    invalid.chain(expired).collect()
}

/// The third part of a token, its signature, and the dots between the parts.
fn bad_signatures() -> Vec<Rest> {
    let token = good("alice");
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let (_, other) =
        good("bob").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let root = encode(r#"{"sub":"root","workspace_id":"w","role":"admin","exp":9999999999}"#);
    let long = json!({ "sub": "alice", "workspace_id": "w", "exp": 9_999_999_999_u64,
                       "more": "x".repeat(8_000) });
    let foreign = "another-secret-0123456789-0123456789";
    let by_other =
        signed(r#"{"alg":"HS256"}"#, &claims("alice", "w").to_string(), foreign, Algorithm::HS256);
    [
        ("a word for a token", "malformed", "x".to_owned()),
        ("two dots for a token", "malformed", "..".to_owned()),
        ("no signature", "malformed", message.to_owned()),
        ("an empty signature", "signature", format!("{message}.")),
        ("a signature cut short", "signature", token[..token.len() - 2].to_owned()),
        ("a signature with more after", "signature", format!("{token}AAAA")),
        ("a signature with padding", "signature", format!("{token}=")),
        ("the signature of another token", "signature", format!("{message}.{other}")),
        ("a signature of zeros", "signature", format!("{message}.{}", encode([0; 32]))),
        ("another secret's signature", "signature", by_other),
        (
            "another payload under the signature",
            "signature",
            format!("{header}.{root}.{signature}"),
        ),
        ("four parts", "malformed", format!("{token}.{signature}")),
        (
            "five parts, as encrypted ones have",
            "malformed",
            format!("{header}.{payload}.{signature}.AA.AA"),
        ),
        ("a quoted token", "malformed", format!("\"{token}\"")),
        ("a payload that is no base 64", "signature", format!("{header}.!!!.{signature}")),
        ("a token over 8 KiB", "malformed", of(&long)),
    ]
    .into_iter()
    .map(refused)
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_tokens_are_checked_before_bodies() {
    let cluster = stack(0).await;
    let url = cluster.url();
    all(cases(), |case| case.check(&url)).await;
    let short = cluster.token("alice", 1).await;
    tests::eventually("a token ends", tests::SOON, async || {
        let refused = cluster.api_with(&short).channels().await.err();
        refused.is_some_and(|error| error.code() == Some(model::ErrorCode::TokenExpired))
    })
    .await;
}
