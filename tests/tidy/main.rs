//! Rules about the tree, as tests: rules that nothing checks decay.

#![expect(clippy::unwrap_used, reason = "a rule that cannot be checked is broken")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Which of our packages each package may depend on. A new dependency is a decision: ADR 0011.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("protocol", &["model"]),
    ("messaging", &["model", "protocol"]),
    ("delivery", &["model", "protocol"]),
    ("client", &["model", "protocol"]),
    ("auth", &["model", "messaging"]),
    ("dynamo", &["model", "protocol", "messaging"]),
    ("redis-bus", &["model", "protocol", "messaging"]),
    ("memory", &["model", "protocol", "messaging"]),
    ("s3", &["model", "protocol", "messaging"]),
    ("service", &["model", "protocol", "messaging", "auth", "dynamo", "redis-bus", "memory", "s3"]),
    ("send", &["model", "protocol", "messaging", "service"]),
    ("scroll", &["model", "protocol", "messaging", "service"]),
    ("membership", &["model", "protocol", "messaging", "service"]),
    ("amend", &["model", "protocol", "messaging", "service"]),
    ("files", &["model", "protocol", "messaging", "service"]),
    ("connect", &["model", "protocol", "messaging", "service"]),
    ("archive", &["model", "messaging", "service"]),
    // Not `protocol`: the relay has nothing to do with what clients send.
    ("relay", &["messaging", "dynamo", "service"]),
    ("derive", &["messaging", "dynamo", "service"]),
    ("node", &["model", "protocol", "messaging", "delivery", "auth", "service"]),
    ("checker", &["model"]),
    (
        "load",
        &[
            "model",
            "protocol",
            "messaging",
            "auth",
            "dynamo",
            "memory",
            "redis-bus",
            "service",
            "node",
            "send",
            "scroll",
            "connect",
            "embedded-stack",
            "tests",
        ],
    ),
    (
        "simulation",
        &[
            "model",
            "protocol",
            "messaging",
            "memory",
            "redis-bus",
            "service",
            "send",
            "scroll",
            "membership",
            "amend",
            "files",
            "connect",
            "archive",
            "node",
            "client",
            "checker",
        ],
    ),
    (
        "embedded-stack",
        &[
            "model",
            "protocol",
            "messaging",
            "auth",
            "dynamo",
            "memory",
            "redis-bus",
            "service",
            "send",
            "scroll",
            "membership",
            "amend",
            "files",
            "connect",
            "archive",
            "relay",
            "derive",
            "node",
        ],
    ),
];

/// Packages that must compile without these SDKs, so that checking them takes seconds.
const WITHOUT_SDK: &[&str] =
    &["model", "protocol", "messaging", "auth", "delivery", "memory", "client", "checker"];
const SDKS: &[&str] = &[
    "aws-sdk-dynamodb",
    "aws-sdk-elasticache",
    "aws-config",
    "lambda_http",
    "lambda_runtime",
    "redis",
    "dynoxide-rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The name by which our code imports a package.
fn short(package: &str) -> &str {
    match package {
        "inkwire" => "client",
        _ => package.strip_prefix("inkwire-").unwrap_or(package),
    }
}

fn metadata() -> cargo_metadata::Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().unwrap()
}

