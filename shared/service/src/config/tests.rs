use auth::tokens::TokenKeys;

use super::*;

fn function() -> HashMap<&'static str, String> {
    HashMap::from([
        (TABLE_PREFIX, "inkwire-".to_owned()),
        (REGION, "eu-central-1".to_owned()),
        (REDIS_URL, "redis://user:password@cache.example:6380/1".to_owned()),
        (TOKEN_SECRET, "t".repeat(32)),
        (FILES_BUCKET, "inkwire-files".to_owned()),
        (TICKET_SECRET, format!("{},{}", "n".repeat(32), "o".repeat(32))),
    ])
}

fn node() -> HashMap<&'static str, String> {
    let mut env = function();
    env.remove(TOKEN_SECRET);
    env.remove(FILES_BUCKET);
    env.insert(NODE_LISTEN, "0.0.0.0:8443".to_owned());
    env.insert(NODE_URL, "wss://n1.example/socket".to_owned());
    env
}

#[test]
fn a_complete_environment_is_taken() {
    let config = FunctionConfig::try_from(&function(), Function::Connect).unwrap();
    assert_eq!(config.store.endpoint, None);
    assert_eq!(config.log, LogConfig::default());
    let both = format!("{},{}", "n".repeat(32), "o".repeat(32));
    assert_eq!(config.ticket_secrets, Some(Secrets::parse(&both).unwrap()));
    let mut env = node();
    env.insert(ALLOWED_ORIGINS, "https://a.example, http://localhost:8080".to_owned());
    let config = NodeConfig::try_from(&env).unwrap();
    assert_eq!(config.allowed_origins, ["https://a.example", "http://localhost:8080"]);
    assert_eq!(config.admin_listen, None);
}

#[test]
fn nothing_that_decides_where_data_goes_has_a_default() {
    let refused = FunctionConfig::try_from(&HashMap::new(), Function::Connect).unwrap_err();
    let neither = format!("{TOKEN_KEYS} is not set, nor {TOKEN_SECRET}");
    assert!(refused.problems.contains(&neither), "{refused}");
    for name in [TABLE_PREFIX, REGION, REDIS_URL, TICKET_SECRET] {
        assert!(refused.problems.contains(&format!("{name} is not set")), "{name}: {refused}");
    }
    assert_eq!(refused.problems.len(), 5);
    for name in node().keys() {
        let mut env = node();
        env.insert(name, String::new());
        let refused = NodeConfig::try_from(&env).unwrap_err();
        let unset = match *name {
            REDIS_URL => format!("{REDIS_URL} is not set, nor {REDIS_GROUP}"),
            name => format!("{name} is not set"),
        };
        assert_eq!(refused.problems, [unset]);
    }
}

#[test]
fn a_node_takes_a_group_instead_of_a_url_and_never_both() {
    let token = "hunter2/+@:hunter2";
    let mut env = node();
    env.insert(REDIS_GROUP, "inkwire-cache".to_owned());
    env.insert(REDIS_TOKEN, token.to_owned());
    let refused = NodeConfig::try_from(&env).unwrap_err();
    assert_eq!(refused.problems, [format!("{REDIS_URL} and {REDIS_GROUP} are both set")]);
    env.remove(REDIS_URL);
    env.insert(ENDPOINT_URL, "http://127.0.0.1:4566".to_owned());
    let config = NodeConfig::try_from(&env).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let RedisPlace::Group(group) = config.redis else { panic!("a group") };
    assert_eq!((group.id.as_str(), group.token.as_deref()), ("inkwire-cache", Some(token)));
    assert_eq!(group.api.as_deref(), Some("http://127.0.0.1:4566"));
    env.insert(ELASTICACHE_ENDPOINT_URL, "http://127.0.0.1:1".to_owned());
    let RedisPlace::Group(group) = NodeConfig::try_from(&env).unwrap().redis else {
        panic!("a group")
    };
    assert_eq!(group.api.as_deref(), Some("http://127.0.0.1:1"));
    for wrong in ["-a", "a-", "a--b", "1a", "a b", &"a".repeat(41)] {
        env.insert(REDIS_GROUP, wrong.to_owned());
        let refused = NodeConfig::try_from(&env).unwrap_err();
        assert_eq!(refused.problems, [format!("{REDIS_GROUP} is not a replication group id")]);
    }
}

