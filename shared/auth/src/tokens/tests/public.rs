//! Tokens of an issuer whose public keys are configured. The private keys beside this file only
//! sign for tests.

use jsonwebtoken::jwk::Jwk;

use super::*;
use crate::public_keys::PublicKeysError;

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(include_bytes!("keys/rsa.pem")).unwrap()
}

fn p256() -> EncodingKey {
    EncodingKey::from_ec_pem(include_bytes!("keys/p256.pem")).unwrap()
}

fn ed25519() -> EncodingKey {
    EncodingKey::from_ed_pem(include_bytes!("keys/ed25519.pem")).unwrap()
}

const ALGORITHMS: [(Algorithm, fn() -> EncodingKey); 3] =
    [(Algorithm::RS256, rsa), (Algorithm::ES256, p256), (Algorithm::EdDSA, ed25519)];

/// A public key as an issuer publishes it.
fn shown(key: &EncodingKey, algorithm: Algorithm, kid: Option<&str>) -> Value {
    let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    if let Some(kid) = kid {
        jwk["kid"] = json!(kid);
    }
    jwk
}

fn keys(keys: &[Value]) -> Result<PublicKeys, PublicKeysError> {
    PublicKeys::parse(&json!({ "keys": keys }).to_string())
}

fn verifier_of(shown: &[Value]) -> JwtTokens {
    JwtTokens::new(&TokenConfig {
        keys: TokenKeys::Public(keys(shown).unwrap()),
        issuer: Some("https://id.example".to_owned()),
        audience: Some("inkwire".to_owned()),
        session_max: limits::SOCKET_LIFETIME,
    })
}

fn sign(key: &EncodingKey, algorithm: Algorithm, kid: Option<&str>) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    let mut claims = with("iss", json!("https://id.example"));
    claims["aud"] = json!("inkwire");
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

#[test]
fn each_algorithm_verifies_with_its_public_key() {
    for (algorithm, key) in ALGORITHMS {
        let key = key();
        let tokens = verifier_of(&[shown(&key, algorithm, Some("k1"))]);
        for kid in [None, Some("k1")] {
            let taken = tokens.verify(&sign(&key, algorithm, kid), NOW);
            assert!(taken.is_ok(), "{algorithm:?} {kid:?}: {taken:?}");
        }
        let other = tokens.verify(&sign(&key, algorithm, Some("k2")), NOW);
        assert_eq!(other, Err(TokenError::UnknownKey), "{algorithm:?}: nobody's kid");
        let mut torn = sign(&key, algorithm, None);
        torn.replace_range(torn.len() - 4.., "AAAA");
        assert_eq!(tokens.verify(&torn, NOW), Err(TokenError::Signature), "{algorithm:?}");
    }
}

