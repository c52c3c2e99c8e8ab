//! The names that people use for channels.

use std::collections::HashMap;

use client::Api;
use model::{Channel, ChannelId, ChannelType, UserId};

use super::error::CliError;

/// Finds a channel by its name, and a name for a channel.
#[derive(Debug)]
pub(crate) struct Names {
    api: Api,
    user: Option<UserId>,
    labels: HashMap<ChannelId, String>,
}

impl Names {
    pub(crate) fn new(api: Api, user: Option<UserId>) -> Self {
        Self { api, user, labels: HashMap::new() }
    }

    /// Finds a channel by its name, its id, or `@user`.
    pub(crate) async fn find(&self, wanted: &str) -> Result<Channel, CliError> {
        if let Some(other) = wanted.strip_prefix('@') {
            user(other)?;
            for channel in self.api.channels().await? {
                let is_dm = channel.channel_type == ChannelType::Dm;
                if is_dm && self.dm_label(&channel.id).await == wanted {
                    return Ok(channel);
                }
            }
            return Err(CliError::NoDm(wanted.to_owned()));
        }
        if let Ok(id) = ChannelId::parse(wanted) {
            return Ok(self.api.channel(&id).await?);
        }
        named(&self.api.channels().await?, wanted)
    }

    /// Finds a public channel by its name or its id.
    pub(crate) async fn find_public(&self, wanted: &str) -> Result<Channel, CliError> {
        match ChannelId::parse(wanted) {
            Ok(id) => Ok(self.api.channel(&id).await?),
            Err(_) => named(&self.api.browse().await?, wanted),
        }
    }

    /// `#name` or `@other`; the id if the channel cannot be read.
    pub(crate) async fn label(&mut self, channel: &ChannelId) -> String {
        if let Some(label) = self.labels.get(channel) {
            return label.clone();
        }
        let Ok(found) = self.api.channel(channel).await else { return channel.to_string() };
        let label = match (found.channel_type, found.details.name) {
            (ChannelType::Group, Some(name)) => format!("#{name}"),
            (ChannelType::Dm, _) => self.dm_label(channel).await,
            (ChannelType::Group, None) => channel.to_string(),
        };
        self.labels.insert(channel.clone(), label.clone());
        label
    }

    /// Reads the channel's name again for its next label.
    pub(crate) fn forget(&mut self, channel: &ChannelId) {
        self.labels.remove(channel);
    }

    async fn dm_label(&self, channel: &ChannelId) -> String {
        let Ok(page) = self.api.members(channel, None).await else { return channel.to_string() };
        let others = page.members.iter().map(|member| &member.user_id);
        let others = others.filter(|user| Some(*user) != self.user.as_ref());
        others.map(|user| format!("@{user}")).collect::<Vec<_>>().join(",")
    }
}

/// The one channel with this name.
fn named(channels: &[Channel], wanted: &str) -> Result<Channel, CliError> {
    let wanted = wanted.trim_start_matches('#');
    let mut found =
        channels.iter().filter(|channel| channel.details.name.as_deref() == Some(wanted));
    match (found.next(), found.count()) {
        (Some(channel), 0) => Ok(channel.clone()),
        (Some(_), others) => Err(CliError::ManyChannels(others + 1, wanted.to_owned())),
        (None, _) => {
            let names: Vec<_> =
                channels.iter().filter_map(|channel| channel.details.name.as_deref()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(CliError::NoChannel { wanted: wanted.to_owned(), known })
        }
    }
}

/// Parses a user id.
pub(crate) fn user(name: &str) -> Result<UserId, CliError> {
    UserId::parse(name).or(Err(CliError::BadUser(name.to_owned())))
}
