//! `inkwire listen`.

use std::collections::BTreeSet;
use std::io;

use client::{Api, Client, Config, Event, Source};
use model::{ChannelChange, ChannelId, UserId};
use serde_json::{Value, json};

use super::error::CliError;
use super::names::Names;
use super::terminal::Terminal;

/// Prints the events of the given channels, or of all channels if none is given, until the client
/// stops. That is always an error.
pub(crate) async fn listen(
    api: Api,
    mut names: Names,
    channels: &[String],
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let mut wanted = BTreeSet::new();
    for channel in channels {
        wanted.insert(names.find(channel).await?.id);
    }
    // Fails at once if the environment is down; the client itself would retry.
    let config = Config::from_now(api).await?;
    // Dropping the handle would stop the client.
    let (_client, mut events) = Client::start(config);
    while let Some(event) = events.recv().await {
        let is_wanted = channel_of(&event).is_none_or(|channel| wanted.contains(channel));
        if !is_wanted && !wanted.is_empty() {
            continue;
        }
        if terminal.is_json() {
            terminal.json(&record(&event))?;
        } else {
            show(&event, &mut names, terminal).await?;
        }
        if let Event::Stopped { reason } = event {
            return Err(CliError::Stopped(reason));
        }
    }
    Ok(())
}

/// The channel that an event is about; `None` if it is about the connection.
const fn channel_of(event: &Event) -> Option<&ChannelId> {
    match event {
        Event::Message { message, .. } => Some(&message.channel_id),
        Event::Channel { channel_id, .. } => Some(channel_id),
        Event::Ready { .. }
        | Event::Tick { .. }
        | Event::Resync { .. }
        | Event::CaughtUp { .. }
        | Event::Disconnected { .. }
        | Event::Stopped { .. } => None,
    }
}

async fn show(event: &Event, names: &mut Names, terminal: &mut Terminal) -> io::Result<()> {
    match event {
        Event::Message { message, fresh: true, .. } => {
            let label = names.label(&message.channel_id).await;
            terminal.message(Some(&label), message)
        }
        Event::Ready { node_id, after: None, .. } => terminal.note(&format!("on node {node_id}")),
        Event::Ready { node_id, resumed, after: Some(after), .. } => {
            let how = if *resumed { "resumed" } else { "reading what was missed" };
            let after = after.as_secs_f64();
            terminal.note(&format!("on node {node_id} after {after:.1} s, {how}"))
        }
        Event::Disconnected { code } => terminal.note(&format!("connection lost ({code})")),
        Event::Resync { .. } => terminal.note("reading what was missed"),
        Event::Channel { change, channel_id, user_ids } => {
            let label = super::escape(&names.label(channel_id).await);
            let users = names_of(user_ids).join(", ");
            terminal.note(&format!(
                "{label}: {} {users}",
                change.map_or("changed", ChannelChange::as_str).replace('_', " ")
            ))
        }
        Event::Tick { fresh: false, .. } => terminal.note("messages may be late"),
        Event::Message { .. }
        | Event::Tick { .. }
        | Event::CaughtUp { .. }
        | Event::Stopped { .. } => Ok(()),
    }
}

fn names_of(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}

fn record(event: &Event) -> Value {
    match event {
        Event::Ready { node_id, resumed, cursor, after } => json!({
            "event": "ready", "node_id": node_id.as_str(), "resumed": resumed, "cursor": cursor,
            "after_ms": after.map(|after| after.as_secs_f64() * 1_000.0),
        }),
        Event::Message { message, source, fresh } => {
            let how = match source {
                Source::Pushed => "pushed",
                Source::CaughtUp => "caught_up",
            };
            json!({ "event": "message", "how": how, "fresh": fresh, "message": message })
        }
        Event::Channel { change: Some(ChannelChange::MembersAdded), channel_id, user_ids } => {
            json!({
                "event": "channel", "change": ChannelChange::MembersAdded.as_str(),
                "channel_id": channel_id.as_str(), "user_ids": names_of(user_ids),
            })
        }
        Event::Channel { change, channel_id, user_ids } => json!({
            "event": "channel", "change": change.map(ChannelChange::as_str), "channel_id": channel_id.as_str(),
            "user_id": user_ids.first().map(UserId::as_str),
        }),
        Event::Tick { server_time, fresh } => {
            json!({ "event": "tick", "server_time": server_time.unix_ms(), "fresh": fresh })
        }
        Event::Resync { reason, .. } => json!({ "event": "resync", "reason": reason }),
        Event::CaughtUp { channels } => json!({ "event": "caught_up", "channels": channels }),
        Event::Disconnected { code } => json!({ "event": "lost", "code": code }),
        Event::Stopped { reason } => json!({ "event": "stopped", "reason": reason.to_string() }),
    }
}
