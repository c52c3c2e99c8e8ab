use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::*;

mod public;

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_500);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn tokens() -> JwtTokens {
    verifier(SECRET, None, None)
}

fn verifier(secrets: &str, issuer: Option<&str>, audience: Option<&str>) -> JwtTokens {
    JwtTokens::new(&TokenConfig {
        keys: TokenKeys::Shared(Secrets::parse(secrets).unwrap()),
        issuer: issuer.map(str::to_owned),
        audience: audience.map(str::to_owned),
        session_max: limits::SOCKET_LIFETIME,
    })
}

fn claims() -> Value {
    json!({ "sub": "alice", "workspace_id": "demo", "exp": 1_700_000_060 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// A token with these texts as header and payload, signed with HMAC-SHA-256.
fn raw(header: &str, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn signed(claims: &Value) -> String {
    raw(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

fn verify(token: &str) -> Result<Principal, TokenError> {
    tokens().verify(token, NOW)
}

#[test]
fn a_token_of_ours_is_taken() {
    let alice = Principal {
        workspace_id: WorkspaceId::parse("demo").unwrap(),
        user_id: UserId::parse("alice").unwrap(),
        is_admin: true,
        expires_at: Timestamp::from_unix_ms(1_700_000_001_007),
    };
    assert_eq!(
        verify(&TokenSigner::new(&Secrets::parse(SECRET).unwrap()).issue(&alice, NOW)),
        Ok(alice)
    );
    let plain = verify(&signed(&claims())).unwrap();
    assert_eq!((plain.is_admin, plain.expires_at.unix_ms()), (false, 1_700_000_060_000));
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","typ":"at+jwt"}"#] {
        assert!(verify(&raw(header, &claims().to_string(), SECRET)).is_ok(), "{header}");
    }
}

#[test]
fn a_token_ends_at_its_expiry_to_the_millisecond() {
    let half = signed(&with("exp", json!(1_700_000_000.5)));
    assert_eq!(verify(&half), Err(TokenError::Expired));
    let just_before = Timestamp::from_unix_ms(NOW.unix_ms() - 1);
    assert!(tokens().verify(&half, just_before).is_ok());
    for exp in [json!(0), json!(1_700_000_000), json!(1.5)] {
        assert_eq!(verify(&signed(&with("exp", exp.clone()))), Err(TokenError::Expired), "{exp}");
    }
}

#[test]
fn an_expiry_in_milliseconds_is_no_time() {
    let years = |years: u64| json!(1_700_000_000 + years * 365 * 24 * 3600);
    assert!(verify(&signed(&with("exp", years(10)))).is_ok());
    for exp in [json!(1_700_000_060_000_u64), years(11), json!(u64::MAX), json!(1e300)] {
        let refused = verify(&signed(&with("exp", exp.clone())));
        assert_eq!(refused, Err(TokenError::Claims), "{exp}");
    }
}

#[test]
fn what_a_token_opens_ends_a_day_after_it_was_shown() {
    let day = 24 * 3600;
    for (exp, ends) in [(day - 1, day * 1_000 - 1_000), (day + 1, day * 1_000 + 500)] {
        let caller = verify(&signed(&with("exp", json!(1_700_000_000 + exp)))).unwrap();
        assert_eq!(caller.expires_at.unix_ms() - 1_700_000_000_000, ends);
    }
}

#[test]
fn wrong_claims_are_refused() {
    for claims in [
        without("exp"),
        without("sub"),
        without("workspace_id"),
        with("exp", json!("1700000060")),
        with("exp", json!(-1)),
        with("exp", json!(null)),
        with("exp", json!([1_700_000_060])),
        with("nbf", json!("0")),
        with("nbf", json!(null)),
        with("sub", json!(7)),
        with("workspace_id", json!("../demo")),
        with("workspace_id", json!(null)),
        with("role", json!(["admin"])),
        with("role", json!(true)),
        with("role", json!(null)),
    ] {
        assert_eq!(verify(&signed(&claims)), Err(TokenError::Claims), "{claims}");
    }
    for sub in ["", "a b", "é", "me", &"x".repeat(65)] {
        let refused = verify(&signed(&with("sub", json!(sub))));
        assert_eq!(refused, Err(TokenError::UserId), "{sub}");
    }
    let later = with("nbf", json!(1_700_000_006));
    assert_eq!(verify(&signed(&later)), Err(TokenError::NotYetValid));
    for claims in [json!(["alice"]), json!("alice")] {
        assert_eq!(verify(&signed(&claims)), Err(TokenError::Malformed), "{claims}");
    }
    for nbf in [1_700_000_000, 1_700_000_005] {
        assert!(
            verify(&signed(&with("nbf", json!(nbf)))).is_ok(),
            "an issuer's clock may be ahead"
        );
    }
    assert!(!verify(&signed(&with("role", json!("Admin")))).unwrap().is_admin);
}

#[test]
fn an_expired_token_that_is_wrong_is_wrong() {
    let mut claims = with("exp", json!(1));
    claims["role"] = json!(1);
    assert_eq!(verify(&signed(&claims)), Err(TokenError::Claims));
    let forged = raw(r#"{"alg":"HS256"}"#, &with("exp", json!(1)).to_string(), OTHER);
    assert_eq!(verify(&forged), Err(TokenError::Signature));
}

#[test]
fn a_header_chooses_neither_algorithm_nor_key() {
    let claims = claims().to_string();
    let refused = |header: &str| verify(&raw(header, &claims, SECRET)).unwrap_err();
    for algorithm in ["none", "None", "", "HS384", "RS256", "ES256", "x"] {
        let header = json!({ "alg": algorithm }).to_string();
        assert_eq!(refused(&header), TokenError::Algorithm, "{header}");
    }
    for header in [r#"{"alg":"HS256","kid":"other"}"#, r#"{"alg":"HS256","kid":""}"#] {
        assert_eq!(refused(header), TokenError::UnknownKey, "{header}");
    }
    for header in [
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","jku":"https://evil.example/keys"}"#,
        r#"{"alg":"HS256","x5u":"https://evil.example/cert"}"#,
        r#"{"alg":"HS256","x5c":["AAAA"]}"#,
        r#"{"alg":"HS256","x5t":"AAAA"}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","typ":"inkwire-ticket+jwt"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":7}"#,
        r#"["HS256"]"#,
        "",
    ] {
        assert_eq!(refused(header), TokenError::Malformed, "{header}");
    }
}

#[test]
fn a_token_must_be_whole_and_signed_by_us() {
    let good = signed(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { unreachable!() };
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let endless = format!("{}{}", claims(), " ".repeat(8_192));
    for token in [
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{payload}"),
        format!("{good}.x"),
        format!("x.{good}"),
        format!(" {good}"),
        raw(r#"{"alg":"HS256"}"#, "{", SECRET),
        raw(r#"{"alg":"HS256"}"#, &endless, SECRET),
    ] {
        assert_eq!(verify(&token), Err(TokenError::Malformed), "{token}");
    }
    let bob = URL_SAFE_NO_PAD.encode(with("sub", json!("bob")).to_string());
    for token in [
        format!("{header}.{payload}."),
        format!("{good}="),
        format!("{header}.{payload}.{}", signature.to_uppercase()),
        format!("{header}.{bob}.{signature}"),
        raw(r#"{"alg":"HS256"}"#, &claims().to_string(), OTHER),
    ] {
        assert_eq!(verify(&token), Err(TokenError::Signature), "{token}");
    }
    assert_eq!(verify(&format!("{none}.{payload}.")), Err(TokenError::Algorithm));
}

#[test]
fn issuer_and_audience_are_checked_where_configured() {
    let strict = verifier(SECRET, Some("https://id.example"), Some("inkwire"));
    let mut claims = with("iss", json!("https://id.example"));
    for (aud, is_taken) in [
        (json!("inkwire"), true),
        (json!(["other", "inkwire"]), true),
        (json!("other"), false),
        (json!([]), false),
        (json!(null), false),
        (json!({ "inkwire": 1 }), false),
    ] {
        claims["aud"] = aud;
        let refused = strict.verify(&signed(&claims), NOW).err();
        assert_eq!(refused, (!is_taken).then_some(TokenError::Audience), "{claims}");
        assert!(verify(&signed(&claims)).is_ok(), "not configured: {claims}");
    }
    for iss in [json!("https://evil.example"), json!(["https://id.example"]), json!(null)] {
        let mut claims = with("iss", iss);
        claims["aud"] = json!("inkwire");
        assert_eq!(strict.verify(&signed(&claims), NOW), Err(TokenError::Issuer), "{claims}");
    }
}

#[test]
fn a_replaced_secret_still_verifies() {
    let old = signed(&claims());
    let both = verifier(&format!("{OTHER},{SECRET}"), None, None);
    assert!(both.verify(&old, NOW).is_ok());
    assert_eq!(verifier(OTHER, None, None).verify(&old, NOW), Err(TokenError::Signature));
    assert!(!format!("{both:?}").contains(SECRET));
}
