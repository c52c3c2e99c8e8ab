//! The command `inkwire` as scripts use it: exit codes, JSON, standard input.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::cluster::{Cluster, Environment};
use tests::port::free_port;
use tests::process::{NodeProcess, NodeSetup, program};
use tests::{SOON, eventually};

/// The result of running the command.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    out: String,
    pub(crate) line: String,
}

impl Ran {
    /// Each line of its output as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn run(arguments: &[&str]) -> Ran {
    run_with(arguments, "", &[])
}

fn run_with(arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Ran {
    let mut process = Command::new(program("inkwire"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code(), out: text(stdout), line: text(stderr).trim_end().to_owned() }
}

/// Runs the command as a user of this cluster.
pub(crate) fn run_as(cluster: &Cluster, user: &str, command: &str, arguments: &[&str]) -> Ran {
    run_in(cluster, user, command, arguments, "")
}

fn run_in(cluster: &Cluster, user: &str, command: &str, arguments: &[&str], input: &str) -> Ran {
    let (url, workspace) = (cluster.url(), cluster.workspace().to_string());
    let who = [command, "--url", &url, "--as", user, "--workspace", &workspace];
    run_with(&[&who, arguments].concat(), input, &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_distinguish_refused_unreachable_and_not_found() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 0).await;
    let url = cluster.url();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let channels = |more: &[&str]| run(&[&["channels"], more].concat());

    let ran = channels(&["--as", "alice", "--url", &nobody]);
    assert_eq!(ran.code, Some(69), "{}", ran.line);
    assert_eq!(ran.line.matches("Connection refused").count(), 1, "{}", ran.line);

    let ran = channels(&["--token", "forged", "--url", &url]);
    assert_eq!(ran.code, Some(77), "{}", ran.line);

    let ran = run_as(&cluster, "alice", "history", &["--channel", "nowhere"]);
    assert_eq!(ran.code, Some(66), "{}", ran.line);

    for wrong in [&["--as", "no spaces"][..], &[], &["--as", "alice", "--unknown"]] {
        assert_eq!(channels(wrong).code, Some(64), "{wrong:?}");
    }
    let ran = run(&["--help"]);
    assert!(ran.code == Some(0) && ran.out.contains("  77  refused"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_user_and_a_dm_with_an_unknown_user_are_refused() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 0).await;
    let (url, bobs) = (cluster.url(), cluster.token("bob", 60).await);
    let ran =
        run_with(&["channels", "--as", "alice", "--url", &url], "", &[("INKWIRE_TOKEN", &bobs)]);
    assert_eq!(ran.code, Some(64));
    assert_eq!(ran.line, "--as is alice, but the token is bob's: leave one of them out");

    let send = |more: &[&str]| run_as(&cluster, "alice", "send", &[more, &["hello"]].concat());
    let ran = send(&["--channel", "@typo"]);
    assert_eq!(ran.code, Some(66), "{}", ran.line);
    assert!(ran.line.starts_with("there is no DM with @typo yet"), "{}", ran.line);
    assert!(cluster.api("alice").channels().await.unwrap().is_empty(), "nothing was opened");
    let ran = send(&["--channel", "@bob", "--new-dm"]);
    assert_eq!(ran.code, Some(0), "{}", ran.line);
    let ran = send(&["--channel", "@bob"]);
    assert_eq!(ran.code, Some(0), "{}", ran.line);
    // The token names its user, so the DM is labelled with the other user's name.
    let ran = run(&["channels", "--token", &bobs, "--url", &url]);
    assert!(ran.out.trim_end().ends_with("  @alice"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_speaks_json_and_send_reads_standard_input() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 0).await;
    let channel = cluster.group("alice", &["bob"]).await.id.to_string();
    let send = |input: &str, more: &[&str]| {
        let arguments = [&["--json", "--channel", &channel], more].concat();
        run_in(&cluster, "alice", "send", &arguments, input)
    };
    let sent = &send("two\nlines\n", &["-"]).json()[0];
    assert_eq!(
        (&sent["message"]["message"], &sent["duplicate"]),
        (&"two\nlines".into(), &false.into())
    );
    let id = sent["message"]["id"].as_str().unwrap();
    let again = &send("", &["--id", id, "two\nlines"]).json()[0];
    assert_eq!((&again["message"]["id"], &again["duplicate"]), (&id.into(), &true.into()));

    let history = run_as(&cluster, "bob", "history", &["--json", "--channel", &channel]).json();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0]["message"], sent["message"]);
    let channels = run_as(&cluster, "bob", "channels", &["--json"]).json();
    assert_eq!(channels[0]["channel"]["channel_id"], channel.as_str());

    let plain = run_as(&cluster, "bob", "history", &["--channel", &channel]).out;
    assert!(plain.contains("alice: two\n    | lines") && !plain.contains('\x1b'), "{plain}");
    let (url, workspace) = (cluster.url(), cluster.workspace().to_string());
    let who = ["history", "--url", &url, "--as", "bob", "--workspace", &workspace];
    let coloured = [&who[..], &["--channel", &channel]].concat();
    for (variables, has_colour) in
        [(&[("CLICOLOR_FORCE", "1")][..], true), (&[("NO_COLOR", "1")], false)]
    {
        let out = run_with(&coloured, "", variables).out;
        assert_eq!(out.contains('\x1b'), has_colour, "{variables:?}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_to_a_plain_port_is_reported_as_such() {
    let cluster = Cluster::with_nodes(Environment::Embedded, 0).await;
    let secure = cluster.url().replace("http://", "https://");
    let ran = run(&["channels", "--as", "alice", "--url", &secure]);
    assert_eq!(ran.code, Some(69));
    let plain = cluster.url();
    let expected = format!("cannot reach {secure}: that port speaks plain HTTP: use {plain}");
    assert_eq!(ran.line, expected);
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == Some(0) && ran.out.contains("history"), "{shell}");
    }
}

#[test]
fn every_program_prints_its_version() {
    for (name, arguments) in [
        ("inkwire", &["--version"][..]),
        ("inkwire-node", &["--version"]),
        ("embedded-stack", &["--version"]),
        ("tables", &["--version"]),
        ("load", &["--version"]),
        ("simulate", &["--version"]),
        ("send", &["--version"]),
        ("scroll", &["--version"]),
        ("membership", &["--version"]),
        ("amend", &["--version"]),
        ("files", &["--version"]),
        ("archive", &["--version"]),
        ("derive", &["--version"]),
        ("connect", &["--version"]),
        ("relay", &["--version"]),
    ] {
        let ran = Command::new(program(name)).args(arguments).env_clear().output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(ran.status.code(), Some(0), "{name}");
        assert_eq!(said, format!("{name} {}\n", model::version()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_program_prints_the_fleet() {
    let cluster = Cluster::with_nodes(Environment::Redis, 0).await;
    let redis = cluster.redis.as_ref().unwrap();
    let setup = NodeSetup::plain(&redis.url(), cluster.stack.store_endpoint());
    let node = NodeProcess::of(&setup).await;
    eventually("the fleet has the node", SOON, async || {
        let asked = setup.command(free_port()).arg("--fleet").output().unwrap();
        assert_eq!(asked.status.code(), Some(0));
        let table = String::from_utf8(asked.stdout).unwrap();
        assert!(table.starts_with("NODE "), "{table}");
        table.lines().any(|line| line.contains(" ok ") && line.ends_with(&node.url))
    })
    .await;
}
