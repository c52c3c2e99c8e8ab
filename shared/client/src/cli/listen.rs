//! `inkwire listen`.

use std::collections::BTreeSet;
use std::path::Path;

use client::{Api, Client, Config, DeliveryState, Event, Store};
use model::{ChannelChange, ChannelId, MessageId, Presence, UserId};
use serde_json::{Map, Value, json};

use super::Access;
use super::error::CliError;
use super::names::Names;
use super::terminal::{Terminal, dim, escape, json_line, message_line};

/// Prints the events of the given channels, or of all channels if none is given, until the client
/// stops. That is always an error.
pub(crate) async fn listen(
    access: &Access,
    channels: &[String],
    store: Option<&Path>,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let (api, mut names) = access.open()?;
    let mut wanted = BTreeSet::new();
    for channel in channels {
        wanted.insert(names.find(channel).await?.id);
    }
    let config = settings(api, store).await?;
    // Dropping the handle would stop the client.
    let (_client, mut events) = Client::start(config);
    while let Some(event) = events.recv().await {
        let is_wanted = channel_of(&event).is_none_or(|channel| wanted.contains(channel));
        if !is_wanted && !wanted.is_empty() {
            continue;
        }
        if terminal.json {
            terminal.line(&json_line(&record(&event)))?;
        } else if let Some(text) = text_of(&event, &mut names).await {
            terminal.line(&text)?;
        }
        if let Event::Stopped { reason } = event {
            return Err(CliError::Stopped(reason));
        }
    }
    Ok(())
}

/// The client's settings: it goes on where its store ends, or starts now.
async fn settings(api: Api, store: Option<&Path>) -> Result<Config, CliError> {
    let resumed = store.map(|path| Config::with_store(api.clone(), Store::open(path)?));
    let resumed = resumed.transpose()?;
    match resumed {
        Some(resumed) if resumed.cursor.is_some() => Ok(resumed),
        // Fails at once if the environment is down; the client itself would retry.
        new => Ok(Config { store: new.and_then(|new| new.store), ..Config::from_now(api).await? }),
    }
}

/// The channel that an event is about; `None` if it is about the connection.
const fn channel_of(event: &Event) -> Option<&ChannelId> {
    match event {
        Event::Message { message, .. } => Some(&message.channel_id),
        Event::Channel { channel_id, .. } => Some(channel_id),
        Event::Read { log, .. } | Event::Typing { log, .. } => Some(&log.channel_id),
        Event::Said { message, .. } => Some(&message.channel_id),
        Event::Joined { channel_id, .. }
        | Event::NotJoined { channel_id, .. }
        | Event::Receipts { channel_id, .. }
        | Event::Delivery { channel_id, .. }
        | Event::Ended { channel_id } => Some(channel_id),
        Event::Ready { .. }
        | Event::Presence { .. }
        | Event::Tick { .. }
        | Event::Resync { .. }
        | Event::Restarted { .. }
        | Event::CaughtUp { .. }
        | Event::Disconnected { .. }
        | Event::Stopped { .. } => None,
    }
}

/// What people see of an event, if anything.
async fn text_of(event: &Event, names: &mut Names) -> Option<String> {
    let status = match event {
        Event::Message { message, fresh: true, .. } => {
            let label = names.label(&message.channel_id).await;
            return Some(message_line(Some(&label), message));
        }
        Event::Ready { node_id, after: None, .. } => format!("on node {node_id}"),
        Event::Ready { node_id, resumed, after: Some(after), .. } => {
            let how = if *resumed { "resumed" } else { "reading what was missed" };
            let after = after.as_secs_f64();
            format!("on node {node_id} after {after:.1} s, {how}")
        }
        Event::Disconnected { code } => format!("connection lost ({code})"),
        Event::Resync { .. } => "reading what was missed".to_owned(),
        Event::Channel { change, channel_id, user_ids, details } => {
            if details.is_some() {
                names.forget(channel_id);
            }
            let label = escape(&names.label(channel_id).await);
            let change = change.map_or("changed", ChannelChange::as_str).replace('_', " ");
            format!("{label}: {change} {}", ids_of(user_ids).join(", "))
        }
        Event::Said { message, .. } => {
            let label = names.label(&message.channel_id).await;
            return Some(message_line(Some(&label), message));
        }
        Event::Ended { channel_id } => {
            format!("{}: the meeting is over", escape(&names.label(channel_id).await))
        }
        Event::Tick { fresh: false, .. } => "messages may be late".to_owned(),
        Event::Message { .. }
        | Event::Read { .. }
        | Event::Typing { .. }
        | Event::Joined { .. }
        | Event::NotJoined { .. }
        | Event::Presence { .. }
        | Event::Receipts { .. }
        | Event::Delivery { .. }
        | Event::Tick { .. }
        | Event::Restarted { .. }
        | Event::CaughtUp { .. }
        | Event::Stopped { .. } => return None,
    };
    Some(dim(&status))
}