#[test]
fn a_token_chooses_among_keys_and_never_the_algorithm() {
    let set: Vec<Value> = ALGORITHMS
        .iter()
        .map(|(algorithm, key)| shown(&key(), *algorithm, Some(&format!("{algorithm:?}"))))
        .collect();
    let tokens = verifier_of(&set);
    for (algorithm, key) in ALGORITHMS {
        let own = format!("{algorithm:?}");
        assert!(tokens.verify(&sign(&key(), algorithm, Some(&own)), NOW).is_ok(), "{own}");
        let unnamed = tokens.verify(&sign(&key(), algorithm, None), NOW);
        assert_eq!(unnamed, Err(TokenError::UnknownKey), "which of three?");
        for (other, _) in ALGORITHMS.iter().filter(|(other, _)| *other != algorithm) {
            let stolen = tokens.verify(&sign(&key(), algorithm, Some(&format!("{other:?}"))), NOW);
            assert_eq!(stolen, Err(TokenError::Algorithm), "{own} under the name of {other:?}");
        }
    }
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let (algorithm, key) = (Algorithm::RS256, rsa());
    let jwk = shown(&key, algorithm, None);
    let tokens = verifier_of(std::slice::from_ref(&jwk));
    let mut claims = with("iss", json!("https://id.example"));
    claims["aud"] = json!("inkwire");
    let public = jwk["n"].as_str().unwrap();
    for secret in [public, SECRET] {
        let confused = raw(r#"{"alg":"HS256"}"#, &claims.to_string(), secret);
        assert_eq!(tokens.verify(&confused, NOW), Err(TokenError::Algorithm));
    }
    let none = raw(r#"{"alg":"none"}"#, &claims.to_string(), SECRET);
    assert_eq!(tokens.verify(&none, NOW), Err(TokenError::Algorithm));
    // Conversely, a verifier with shared secrets does not accept a token signed with a private key.
    assert_eq!(verify(&sign(&key, algorithm, None)), Err(TokenError::Algorithm));
}

#[test]
fn sets_that_cannot_be_used_are_told_apart() {
    let good = || shown(&p256(), Algorithm::ES256, Some("one"));
    let without_name = || shown(&p256(), Algorithm::ES256, None);
    let with = |name: &str, value: Value| {
        let mut jwk = good();
        jwk[name] = value;
        jwk
    };
    let short = EncodingKey::from_rsa_pem(include_bytes!("keys/short-rsa.pem")).unwrap();
    let p384 = EncodingKey::from_ec_pem(include_bytes!("keys/p384.pem")).unwrap();
    for (set, wrong) in [
        (vec![], PublicKeysError::Empty),
        (vec![with("d", json!("AAAA"))], PublicKeysError::Private),
        (vec![json!({ "kty": "oct", "k": "AAAA" })], PublicKeysError::Private),
        (vec![json!({ "kty": "oct" })], PublicKeysError::Unsupported),
        (vec![json!(1)], PublicKeysError::Unsupported),
        (vec![with("crv", json!("P-384"))], PublicKeysError::Unsupported),
        (vec![with("x", json!("AAAA"))], PublicKeysError::Unsupported),
        (vec![with("alg", json!("ES384"))], PublicKeysError::Unsupported),
        (vec![with("use", json!("enc"))], PublicKeysError::Unsupported),
        (vec![shown(&short, Algorithm::RS256, None)], PublicKeysError::Unsupported),
        (vec![shown(&p384, Algorithm::ES384, None)], PublicKeysError::Unsupported),
        (vec![good(), good()], PublicKeysError::Ambiguous),
        (vec![good(), without_name()], PublicKeysError::Ambiguous),
    ] {
        assert_eq!(keys(&set).unwrap_err(), wrong, "{set:?}");
    }
    for text in ["", "x", "[]", "{}", r#"{"keys":{}}"#] {
        assert_eq!(PublicKeys::parse(text), Err(PublicKeysError::NotASet), "{text}");
    }
    assert!(keys(&[good(), shown(&rsa(), Algorithm::RS256, Some("two"))]).is_ok());
    assert!(keys(&[without_name()]).is_ok());
}

/// A number in the form that a JWK uses.
fn number(bytes: &[u8]) -> Value {
    json!(URL_SAFE_NO_PAD.encode(bytes))
}

/// An odd number of `bits` bits.
fn odd(bits: usize) -> Value {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] = 0xff >> (bytes.len() * 8 - bits);
    number(&bytes)
}

#[test]
fn a_key_that_would_never_verify_is_refused_at_once() {
    let rsa = shown(&rsa(), Algorithm::RS256, None);
    let of_rsa = |n: Value, e: Value| {
        let mut jwk = rsa.clone();
        (jwk["n"], jwk["e"]) = (n, e);
        keys(&[jwk]).map(drop)
    };
    let e = || rsa["e"].clone();
    let unsupported = Err(PublicKeysError::Unsupported);
    for (bits, verdict) in
        [(2_047, unsupported), (2_048, Ok(())), (4_096, Ok(())), (4_097, unsupported)]
    {
        assert_eq!(of_rsa(odd(bits), e()), verdict, "{bits} bits");
    }
    // Leading zeros do not count as bits.
    let padded = [vec![0; 8], vec![0xff; 255]].concat();
    assert_eq!(of_rsa(number(&padded), e()), unsupported);
    let even = [vec![0xff; 255], vec![0xfe]].concat();
    let impossible = Err(PublicKeysError::Impossible);
    assert_eq!(of_rsa(number(&even), e()), impossible, "an even modulus");
    for exponent in [&[][..], &[0], &[1], &[4], &[2, 0, 0, 0, 1]] {
        assert_eq!(of_rsa(rsa["n"].clone(), number(exponent)), impossible, "{exponent:?}");
    }
    let off_curve = |key: &Value, at: &str| {
        let mut jwk = key.clone();
        jwk[at] = number(&[2; 32]);
        keys(&[jwk]).map(drop)
    };
    let p256 = shown(&p256(), Algorithm::ES256, None);
    assert_eq!(off_curve(&p256, "y"), impossible, "a point off P-256");
    let ed25519 = shown(&ed25519(), Algorithm::EdDSA, None);
    assert_eq!(off_curve(&ed25519, "x"), impossible, "a point off Ed25519");
}

/// The longest key that is accepted also verifies: `rsa-4096.pem` signed the token.
#[test]
fn the_longest_rsa_key_that_is_taken_verifies() {
    let key = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa-4096.pem")).unwrap();
    let tokens = verifier_of(&[shown(&key, Algorithm::RS256, None)]);
    let taken = tokens.verify(&sign(&key, Algorithm::RS256, None), NOW);
    assert!(taken.is_ok(), "{taken:?}");
}
