//! The devices of a user, and when each was seen (ADR 0046).

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::DeviceId;
use crate::limits;
use crate::time::Timestamp;

/// At most [`limits::DEVICES_MAX`] devices. Written as `<device> <ms>`, with a comma between two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenDevices(BTreeMap<DeviceId, Timestamp>);

impl SeenDevices {
    /// Reads what `Display` writes; `None` if it has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let device = |text: &str| {
            let (device, ms) = text.split_once(' ')?;
            let seen = Timestamp::from_unix_ms(ms.parse().ok()?);
            Some((DeviceId::parse(device).ok()?, seen))
        };
        text.split(',').map(device).collect::<Option<_>>().map(Self)
    }

    /// Whether a device was seen so recently that it need not be noted again.
    #[must_use]
    pub fn is_recent(&self, device: &DeviceId, now: Timestamp) -> bool {
        let is_near =
            |seen: &Timestamp| now.since(*seen).max(seen.since(now)) < limits::DEVICE_SEEN_EVERY;
        self.0.get(device).is_some_and(is_near)
    }

    /// The same with a device that is seen now. Of too many, the one that was seen longest ago goes.
    #[must_use]
    pub fn with(mut self, device: &DeviceId, now: Timestamp) -> Self {
        self.0.insert(device.clone(), now);
        while self.0.len() > limits::DEVICES_MAX {
            let others = self.0.iter().filter(|(id, _)| *id != device);
            let oldest = others.min_by_key(|(_, seen)| **seen).map(|(id, _)| id.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
        self
    }

    /// The devices that are owed messages: those that were seen within [`limits::DEVICE_TTL`].
    pub fn owed(&self, now: Timestamp) -> impl Iterator<Item = &DeviceId> {
        let is_owed =
            move |(_, seen): &(&DeviceId, &Timestamp)| now.since(**seen) < limits::DEVICE_TTL;
        self.0.iter().filter(is_owed).map(|(id, _)| id)
    }
}

impl fmt::Display for SeenDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (device, seen)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{device} {}", seen.unix_ms())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn g13_devices_are_read_as_they_were_written() {
        let (phone, desk) = ("phone_-1".parse().unwrap(), "desk".parse().unwrap());
        let devices = SeenDevices::default().with(&phone, at(7)).with(&desk, at(5));
        assert_eq!(devices.to_string(), "desk 5,phone_-1 7");
        assert_eq!(SeenDevices::parse("desk 5,phone_-1 7"), Some(devices));
        for text in ["", "desk", "desk x", "desk 5,", "d k 5"] {
            assert_eq!(SeenDevices::parse(text), None, "{text}");
        }
    }
}
