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
        ("alg none", unsigned(r#"{"alg":"none"}"#)),
        ("alg None", unsigned(r#"{"alg":"None"}"#)),
        ("alg NONE", unsigned(r#"{"alg":"NONE"}"#)),
        ("alg HS256 without a signature", unsigned(r#"{"alg":"HS256"}"#)),
        ("alg none with a signature", hs256(r#"{"alg":"none"}"#)),
        ("alg HS384", hs("HS384", Algorithm::HS384)),
        ("alg HS512", hs("HS512", Algorithm::HS512)),
        ("alg RS256 over a shared secret", hs("RS256", Algorithm::HS256)),
        ("alg ES256 over a shared secret", hs("ES256", Algorithm::HS256)),
        ("alg EdDSA over a shared secret", hs("EdDSA", Algorithm::HS256)),
        ("alg in lower case", hs("hs256", Algorithm::HS256)),
        ("no alg", hs256(r#"{"typ":"JWT"}"#)),
        ("alg is a number", hs256(r#"{"alg":256}"#)),
        ("a header that is a list", hs256("[]")),
        ("a header that is no JSON", hs256("alg=HS256")),
        ("a kid", header(json!({ "kid": "1" }))),
        ("a kid that is a path", header(json!({ "kid": "../../dev/null" }))),
        ("a jku", header(json!({ "jku": "https://evil.example/keys" }))),
        ("a jwk", header(json!({ "jwk": { "kty": "oct", "k": "AAAA" } }))),
        ("an x5u", header(json!({ "x5u": "https://evil.example/cert" }))),
        ("an x5c", header(json!({ "x5c": ["AAAA"] }))),
        ("an x5t", header(json!({ "x5t": "AAAA" }))),
        ("a crit", header(json!({ "crit": ["exp"] }))),
        ("an enc", header(json!({ "enc": "A128GCM" }))),
        ("a zip", header(json!({ "zip": "DEF" }))),
        ("a b64", header(json!({ "b64": false }))),
        ("the type of a ticket", header(json!({ "typ": "inkwire-ticket+jwt" }))),
        ("the type of an id token", header(json!({ "typ": "id+jwt" }))),
    ]
    .into_iter()
    .map(|(name, token)| call(name).by(&token).refused(401, "invalid_token"))
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
        ("no exp", without("exp")),
        ("no sub", without("sub")),
        ("no workspace", without("workspace_id")),
        ("exp is a text", with("exp", json!((now + 60).to_string()))),
        ("exp is negative", with("exp", json!(-1))),
        ("exp is null", with("exp", json!(null))),
        ("exp is a list", with("exp", json!([now + 60]))),
        ("exp is true", with("exp", json!(true))),
        ("nbf is a text", with("nbf", json!("0"))),
        ("nbf is null", with("nbf", json!(null))),
        ("nbf is in an hour", with("nbf", json!(now + 3_600))),
        ("exp is in milliseconds", with("exp", json!((now + 60) * 1_000))),
        ("sub is empty", with("sub", json!(""))),
        ("sub has a space", with("sub", json!("a b"))),
        ("sub is not ASCII", with("sub", json!("é"))),
        ("sub is a number", with("sub", json!(7))),
        ("sub has 65 characters", with("sub", json!("x".repeat(65)))),
        ("sub is me", with("sub", json!("me"))),
        ("workspace is a path", with("workspace_id", json!("../w"))),
        ("workspace is null", with("workspace_id", json!(null))),
        ("workspace has a key's separator", with("workspace_id", json!("w#1"))),
        ("role is a list", with("role", json!(["admin"]))),
        ("role is true", with("role", json!(true))),
        ("role is null", with("role", json!(null))),
        ("claims that are a list", json!(["alice"])),
        ("claims that are a text", json!("alice")),
    ];
    let expired = [
        ("expired an hour ago", json!(now - 3_600)),
        ("expired at the epoch", json!(0)),
        ("expired by a fraction", json!(now as f64 - 0.5)),
    ];
    let invalid = invalid
        .into_iter()
        .map(|(name, claims)| call(name).by(&of(&claims)).refused(401, "invalid_token"));
    let expired = expired
        .into_iter()
        .map(|(name, exp)| call(name).by(&of(&with("exp", exp))).refused(401, "token_expired"));
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
        ("a word for a token", "x".to_owned()),
        ("two dots for a token", "..".to_owned()),
        ("no signature", message.to_owned()),
        ("an empty signature", format!("{message}.")),
        ("a signature cut short", token[..token.len() - 2].to_owned()),
        ("a signature with more after", format!("{token}AAAA")),
        ("a signature with padding", format!("{token}=")),
        ("the signature of another token", format!("{message}.{other}")),
        ("a signature of zeros", format!("{message}.{}", encode([0; 32]))),
        ("another secret's signature", by_other),
        ("another payload under the signature", format!("{header}.{root}.{signature}")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts, as encrypted ones have", format!("{header}.{payload}.{signature}.AA.AA")),
        ("a quoted token", format!("\"{token}\"")),
        ("a payload that is no base 64", format!("{header}.!!!.{signature}")),
        ("a token over 8 KiB", of(&long)),
    ]
    .into_iter()
    .map(|(name, token)| call(name).by(&token).refused(401, "invalid_token"))
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
