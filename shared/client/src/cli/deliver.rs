//! `inkwire send` to a channel that delivers first.

use std::time::Duration;

use client::{Api, Client, Config, DeliveryState, Event};
use model::{ChannelId, MessageText};
use tokio::time::{Instant, timeout_at};

use super::error::CliError;
use super::listen::delivery;
use super::terminal::{Terminal, dim};

/// Delivers a text and waits until it is stored: this process keeps it only while it runs.
pub(crate) async fn deliver(
    api: Api,
    channel: &ChannelId,
    text: String,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let text = MessageText::parse(text)?;
    let config = Config { first_visit_messages: 0, ..Config::new(api) };
    let (client, mut events) = Client::start(config);
    let id = client.deliver(channel, text)?;
    let deadline = Instant::now() + WAIT_MAX;
    let mut accepted = false;
    loop {
        let state = match timeout_at(deadline, events.recv()).await {
            Ok(Some(Event::Delivery { id: of, state, .. })) if of == id => state,
            Ok(Some(Event::Stopped { reason })) => return Err(CliError::Stopped(reason)),
            Ok(Some(_)) => continue,
            Ok(None) | Err(_) => return Err(CliError::NotArchived { id, accepted }),
        };
        match &state {
            DeliveryState::Queued => {}
            DeliveryState::Accepted { .. } => accepted = true,
            DeliveryState::Archived => {
                let note = dim(&format!("delivered, and stored as {id}"));
                return Ok(terminal.print(&delivery(channel, id, &state), &note)?);
            }
            DeliveryState::Failed { code } => return Err(CliError::NotDelivered(code.clone())),
        }
    }
}

/// Messages are stored within seconds, unless something is broken.
const WAIT_MAX: Duration = Duration::from_secs(30);
