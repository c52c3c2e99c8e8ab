//! Channels in which nobody stores what all devices have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{ChannelId, DeviceId, MessageId, UserId};

use super::Delivering;
use crate::checks::Clients;
use crate::history::{ClientId, Event, History};
use crate::members::Members;

/// These channels, and the devices that messages there are owed to.
pub(super) struct Acked<'a> {
    clients: &'a Clients,
    channels: BTreeSet<&'a ChannelId>,
    devices: Vec<Device<'a>>,
    /// By user, the channels of which they are members at the end, and since when at the latest.
    member_since: BTreeMap<&'a UserId, BTreeMap<ChannelId, usize>>,
}

/// A device, and what ran on it.
struct Device<'a> {
    user: &'a UserId,
    clients: Vec<ClientId>,
    follows_from: usize,
}

impl<'a> Acked<'a> {
    pub(super) fn of(history: &'a History, clients: &'a Clients, members: &Members) -> Self {
        let mut channels = BTreeSet::new();
        for (_, event) in &history.events {
            if let Event::Delivering(Delivering::Opened { channel, keeps_acked: true }) = event {
                channels.insert(channel);
            }
        }
        let of_user = |user| members.channels_of(user).into_iter().collect();
        let users = clients.all().map(|(_, client)| &client.user);
        let member_since = users.map(|user| (user, of_user(user))).collect();
        Self { clients, channels, devices: devices(history, clients), member_since }
    }

    /// Whether each device had a message at a time that could have it: those that followed before it was
    /// sent, of users who were members since before that.
    pub(super) fn all_have(
        &self,
        channel: &ChannelId,
        id: MessageId,
        taken: usize,
        at: Duration,
    ) -> bool {
        let has = |client: &ClientId| {
            self.clients.seen_at(*client, channel, id).is_some_and(|seen| seen <= at)
        };
        let has_if_owed = |device: &Device<'_>| {
            let channels = self.member_since.get(device.user);
            let since = channels.and_then(|channels| channels.get(channel));
            let is_owed = device.follows_from < taken && since.is_some_and(|since| *since < taken);
            !is_owed || device.clients.iter().any(has)
        };
        self.channels.contains(channel) && self.devices.iter().all(has_if_owed)
    }
}

/// All devices. A client that does not say on which one it runs has one of its own.
fn devices<'a>(history: &'a History, clients: &'a Clients) -> Vec<Device<'a>> {
    let mut named: BTreeMap<&DeviceId, Vec<ClientId>> = BTreeMap::new();
    let mut alone: BTreeSet<ClientId> = clients.all().map(|(name, _)| name).collect();
    for (_, event) in &history.events {
        if let Event::Delivering(Delivering::Runs { client, device }) = event {
            named.entry(device).or_default().push(*client);
            alone.remove(client);
        }
    }
    let all = named.into_values().chain(alone.into_iter().map(|client| vec![client]));
    let device = |names: Vec<ClientId>| {
        let clients = || clients.all().filter(|(name, _)| names.contains(name));
        let user = clients().map(|(_, client)| &client.user).next()?;
        let follows_from = clients().map(|(_, client)| client.follows_from).min()?;
        Some(Device { user, clients: names, follows_from })
    };
    all.filter_map(device).collect()
}
