//! Random devices of one user, against a count by hand (G12).

use std::collections::BTreeSet;

use std::collections::BTreeMap;

use memory::SeededRng;
use messaging::amend::{Target, delete_message};
use messaging::read_state::{MarkOutcome, list_unread, mark_read, mark_unread};
use messaging::scroll::{Scroll, scroll};
use model::{ChannelId, Direction, Epoch, MessageId, NewReadMark, ReadMark, UnreadCount};

use crate::fixture::{Fixture, caller, origin};

/// What one device knows of the marks, and the marks that it has not sent yet.
#[derive(Default)]
struct Device {
    known: BTreeMap<ChannelId, ReadMark>,
    queued: Vec<NewReadMark>,
}

/// A channel by hand.
#[derive(Clone)]
struct ByHand {
    id: ChannelId,
    mark: ReadMark,
    /// All messages, and whether they count for the reader.
    messages: Vec<(MessageId, bool)>,
}

impl ByHand {
    fn count(&self) -> UnreadCount {
        let unread = self.messages.iter().filter(|(id, counts)| *counts && *id > self.mark.up_to);
        UnreadCount::Exact(u32::try_from(unread.count()).unwrap())
    }

    fn read(&mut self, mark: ReadMark) {
        if mark.epoch == self.mark.epoch {
            self.mark.up_to = self.mark.up_to.max(mark.up_to);
        }
    }
}

