//! The page in a real browser: `browser/drive.mjs` drives headless Chromium over its debugging pipe.

use std::path::Path;
use std::process::Command;

use embedded_stack::{Stack, StackOptions};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_talk_in_a_browser_and_one_loses_their_node() {
    let stack = Stack::start(StackOptions { seed: true, ..StackOptions::default() }).await.unwrap();
    let url = stack.url();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/drive.mjs");
    let driven =
        tokio::task::spawn_blocking(move || Command::new("node").arg(driver).arg(url).output());
    let output = driven.await.unwrap().expect("node: `tests/run` says what to install");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complained}");
}