#[test]
fn dependencies_point_one_way() {
    let metadata = metadata();
    let ours: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for package in metadata.workspace_packages() {
        if package.name.as_str() == "tests" {
            continue;
        }
        let allowed = allowed.get(short(&package.name));
        let allowed = allowed.unwrap_or_else(|| panic!("{} is not in the list", package.name));
        for dependency in &package.dependencies {
            let is_ours = ours.contains(dependency.name.as_str())
                && dependency.kind != DependencyKind::Development;
            assert!(
                !is_ours || allowed.contains(&short(&dependency.name)),
                "{} must not depend on {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn the_domain_compiles_without_any_sdk() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().unwrap();
    let names: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let ours: Vec<_> = metadata.workspace_packages();
    for start in WITHOUT_SDK {
        let package = ours.iter().find(|package| short(&package.name) == *start).unwrap();
        let (mut open, mut seen) = (vec![&package.id], BTreeSet::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            assert!(!SDKS.contains(&names[id]), "{start} compiles {}", names[id]);
            let node = resolve.nodes.iter().find(|node| node.id == *id).unwrap();
            let normal = |kinds: &[cargo_metadata::DepKindInfo]| {
                kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            };
            open.extend(node.deps.iter().filter(|dep| normal(&dep.dep_kinds)).map(|dep| &dep.pkg));
        }
    }
}

#[test]
fn no_function_links_what_only_nodes_use() {
    // Ask cargo itself: a function built alone has other features than in the whole workspace.
    let mut tree = std::process::Command::new(env!("CARGO"));
    tree.args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    for function in ["send", "scroll", "membership", "amend", "connect", "archive", "relay"] {
        tree.args(["-p", &format!("inkwire-{function}")]);
    }
    let listed = tree.current_dir(root()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("aws-sdk-dynamodb "), "{listed}");
    assert!(!listed.contains("aws-sdk-elasticache "), "a function needs no cache's API");
}

#[test]
fn commands_of_the_quick_start_name_programs_that_cargo_finds() {
    let metadata = metadata();
    let programs = |package: &cargo_metadata::Package| -> Vec<String> {
        let bins = package.targets.iter().filter(|target| target.is_bin());
        bins.map(|target| target.name.clone()).collect()
    };
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let default: Vec<String> =
        metadata.workspace_default_packages().into_iter().flat_map(programs).collect();
    for file in ["README.md", "localstack/embedded-stack/src/report.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let after = |what| text.split(what).skip(1).filter_map(|rest| rest.split(' ').next());
        for package in after("cargo run -p ") {
            assert!(ours.contains(package), "{file}: no package {package}");
        }
        // `--bin` alone finds only programs of the default member.
        for program in after("cargo run --bin ") {
            assert!(default.iter().any(|name| name == program), "{file}: {program} is not found");
        }
    }
}

#[test]
fn the_log_knows_which_packages_are_ours() {
    let ours: BTreeSet<String> = ARROWS
        .iter()
        .filter(|(name, _)| !["checker", "load", "simulation"].contains(name))
        .map(|(name, _)| name.replace('-', "_"))
        .collect();
    let listed = service::telemetry::OUR_PACKAGES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(ours, listed, "lines of other packages are cut at info");
}

/// Files with this ending that git tracks or would add.
fn files(ending: &str) -> Vec<(PathBuf, String)> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.ends_with(ending))
        .filter_map(|line| Some((line.into(), fs::read_to_string(root().join(line)).ok()?)))
        .collect()
}

#[test]
fn files_have_a_bounded_length() {
    for (path, text) in files(".rs") {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let is_test = path
            .components()
            .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
        let most = if is_test { 700 } else { 500 };
        assert!(code.lines().count() <= most, "{} is longer than {most} lines", path.display());
    }
}

#[test]
fn every_guarantee_has_tests_and_the_page_names_them_all() {
    let semantics = fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let sources: Vec<String> = files(".rs").into_iter().map(|(_, text)| text).collect();
    let tests: BTreeSet<&str> = sources
        .iter()
        .flat_map(|text| text.match_indices("fn g").filter_map(move |(at, _)| text.get(at + 3..)))
        .filter_map(|rest| rest.split('(').next())
        .filter(|name| name.as_bytes().get(1).is_some_and(u8::is_ascii_digit))
        .collect();
    for number in (1..=12).chain(15..=17) {
        assert!(semantics.contains(&format!("G{number}")), "G{number} is not in docs/semantics.md");
        let prefix = format!("g{number}_");
        assert!(tests.iter().any(|test| test.starts_with(&prefix)), "no test of G{number}");
    }
    for named in semantics.split('`').filter(|word| {
        let number = word.strip_prefix('g').and_then(|rest| rest.split_once('_'));
        number.is_some_and(|(number, _)| number.parse::<u32>().is_ok())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }) {
        assert!(tests.contains(named), "docs/semantics.md names {named}, which is no test");
    }
    let unnamed: Vec<&&str> = tests.iter().filter(|test| !semantics.contains(**test)).collect();
    assert!(unnamed.is_empty(), "docs/semantics.md does not name {unnamed:?}");
}

#[test]
fn adrs_are_numbered_and_references_to_them_resolve() {
    let adrs: BTreeSet<String> = fs::read_dir(root().join("docs/adr"))
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str().map(str::to_owned))
        .filter_map(|name| name.get(..4).map(str::to_owned))
        .collect();
    assert!(!adrs.is_empty());
    for (path, text) in files(".rs")
        .into_iter()
        .chain(files(".md"))
        .filter(|(path, _)| !path.ends_with("tidy/main.rs"))
    {
        for (at, _) in text.match_indices("ADR 0") {
            let number = text.get(at + 4..at + 8).unwrap_or_default();
            assert!(adrs.contains(number), "{}: there is no ADR {number}", path.display());
        }
    }
}

/// A heading's anchor in links: lower case, hyphens for spaces, only letters, digits, `-`, `_`.
fn anchor_of(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_between_pages_resolve_to_a_file_and_a_heading() {
    let pages: BTreeMap<PathBuf, String> = files(".md").into_iter().collect();
    let anchors = |text: &str| -> BTreeSet<String> {
        text.lines().filter(|line| line.starts_with('#')).map(anchor_of).collect()
    };
    for (page, text) in &pages {
        let folder = page.parent().unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { root().join(page) } else { root().join(folder).join(file) };
            assert!(target.exists(), "{}: {link} leads to no file", page.display());
            let Some(ending) = target.extension().filter(|_| !anchor.is_empty()) else { continue };
            assert_eq!(ending, "md", "{}: {link} has an anchor", page.display());
            let headings = anchors(&fs::read_to_string(&target).unwrap());
            assert!(headings.contains(anchor), "{}: {link} leads to no heading", page.display());
        }
    }
}

#[test]
fn work_left_open_names_its_issue() {
    for (path, text) in files(".rs").into_iter().filter(|(path, _)| !path.ends_with("tidy/main.rs"))
    {
        for word in ["TODO", "FIXME", "XXX"] {
            assert!(!text.contains(word), "{}: {word} without an issue or ADR", path.display());
        }
    }
}

#[test]
fn no_machine_path_is_in_the_tree() {
    for ending in [".rs", ".md", ".toml", ".mjs", ".js", ".sh", "run"] {
        for (path, text) in files(ending) {
            // In two pieces, because this file must not contain them either.
            for word in [
                concat!("/ro", "ot/"),
                concat!("/wo", "rk/"),
                concat!("index.crates", ".io"),
                concat!("pypi", ".org"),
                concat!("registry.npm", "js"),
            ] {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
        }
    }
}
