//! The text that the stack prints once it is up.

use crate::options::PORT_DEFAULT;
use crate::seed::WORKSPACE;
use crate::stack::{Bus, Data, Stack, StackOptions};

/// Describes what runs, where its data is, and what to try. Every command can be copied and run.
#[must_use]
pub fn report(stack: &Stack, options: &StackOptions) -> String {
    let mut text = String::new();
    let url = stack.url();
    let mut line = |name: &str, rest: &str| text.push_str(&format!("  {name:<8} {rest}\n"));
    line("page", &format!("{url}/?as=alice"));
    line("", &format!("{url}/?as=bob"));
    line("data", &data(&options.data, stack));
    line("bus", &bus(&options.bus));
    let nodes = stack.nodes();
    if nodes.is_empty() {
        line("nodes", "none (--nodes 0): GET /connect answers no_capacity until one registers");
    }
    for (at, node) in nodes.iter().enumerate() {
        line(if at == 0 { "nodes" } else { "" }, &format!("{} {}", node.node_id, node.url));
        if let Some(admin) = node.admin {
            line("", &format!("{:<27} http://{admin}/metrics", ""));
        }
    }
    // Each command has its own line, so that it can be copied.
    if let Some(channel) = stack.general_channel() {
        text.push_str(&format!("\nSay something as alice:\n{}\n", send(&url, channel)));
    }
    let listen = listen(&url, stack.address().port());
    text.push_str(&format!("\nListen as bob, in another terminal:\n{listen}\n"));
    format!(
        "Inkwire, all of it in one process: gateway, functions, store, bus, nodes.\n\n{text}\n\
         Ctrl-C stops it.\n"
    )
}

fn data(data: &Data, stack: &Stack) -> String {
    match data {
        Data::Memory => "in memory: lost when this stops".to_owned(),
        Data::Endpoint(_) => format!("tables at {}", stack.store_endpoint()),
        Data::Directory(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            format!("{} (kept; delete it to start afresh)", path.display())
        }
    }
}

fn bus(bus: &Bus) -> String {
    match bus {
        Bus::InProcess => "in process, with the semantics of Redis".to_owned(),
        Bus::Redis(url) => url.to_string(),
    }
}

fn send(url: &str, channel: &str) -> String {
    let json = "-H 'Content-Type: application/json'";
    let who = format!(r#"{{"workspace_id":"{WORKSPACE}","user_id":"alice"}}"#);
    let cut = r#"sed 's/.*"token":"\([^"]*\)".*/\1/'"#;
    let token = format!("$(curl -s {url}/dev/token {json} -d '{who}' | {cut})");
    let body = format!(r#"{{"channel_id":"{channel}","message":"hello from curl"}}"#);
    format!(r#"curl -s {url}/messages {json} -H "Authorization: Bearer {token}" -d '{body}'"#)
}

fn listen(url: &str, port: u16) -> String {
    let elsewhere = if port == PORT_DEFAULT { String::new() } else { format!(" --url {url}") };
    format!("cargo run -p inkwire -- listen --as bob{elsewhere}")
}