fn ids_of(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}

fn receipts(
    channel_id: &ChannelId,
    delivered: &[(UserId, MessageId)],
    read: &[(UserId, MessageId)],
    archived: &[MessageId],
) -> Value {
    let archived: Vec<String> = archived.iter().map(ToString::to_string).collect();
    json!({
        "event": "receipts", "channel_id": channel_id.as_str(),
        "delivered": marks(delivered), "read": marks(read), "archived": archived,
    })
}

/// How far a message has come that was delivered first, as JSON.
pub(super) fn delivery(channel_id: &ChannelId, id: MessageId, state: &DeliveryState) -> Value {
    let (name, replicated, code) = match state {
        DeliveryState::Queued => ("queued", None, None),
        DeliveryState::Accepted { replicated } => ("accepted", Some(*replicated), None),
        DeliveryState::Archived => ("archived", None, None),
        DeliveryState::Failed { code } => ("failed", None, Some(code)),
    };
    json!({
        "event": "delivery", "channel_id": channel_id.as_str(), "id": id.to_string(),
        "state": name, "replicated": replicated, "code": code,
    })
}

fn marks(marks: &[(UserId, MessageId)]) -> Map<String, Value> {
    marks.iter().map(|(user, id)| (user.to_string(), id.to_string().into())).collect()
}

fn record(event: &Event) -> Value {
    match event {
        Event::Ready { node_id, resumed, cursor, after } => json!({
            "event": "ready", "node_id": node_id.as_str(), "resumed": resumed, "cursor": cursor,
            "after_ms": after.map(|after| after.as_secs_f64() * 1_000.0),
        }),
        Event::Message { message, source, fresh } => {
            json!({ "event": "message", "how": source, "fresh": fresh, "message": message })
        }
        Event::Channel { change, channel_id, user_ids, details } => {
            let users = ids_of(user_ids);
            let (field, users) = if *change == Some(ChannelChange::MembersAdded) {
                ("user_ids", json!(users))
            } else {
                ("user_id", json!(users.first()))
            };
            let change = change.map(ChannelChange::as_str);
            let channel_id = channel_id.as_str();
            let mut record = json!({
                "event": "channel", "change": change, "channel_id": channel_id, field: users,
            });
            if let (Some(details), Some(fields)) = (details, record.as_object_mut()) {
                fields.insert("name".to_owned(), details.name.as_deref().into());
                fields.insert("topic".to_owned(), details.topic.as_str().into());
                fields.insert("archived".to_owned(), details.archived.into());
                fields.insert("details_version".to_owned(), details.version.into());
            }
            record
        }
        Event::Read { log, mark } => json!({
            "event": "read", "channel_id": log.channel_id.as_str(),
            "thread": log.thread.map(|root| root.to_string()), "up_to": mark.up_to.to_string(), "epoch": mark.epoch.number(),
        }),
        Event::Joined { channel_id, at, missed } => json!({
            "event": "joined", "channel_id": channel_id.as_str(), "at": at.to_string(),
            "missed": missed,
        }),
        Event::NotJoined { channel_id, code } => {
            json!({ "event": "not_joined", "channel_id": channel_id.as_str(), "code": code })
        }
        Event::Said { n, message, missing } => {
            json!({ "event": "said", "n": n, "missing": missing, "message": message })
        }
        Event::Ended { channel_id } => {
            json!({ "event": "ended", "channel_id": channel_id.as_str() })
        }
        Event::Typing { log, users, more } => json!({
            "event": "typing", "channel_id": log.channel_id.as_str(),
            "thread": log.thread.map(|root| root.to_string()), "users": ids_of(users), "more": more,
        }),
        Event::Presence { users } => {
            let state = |(user, is): &(UserId, Presence)| (user.to_string(), is.as_str().into());
            let users: Map<String, Value> = users.iter().map(state).collect();
            json!({ "event": "presence", "users": users })
        }
        Event::Receipts { channel_id, delivered, read, archived } => {
            receipts(channel_id, delivered, read, archived)
        }
        Event::Delivery { channel_id, id, state } => delivery(channel_id, *id, state),
        Event::Tick { server_time, fresh } => {
            json!({ "event": "tick", "server_time": server_time.unix_ms(), "fresh": fresh })
        }
        Event::Resync { reason, .. } => json!({ "event": "resync", "reason": reason }),
        Event::Restarted { channel_id } => {
            json!({ "event": "restarted", "channel_id": channel_id.as_str() })
        }
        Event::CaughtUp { channels } => json!({ "event": "caught_up", "channels": channels }),
        Event::Disconnected { code } => json!({ "event": "lost", "code": code }),
        Event::Stopped { reason } => json!({ "event": "stopped", "reason": reason.to_string() }),
    }
}
