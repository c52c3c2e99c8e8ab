//! Programs with an invalid environment print one line for each problem and exit with code 64.

use std::process::{Command, Stdio};

use tests::process::program;

/// The invalid variables of a program, and how each printed line begins. No line may show a value.
struct Case {
    program: &'static str,
    set: &'static [(&'static str, &'static str)],
    says: &'static [&'static str],
}

const WRONG: &str = "hunter2";
const USES_REDIS: &[&str] = &[
    "INKWIRE_TABLE_PREFIX is not set",
    "AWS_REGION is not set",
    "INKWIRE_REDIS_URL is not set",
    "INKWIRE_TOKEN_KEYS is not set, nor INKWIRE_TOKEN_SECRET",
];
const SENDS: &[&str] = &[
    "INKWIRE_TABLE_PREFIX is not set",
    "AWS_REGION is not set",
    "INKWIRE_REDIS_URL is not set",
    "INKWIRE_TOKEN_KEYS is not set, nor INKWIRE_TOKEN_SECRET",
    "INKWIRE_FILES_BUCKET is not set",
];
const SIGNS_FILES: &[&str] = &[
    "INKWIRE_TABLE_PREFIX is not set",
    "AWS_REGION is not set",
    "INKWIRE_TOKEN_KEYS is not set, nor INKWIRE_TOKEN_SECRET",
    "INKWIRE_FILES_BUCKET is not set",
];
const ISSUES_TICKETS: &[&str] = &[
    "INKWIRE_TABLE_PREFIX is not set",
    "AWS_REGION is not set",
    "INKWIRE_REDIS_URL is not set",
    "INKWIRE_TOKEN_KEYS is not set, nor INKWIRE_TOKEN_SECRET",
    "INKWIRE_TICKET_SECRET is not set",
];
const NODE: &[&str] = &[
    "INKWIRE_TABLE_PREFIX is not set",
    "AWS_REGION is not set",
    "INKWIRE_REDIS_URL is not set, nor INKWIRE_REDIS_GROUP",
    "INKWIRE_TICKET_SECRET is not set",
    "INKWIRE_NODE_LISTEN is not set",
    "INKWIRE_NODE_URL is not set",
];

const CASES: &[Case] = &[
    Case { program: "send", set: &[], says: SENDS },
    Case { program: "scroll", set: &[], says: USES_REDIS },
    Case { program: "membership", set: &[], says: USES_REDIS },
    Case { program: "amend", set: &[], says: USES_REDIS },
    Case { program: "files", set: &[], says: SIGNS_FILES },
    Case { program: "connect", set: &[], says: ISSUES_TICKETS },
    Case {
        program: "relay",
        set: &[],
        says: &[
            "INKWIRE_TABLE_PREFIX is not set",
            "AWS_REGION is not set",
            "INKWIRE_REDIS_URL is not set",
            "INKWIRE_REDIS_REPLICAS is not set",
        ],
    },
    // Neither tokens nor tickets.
    Case {
        program: "archive",
        set: &[],
        says: &[
            "INKWIRE_TABLE_PREFIX is not set",
            "AWS_REGION is not set",
            "INKWIRE_REDIS_URL is not set",
        ],
    },
    Case {
        program: "derive",
        set: &[("INKWIRE_FILES_BUCKET", "hunter2."), ("AWS_ENDPOINT_URL_S3", WRONG)],
        says: &[
            "INKWIRE_TABLE_PREFIX is not set",
            "AWS_REGION is not set",
            "INKWIRE_FILES_BUCKET is not the name of a bucket",
            "AWS_ENDPOINT_URL_S3 ",
        ],
    },
    Case { program: "inkwire-node", set: &[], says: NODE },
    Case {
        program: "connect",
        set: &[
            ("INKWIRE_LOG", "connect=hunter2"),
            ("INKWIRE_LOG_FORMAT", WRONG),
            ("INKWIRE_TABLE_PREFIX", "hunter2 "),
            ("AWS_REGION", "hunter2 "),
            ("AWS_ENDPOINT_URL", WRONG),
            ("INKWIRE_REDIS_URL", WRONG),
            ("INKWIRE_REDIS_CA", WRONG),
            ("INKWIRE_TOKEN_SECRET", WRONG),
            ("INKWIRE_TICKET_SECRET", WRONG),
        ],
        says: &[
            "INKWIRE_LOG ",
            "INKWIRE_LOG_FORMAT ",
            "INKWIRE_TABLE_PREFIX ",
            "AWS_REGION ",
            "AWS_ENDPOINT_URL ",
            "INKWIRE_REDIS_URL ",
            "INKWIRE_REDIS_CA ",
            "INKWIRE_TOKEN_SECRET ",
            "INKWIRE_TICKET_SECRET ",
        ],
    },
    Case {
        program: "inkwire-node",
        set: &[
            ("INKWIRE_TABLE_PREFIX", "hunter2 "),
            ("INKWIRE_REDIS_URL", "redis://:hunter2@127.0.0.1:1"),
            ("INKWIRE_REDIS_GROUP", "cache"),
            ("INKWIRE_REDIS_TOKEN", WRONG),
            ("INKWIRE_NODE_LISTEN", "127.0.0.1:1"),
            ("INKWIRE_NODE_ADMIN_LISTEN", "127.0.0.1:1"),
            ("INKWIRE_NODE_URL", WRONG),
            ("INKWIRE_ALLOWED_ORIGINS", WRONG),
            ("INKWIRE_NODE_HANDSHAKES_PER_SECOND", "0"),
        ],
        says: &[
            "INKWIRE_TABLE_PREFIX ",
            "AWS_REGION is not set",
            "INKWIRE_REDIS_URL and INKWIRE_REDIS_GROUP are both set",
            "INKWIRE_REDIS_TOKEN ",
            "INKWIRE_TICKET_SECRET is not set",
            "INKWIRE_NODE_LISTEN and INKWIRE_NODE_ADMIN_LISTEN have the same port",
            "INKWIRE_NODE_URL ",
            "INKWIRE_ALLOWED_ORIGINS ",
            "INKWIRE_NODE_HANDSHAKES_PER_SECOND ",
        ],
    },
    Case {
        program: "embedded-stack",
        set: &[
            ("INKWIRE_LOG", "node=hunter2"),
            ("INKWIRE_TOKEN_SECRET", WRONG),
            ("INKWIRE_TICKET_SECRET", WRONG),
        ],
        says: &["INKWIRE_LOG ", "INKWIRE_TOKEN_SECRET ", "INKWIRE_TICKET_SECRET "],
    },
];

#[test]
fn every_program_lists_all_configuration_errors_and_exits_with_64() {
    for Case { program: name, set, says } in CASES {
        let ended = Command::new(program(name))
            .env_clear()
            .envs(set.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{name}: {text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), says.len(), "{name}: {text}");
        for said in *says {
            let is_it =
                |line: &&&str| line.split_once(": ").is_some_and(|(_, it)| it.starts_with(said));
            assert_eq!(lines.iter().filter(is_it).count(), 1, "{name} does not say {said}: {text}");
        }
        assert!(!text.contains(WRONG) && ended.stdout.is_empty(), "{name}: {text}");
    }
}