/// A variable, its value, and what the program reports about it.
type Case = (&'static str, &'static str, &'static str);

#[test]
fn what_contradicts_itself_is_a_problem_of_its_own() {
    let cases: [&[Case]; 4] = [
        &[(
            REDIS_TOKEN,
            "sixteen-characters",
            "INKWIRE_REDIS_TOKEN is set without INKWIRE_REDIS_GROUP: a URL has its own",
        )],
        &[(
            REDIS_CA,
            include_str!("keys/authority.pem"),
            "INKWIRE_REDIS_CA is set, and INKWIRE_REDIS_URL is without TLS",
        )],
        &[(
            NODE_ADMIN_LISTEN,
            "127.0.0.1:8443",
            "INKWIRE_NODE_LISTEN and INKWIRE_NODE_ADMIN_LISTEN have the same port",
        )],
        &[
            (REDIS_TOKEN, "short", "INKWIRE_REDIS_TOKEN is not 16 to 128 printable characters"),
            (REDIS_GROUP, "cache", "INKWIRE_REDIS_URL and INKWIRE_REDIS_GROUP are both set"),
            (REGION, "Frankfurt", "AWS_REGION is not a region"),
            (ENDPOINT_URL, "http://", "AWS_ENDPOINT_URL is not an http:// or https:// URL"),
        ],
    ];
    for case in cases {
        let mut env = node();
        env.extend(case.iter().map(|(name, value, _)| (*name, (*value).to_owned())));
        let mut refused = NodeConfig::try_from(&env).unwrap_err().problems;
        let mut expected: Vec<_> = case.iter().map(|(_, _, problem)| *problem).collect();
        refused.sort_unstable();
        expected.sort_unstable();
        assert_eq!(refused, expected);
    }
}

#[test]
fn public_keys_come_with_issuer_and_audience_and_without_a_secret() {
    let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let mut env = function();
    env.insert(TOKEN_KEYS, key.to_owned());
    let refused = FunctionConfig::try_from(&env, Function::Connect).unwrap_err();
    assert!(refused.problems.contains(&format!("{TOKEN_SECRET} and {TOKEN_KEYS} are both set")));
    env.remove(TOKEN_SECRET);
    let refused = FunctionConfig::try_from(&env, Function::Connect).unwrap_err();
    let unset = [TOKEN_ISSUER, TOKEN_AUDIENCE].map(|name| format!("{name} is not set"));
    assert_eq!(refused.problems, unset);
    env.insert(TOKEN_ISSUER, "https://id.example".to_owned());
    env.insert(TOKEN_AUDIENCE, "inkwire".to_owned());
    let config = FunctionConfig::try_from(&env, Function::Connect).unwrap();
    assert!(matches!(config.tokens.keys, TokenKeys::Public(_)));
    env.insert(TOKEN_KEYS, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#.to_owned());
    let refused = FunctionConfig::try_from(&env, Function::Connect).unwrap_err().to_string();
    assert!(refused.contains(TOKEN_KEYS) && !refused.contains("c2Vj"), "{refused}");
}

#[test]
fn redis_may_be_reached_over_tls_by_a_private_authority() {
    let authority = include_str!("keys/authority.pem");
    let mut env = function();
    env.insert(REDIS_URL, "rediss://user:password@cache.example".to_owned());
    env.insert(REDIS_CA, authority.to_owned());
    let redis = FunctionConfig::try_from(&env, Function::Connect).unwrap().redis.unwrap();
    assert_eq!(redis.to_string(), "rediss://cache.example");
    assert!(redis.endpoint().is_ok());
    env.insert(REDIS_CA, "hunter2".to_owned());
    let refused = FunctionConfig::try_from(&env, Function::Connect).unwrap_err();
    assert_eq!(refused.problems, [format!("{REDIS_CA} is not a PEM certificate")]);
}

/// The variables of each function besides those of all: it cannot leak what it is not given.
#[test]
fn a_function_reads_what_it_uses_and_nothing_else() {
    for (kind, own) in [
        (Function::Send, &[REDIS_URL, FILES_BUCKET][..]),
        (Function::Membership, &[REDIS_URL]),
        (Function::Amend, &[REDIS_URL]),
        (Function::Files, &[FILES_BUCKET]),
        (Function::Scroll, &[REDIS_URL]),
        (Function::Connect, &[REDIS_URL, TICKET_SECRET]),
    ] {
        let mut env = function();
        let some = [REDIS_URL, TICKET_SECRET, FILES_BUCKET];
        for name in some.iter().filter(|name| !own.contains(name)) {
            env.insert(name, "Hunter2".to_owned());
        }
        let config = FunctionConfig::try_from(&env, kind).unwrap();
        let read = [
            config.redis.map(|_| REDIS_URL),
            config.ticket_secrets.map(|_| TICKET_SECRET),
            config.files.map(|_| FILES_BUCKET),
        ];
        assert_eq!(read.into_iter().flatten().collect::<Vec<_>>(), own, "{kind:?}");
        for name in own {
            env.remove(name);
        }
        let unset = own.iter().map(|name| format!("{name} is not set")).collect::<Vec<_>>();
        let refused = FunctionConfig::try_from(&env, kind).err();
        assert_eq!(refused.map_or(vec![], |refused| refused.problems), unset, "{kind:?}");
    }
}

#[test]
fn files_are_in_a_bucket_that_a_certificate_covers() {
    let mut env = function();
    let files = |env: &HashMap<&'static str, String>| {
        FunctionConfig::try_from(env, Function::Files).map(|config| config.files)
    };
    let bucket = "inkwire-files".to_owned();
    let of_region = FilesConfig { bucket, endpoint: None };
    assert_eq!(files(&env).unwrap(), Some(of_region));
    for (name, url) in [(ENDPOINT_URL, "http://all:1"), (S3_ENDPOINT_URL, "http://s3:2")] {
        env.insert(name, url.to_owned());
        let found = files(&env).unwrap().and_then(|files| files.endpoint);
        assert_eq!(found.as_deref(), Some(url));
    }
    for wrong in ["ab", "a.b.c", "Upper", "-abc", "abc-", "a_b", &"a".repeat(64)] {
        env.insert(FILES_BUCKET, wrong.to_owned());
        let refused = files(&env).unwrap_err().problems;
        let problem = format!("{FILES_BUCKET} is not the name of a bucket without dots");
        assert_eq!(refused, [problem], "{wrong}");
    }
}

#[test]
fn the_relay_needs_no_secret_and_says_how_many_replicas_there_are() {
    let mut env = function();
    env.remove(TOKEN_SECRET);
    env.remove(TICKET_SECRET);
    let refused = RelayConfig::try_from(&env).unwrap_err();
    assert_eq!(refused.problems, [format!("{REDIS_REPLICAS} is not set")]);
    env.insert(REDIS_REPLICAS, "2".to_owned());
    assert_eq!(RelayConfig::try_from(&env).unwrap().redis_replicas, 2);
    for wrong in ["-1", "6", "two"] {
        env.insert(REDIS_REPLICAS, wrong.to_owned());
        let refused = RelayConfig::try_from(&env).unwrap_err();
        assert!(refused.problems.len() == 1 && !refused.to_string().contains(wrong), "{refused}");
    }
}

#[test]
fn every_wrong_value_is_named_and_none_is_shown() {
    let wrong = "wrong, wrong";
    let mut env = node();
    let names = [
        TABLE_PREFIX,
        REDIS_URL,
        REDIS_CA,
        TICKET_SECRET,
        NODE_LISTEN,
        NODE_ADMIN_LISTEN,
        NODE_URL,
        NODE_HANDSHAKES_PER_SECOND,
        ALLOWED_ORIGINS,
        LOG_FORMAT,
        ENDPOINT_URL,
        ELASTICACHE_ENDPOINT_URL,
        REGION,
    ];
    for name in names {
        env.insert(name, wrong.to_owned());
    }
    env.insert(LOG, "node=loud".to_owned());
    let refused = NodeConfig::try_from(&env).unwrap_err();
    for name in names.into_iter().chain([LOG]) {
        let named = refused.problems.iter().filter(|problem| problem.starts_with(name)).count();
        assert!(named >= 1, "{name}: {refused}");
    }
    assert_eq!(refused.problems.len(), names.len() + 1);
    assert!(!refused.to_string().contains(wrong));
}

/// A chain and its key for these names, valid between these days of June 2026.
fn issued(names: &[&str], days: (u8, u8)) -> (String, String) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 6, days.0);
    params.not_after = rcgen::date_time_ymd(2026, 6, days.1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Noon of a day of June 2026.
fn june(day: u64) -> Timestamp {
    // 2026-05-31T12:00:00Z.
    Timestamp::from_unix_ms((1_780_228_800 + day * 24 * 3600) * 1_000)
}

#[test]
fn a_certificate_comes_with_its_key_for_the_urls_name_and_this_day() {
    let (chain, key) = issued(&["*.nodes.example.com"], (10, 20));
    let (other, _) = issued(&["n1.example"], (10, 20));
    let with = |url: &str, chain: &str, key: &str| {
        let mut env = node();
        env.insert(NODE_URL, url.to_owned());
        env.insert(NODE_TLS_CERTIFICATE, chain.to_owned());
        env.insert(NODE_TLS_KEY, key.to_owned());
        env
    };
    let url = "wss://a.nodes.example.com:8443/socket";
    let config = NodeConfig::at(&with(url, &chain, &key), june(15)).unwrap();
    let certificate = config.certificate.clone().unwrap();
    assert_eq!(certificate.not_before().rfc3339(), "2026-06-10T00:00:00.000Z");
    assert_eq!(certificate.not_after().rfc3339(), "2026-06-20T00:00:00.000Z");
    assert_eq!(
        (certificate.serves("a.nodes.example.com"), certificate.serves("b.a.nodes.example.com")),
        (true, false)
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains("BEGIN") && shown.contains("not_after"), "{shown}");
    let problems = |env: &HashMap<&'static str, String>, day: u64| {
        NodeConfig::at(env, june(day)).map(drop).map_err(|error| error.problems).unwrap_err()
    };
    let of = |name: &str, wrong: &str| vec![format!("{name} {wrong}")];
    let good = with(url, &chain, &key);
    let expired = of(NODE_TLS_CERTIFICATE, "is expired since 2026-06-20T00:00:00.000Z");
    assert_eq!(problems(&good, 21), expired);
    let early = of(NODE_TLS_CERTIFICATE, "is not valid before 2026-06-10T00:00:00.000Z");
    assert_eq!(problems(&good, 9), early);
    let strange = of(NODE_TLS_CERTIFICATE, "is not for the host of INKWIRE_NODE_URL");
    assert_eq!(problems(&with("wss://n1.example/socket", &chain, &key), 15), strange);
    let other_key = of(NODE_TLS_KEY, "does not belong to the certificate");
    assert_eq!(problems(&with("wss://n1.example/socket", &other, &key), 15), other_key);
    let plain = of(NODE_URL, "is not wss://, as INKWIRE_NODE_TLS_CERTIFICATE is set");
    assert_eq!(problems(&with("ws://a.nodes.example.com/socket", &chain, &key), 15), plain);
    let half = of(NODE_TLS_KEY, "is not set, as INKWIRE_NODE_TLS_CERTIFICATE is");
    assert_eq!(problems(&with(url, &chain, ""), 15), half);
    let all = problems(&with("ws://elsewhere/socket", &chain, &key), 21);
    assert_eq!(all.len(), 3, "{all:?}");
    // With a placeholder for the task's id, the wildcard must cover it.
    let mut placed = with("wss://{task_id}.nodes.example.com:8443/socket", &chain, &key);
    let unset = format!("{NODE_URL} holds {{task_id}}, and {TASK_METADATA} is not set");
    assert_eq!(problems(&placed, 15), [unset]);
    placed.insert(TASK_METADATA, "http://169.254.170.2/v4/0a1b".to_owned());
    let config = NodeConfig::at(&placed, june(15)).unwrap();
    assert_eq!(config.task_metadata.as_deref(), Some("http://169.254.170.2/v4/0a1b"));
    // A node with a fixed URL does not ask for its task's id.
    let mut own = good;
    own.insert(TASK_METADATA, "http://169.254.170.2/v4/0a1b".to_owned());
    assert_eq!(NodeConfig::at(&own, june(15)).unwrap().task_metadata, None);
}

#[test]
fn no_secret_shows() {
    let shown = format!("{:?}", FunctionConfig::try_from(&function(), Function::Connect).unwrap());
    for secret in ["ttt", "nnn", "ooo", "password"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("redis://cache.example:6380/1"), "{shown}");
}