/// alice with several devices, bob who writes to her, and the channels by hand.
struct Run {
    fixture: Fixture,
    rng: SeededRng,
    devices: Vec<Device>,
    channels: Vec<ByHand>,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let (fixture, rng) = (Fixture::new(), SeededRng::new(seed));
        // Nobody listens, and frames take longer to write than all the rest.
        fixture.app.publisher().switch(false);
        let mut channels = Vec::new();
        for _ in 0..rng.within(1..=2) {
            let id = fixture.group("alice", &["bob"]).await.id;
            let (mark, _) = fixture.unread("alice", &id).await;
            channels.push(ByHand { id, mark, messages: Vec::new() });
        }
        let devices = (0..rng.within(1..=3)).map(|_| Device::default()).collect();
        Self { fixture, rng, devices, channels }
    }

    async fn step(&mut self) {
        self.fixture.clock.advance(self.rng.ms(0..=50));
        let (device, channel) =
            (self.rng.index(self.devices.len()), self.rng.index(self.channels.len()));
        match self.rng.below(8) {
            0..3 => self.post(channel).await,
            3 => self.delete(channel).await,
            4 => self.reads(device, channel),
            5 => self.sends(device).await,
            6 => self.marks_unread(device, channel).await,
            _ => self.looks(device).await,
        }
    }

    async fn post(&mut self, channel: usize) {
        let counts = !self.rng.one_in(4);
        let channel = &mut self.channels[channel];
        let sender = if counts { "bob" } else { "alice" };
        let id = self.fixture.post(sender, &channel.id, "hi").await.message.id;
        channel.messages.push((id, counts));
    }

    async fn delete(&mut self, channel: usize) {
        let channel = &mut self.channels[channel];
        let index = self.rng.index(channel.messages.len());
        let Some((id, counts)) = channel.messages.get_mut(index).filter(|(_, counts)| *counts)
        else {
            return;
        };
        let target = Target { log: (&channel.id).into(), id: *id };
        delete_message(&self.fixture.app, &caller("bob"), &target, origin()).await.unwrap();
        *counts = false;
    }

    /// A device queues a mark in the epoch that it knows of, or that it made up.
    fn reads(&mut self, device: usize, channel: usize) {
        let channel = &self.channels[channel];
        let device = &mut self.devices[device];
        let Some((up_to, _)) = self.rng.pick(&channel.messages) else { return };
        let known = device.known.get(&channel.id).map_or(Epoch::FIRST, |mark| mark.epoch);
        let made_up = Epoch::new(self.rng.within(0..=99_999_999)).unwrap();
        let epoch = if self.rng.one_in(10) { made_up } else { known };
        let mark = ReadMark { epoch, up_to: *up_to };
        device.queued.push(NewReadMark { log: channel.id.clone().into(), mark });
    }

    /// One queued mark arrives, in any order. It may arrive again, and its answer may be lost.
    async fn sends(&mut self, device: usize) {
        let (rng, device) = (&self.rng, &mut self.devices[device]);
        if device.queued.is_empty() {
            return;
        }
        let new = device.queued.remove(rng.index(device.queued.len()));
        if rng.one_in(4) {
            return;
        }
        if rng.one_in(4) {
            device.queued.push(new.clone());
        }
        let by_hand = self.channels.iter_mut().find(|channel| channel.id == new.log.channel_id);
        by_hand.unwrap().read(new.mark);
        let marks = [new];
        let marked =
            mark_read(&self.fixture.app, &caller("alice"), &marks, &BTreeSet::new()).await.unwrap();
        let [(log, MarkOutcome::Moved(mark) | MarkOutcome::Kept(mark))] = marked.as_slice() else {
            panic!("{marked:?}")
        };
        if !rng.one_in(3) {
            device.known.insert(log.channel_id.clone(), *mark);
        }
    }

    async fn marks_unread(&mut self, device: usize, channel: usize) {
        let channel = &mut self.channels[channel];
        let Some((from, _)) = self.rng.pick(&channel.messages) else { return };
        let (app, from) = (&self.fixture.app, *from);
        let mark = mark_unread(app, &caller("alice"), &channel.id, from).await.unwrap();
        assert_eq!(Some(mark.epoch), channel.mark.epoch.next());
        channel.mark = ReadMark { epoch: mark.epoch, up_to: from.previous().unwrap() };
        if !self.rng.one_in(3) {
            self.devices[device].known.insert(channel.id.clone(), mark);
        }
    }

    /// A device asks for the state; it is what a count by hand says.
    async fn looks(&mut self, device: usize) {
        let (app, alice) = (&self.fixture.app, caller("alice"));
        let (unread, _) = list_unread(app, &alice, None, 100).await.unwrap();
        assert_eq!(unread.len(), self.channels.len());
        for of in unread {
            let by_hand = self.channels.iter().find(|channel| channel.id == of.of.channel_id);
            let by_hand = by_hand.unwrap();
            assert_eq!((of.of.mark, of.count), (by_hand.mark, by_hand.count()));
            self.devices[device].known.insert(of.of.channel_id, of.of.mark);
        }
    }

    /// A device asks for the state and opens every channel: it reads the newest page, and marks it.
    async fn opens_everything(&mut self, device: usize) {
        self.looks(device).await;
        let (app, alice) = (&self.fixture.app, caller("alice"));
        for channel in &mut self.channels {
            let (channel_id, direction) = (channel.id.clone(), Direction::Older);
            let request =
                Scroll { log: channel_id.into(), offset: None, limit: 20, direction, known: None };
            let page = scroll(app, &alice, request).await.unwrap();
            let Some(newest) = page.messages.first() else { continue };
            let epoch = self.devices[device].known[&channel.id].epoch;
            let mark = ReadMark { epoch, up_to: newest.id };
            let marks = [NewReadMark { log: channel.id.clone().into(), mark }];
            mark_read(app, &alice, &marks, &BTreeSet::new()).await.unwrap();
            channel.read(mark);
        }
    }
}

async fn run(seed: u64) {
    let mut run = Run::start(seed).await;
    for _ in 0..run.rng.within(5..=20) {
        run.step().await;
    }
    for device in 0..run.devices.len() {
        run.looks(device).await;
    }
    let last = run.devices.len() - 1;
    assert_eq!(run.devices[0].known, run.devices[last].known, "equal on all");
    run.opens_everything(0).await;
    // What devices still have queued arrives, and brings nothing back.
    for _ in 0..2 {
        for device in 0..run.devices.len() {
            while !run.devices[device].queued.is_empty() {
                run.sends(device).await;
            }
        }
    }
    for channel in &run.channels {
        let (_, count) = run.fixture.unread("alice", &channel.id).await;
        assert_eq!(count, UnreadCount::Exact(0), "everything was opened");
    }
}

#[tokio::test]
async fn g12_any_order_and_loss_of_marks_ends_equal_to_a_count_by_hand() {
    for seed in 0..10_000 {
        run(seed).await;
    }
}
