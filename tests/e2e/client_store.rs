//! A client with a store is killed with `kill -9` and started again: nothing is lost, nothing is new twice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use client::{Config, DeliveryState, Event, Store};
use model::{ChannelId, MessageId, MessageText};
use parking_lot::Mutex;
use serde_json::Value;
use tests::cluster::{Cluster, Environment};
use tests::person::Person;
use tests::process::program;
use tests::{SOON, eventually};

use crate::command::run_as;
use crate::deliver_first::delivering;

crate::on_each_environment!(
    a_killed_listener_goes_on_where_it_was,
    an_outbox_survives_its_client,
    the_command_delivers_and_waits_until_it_is_stored,
);

/// `inkwire listen --store`, killed when dropped.
struct Listener {
    process: Child,
    fresh: Arc<Mutex<Vec<String>>>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn start(cluster: &Cluster, user: &str, store: &Path) -> Self {
        let (url, workspace) = (cluster.url(), cluster.workspace().to_string());
        let mut process = Command::new(program("inkwire"))
            .args(["listen", "--json", "--url", &url, "--as", user, "--workspace", &workspace])
            .arg("--store")
            .arg(store)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (fresh, events) =
            (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (printed, told) = (Arc::clone(&fresh), Arc::clone(&events));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // The last line of a killed process may be half a line.
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                told.lock().push(event["event"].as_str().unwrap_or_default().to_owned());
                if event["event"] == "message" && event["fresh"] == true {
                    printed.lock().push(event["message"]["message"].as_str().unwrap().to_owned());
                }
            }
        });
        Self { process, fresh, events }
    }

    async fn is_ready(&self) {
        let is_ready = async || self.events.lock().iter().any(|event| event == "ready");
        eventually("the listener is ready", SOON, is_ready).await;
    }

    async fn prints(&self, text: &str) {
        let what = format!("the listener prints {text}");
        eventually(&what, SOON, async || self.fresh.lock().iter().any(|line| line == text)).await;
    }

    /// Kills it with SIGKILL. Returns what it printed as new.
    fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::mem::take(&mut self.fresh.lock())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().unwrap();
    }
}

fn texts(config: &Config, channel: &ChannelId) -> Vec<String> {
    let timeline = config.inbox.timeline(channel).into_iter();
    timeline.flat_map(|it| it.messages()).map(|it| it.text.as_str().to_owned()).collect()
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob.sqlite");
    (directory, path)
}

fn store_of(cluster: &Cluster, user: &str, path: &Path) -> Config {
    Config::with_store(cluster.api(user), Store::open(path).unwrap()).unwrap()
}

async fn a_killed_listener_goes_on_where_it_was(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = cluster.group("alice", &["bob"]).await.id;
    let alice = cluster.person("alice").await;
    let (_directory, path) = file();
    let (mut fresh, mut all) = (Vec::<String>::new(), Vec::<String>::new());
    for round in 0..4 {
        let listener = Listener::start(&cluster, "bob", &path);
        listener.is_ready().await;
        if let Some(missed) = all.last() {
            listener.prints(missed).await;
        }
        for n in 0..6 {
            let text = format!("round {round}, message {n}");
            alice.says(&channel, &text).await;
            all.push(text);
        }
        // It is killed in the middle of these.
        listener.prints(&all[all.len() - 4]).await;
        fresh.extend(listener.kill());
        let missed = format!("round {round}, while it is dead");
        alice.says(&channel, &missed).await;
        all.push(missed);
    }
    let listener = Listener::start(&cluster, "bob", &path);
    listener.prints(all.last().unwrap()).await;
    fresh.extend(listener.kill());
    let twice: Vec<_> =
        fresh.iter().filter(|text| fresh.iter().filter(|one| one == text).count() > 1).collect();
    assert!(twice.is_empty(), "new twice: {twice:?}");
    let printed: BTreeSet<_> = fresh.iter().collect();
    assert!(printed.is_subset(&all.iter().collect()), "{fresh:?}");
    assert_eq!(texts(&store_of(&cluster, "bob", &path), &channel), all);
}

async fn an_outbox_survives_its_client(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let bob = cluster.person("bob").await;
    let (_directory, path) = file();
    let alice = Person::with("alice", store_of(&cluster, "alice", &path));
    alice.until("caught up", |event| matches!(event, Event::CaughtUp { .. })).await;
    alice.client.go_offline();
    alice.until("offline", |event| matches!(event, Event::Disconnected { .. })).await;
    let deliver = |n: u32| {
        let text = MessageText::parse(format!("hello {n}")).unwrap();
        alice.client.deliver(&channel, text).unwrap()
    };
    let ids: Vec<MessageId> = (0..3).map(deliver).collect();
    let is_queued = |event: &Event| matches!(event, Event::Delivery { id, state: DeliveryState::Queued, .. } if *id == ids[2]);
    alice.until("queued", is_queued).await;
    // Not as a process that has time to say goodbye: the file is what it was after the last event.
    let copy = path.with_extension("copy");
    for ending in ["", "-wal"] {
        let named = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        std::fs::copy(named(&path), named(&copy)).unwrap();
    }
    drop(alice);
    let alice = Person::with("alice", store_of(&cluster, "alice", &copy));
    assert_eq!(alice.client.deliveries().len(), 3);
    let is_archived = |event: &Event| matches!(event, Event::Delivery { id, state: DeliveryState::Archived, .. } if *id == ids[2]);
    alice.until("archived", is_archived).await;
    for person in [&alice, &bob] {
        eventually("has all", SOON, async || person.ids(&channel) == ids).await;
    }
}

async fn the_command_delivers_and_waits_until_it_is_stored(environment: Environment) {
    let cluster = Cluster::start(environment).await;
    let channel = delivering(&cluster, "alice", &["bob"]).await;
    let bob = cluster.person("bob").await;
    let channel_id = channel.to_string();
    let send = async |text: &str, more: &[&str]| {
        let arguments = [&["--json", "--channel", &channel_id, text], more].concat();
        tokio::task::block_in_place(|| run_as(&cluster, "alice", "send", &arguments))
    };
    let ran = send("hello", &[]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.line);
    let id = ran.json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ran.json()[0]["state"], "archived");
    bob.hears(&channel, "hello").await;
    let ran = send("hello", &["--id", &id]).await;
    assert_eq!(ran.json()[0]["duplicate"], true, "{}", ran.line);
    let ran = send(&"x".repeat(13 * 1024), &[]).await;
    assert_eq!(ran.code, Some(77), "{}", ran.line);
    assert_eq!(ran.line, "the message was refused: message_too_long");
}
