//! The subscriptions of this process by topic, and what happens to each push.

use std::collections::BTreeMap;

use messaging::ports::{Notice, SubscriptionSender};
use parking_lot::Mutex;
use protocol::signal::Signal;
use redis::{PushInfo, PushKind};
use tokio::sync::Notify;

use crate::{codec, reply};

/// Signals from the task that reads the link's socket to the task that keeps the link up.
#[derive(Debug)]
pub(crate) struct Signals {
    /// The link is gone, or no longer subscribed.
    pub(crate) lost: Notify,
    /// The link received its own probe.
    pub(crate) heard: Notify,
    /// The topic of the probe, which no other link has.
    pub(crate) probe_topic: String,
}

/// The subscriptions of this process by topic, ordered so that equal runs notify in equal order.
/// Locked only for moments, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Topics(Mutex<BTreeMap<String, Vec<SubscriptionSender>>>);

impl Topics {
    /// Adds a subscription. True if the topic is new.
    pub(crate) fn add(&self, topic: &str, subscription: SubscriptionSender) -> bool {
        let mut topics = self.0.lock();
        if let Some(subscriptions) = topics.get_mut(topic) {
            subscriptions.push(subscription);
            return false;
        }
        topics.insert(topic.to_owned(), vec![subscription]);
        true
    }

    /// All topics.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// Removes the topics that have no listener left, and returns them.
    pub(crate) fn remove_unused(&self) -> Vec<String> {
        let mut topics = self.0.lock();
        // Offering a notice also finds closed subscriptions, but a quiet topic has no notices.
        for subscriptions in topics.values_mut() {
            subscriptions.retain(|tx| !tx.is_closed());
        }
        let unused: Vec<String> = topics
            .iter()
            .filter(|(_, subscriptions)| subscriptions.is_empty())
            .map(|(topic, _)| topic.clone())
            .collect();
        for topic in &unused {
            topics.remove(topic);
        }
        unused
    }

    /// Offers a notice to every subscription, once, although each has a topic of signals, too.
    pub(crate) fn notify_all(&self, notice: &Notice) {
        for (topic, subscriptions) in &mut *self.0.lock() {
            if !codec::is_signal_topic(topic) {
                subscriptions.retain(|tx| tx.offer(notice.clone()));
            }
        }
    }

    /// Handles a push of the link. The task that reads the socket calls this, so it never waits.
    pub(crate) fn on_push(&self, push: &PushInfo, signals: &Signals) {
        let topic = push.data.first().and_then(reply::text).unwrap_or_default();
        let unsubscribed = matches!(
            push.kind,
            PushKind::Unsubscribe | PushKind::SUnsubscribe | PushKind::PUnsubscribe
        );
        if push.kind == PushKind::Message && topic == signals.probe_topic {
            signals.heard.notify_one();
        } else if push.kind == PushKind::Message {
            self.on_message(topic, push);
        } else if unsubscribed {
            // A topic is removed from the map before the link unsubscribes from it.
            if topic == signals.probe_topic || self.0.lock().contains_key(topic) {
                signals.lost.notify_one();
            }
        } else if push.kind == PushKind::Disconnection {
            signals.lost.notify_one();
        }
    }

    fn on_message(&self, topic: &str, push: &PushInfo) {
        if codec::is_signal_topic(topic) {
            let payload = push.data.get(1).and_then(reply::bytes).unwrap_or_default();
            let signal = Signal::decode(payload);
            if let Some(subscriptions) = self.0.lock().get_mut(topic) {
                subscriptions.retain(|tx| tx.offer_signal(signal.clone()));
            }
            return;
        }
        let entry = push.data.get(1).and_then(reply::bytes).and_then(codec::entry_of_push);
        let notice = entry.map_or(Notice::Foreign, Notice::Entry);
        if let Some(subscriptions) = self.0.lock().get_mut(topic) {
            subscriptions.retain(|tx| tx.offer(notice.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use messaging::ports::Subscription;
    use redis::Value;

    use super::*;

    fn push(kind: PushKind, data: &[&str]) -> PushInfo {
        let data = data.iter().map(|text| Value::BulkString(text.as_bytes().to_vec())).collect();
        PushInfo { kind, data }
    }

    fn signals() -> Signals {
        Signals { lost: Notify::new(), heard: Notify::new(), probe_topic: "probe".to_owned() }
    }

    #[test]
    fn a_probe_is_heard_and_passed_to_no_subscription() {
        let (topics, signals) = (Topics::default(), signals());
        topics.on_push(&push(PushKind::Message, &["probe", ""]), &signals);
        assert_eq!(signals.heard.notified().now_or_never(), Some(()));
        assert_eq!(signals.lost.notified().now_or_never(), None);
    }

    #[test]
    fn g4_a_push_that_is_no_entry_is_foreign_and_no_gap() {
        let (topics, signals) = (Topics::default(), signals());
        let (tx, mut rx) = Subscription::channel(4);
        assert!(topics.add("t", tx));
        topics.on_push(&push(PushKind::Message, &["t", "nonsense"]), &signals);
        topics.on_push(&push(PushKind::Message, &["other", "nonsense"]), &signals);
        topics.on_push(&push(PushKind::Message, &[]), &signals);
        assert_eq!(rx.next().now_or_never(), Some(Some(Notice::Foreign)));
        assert_eq!(rx.next().now_or_never(), None);
        topics.on_push(&push(PushKind::Message, &["t"]), &signals);
        assert_eq!(rx.next().now_or_never(), Some(Some(Notice::Foreign)));
        assert_eq!(signals.lost.notified().now_or_never(), None);
    }

    #[test]
    fn g12_signals_fill_half_of_a_queue_and_leave_the_rest_to_entries() {
        let (topics, signals) = (Topics::default(), signals());
        let (tx, mut rx) = Subscription::channel(4);
        topics.add("ink:{w}:signals", tx.clone());
        topics.add("ink:{w}:topic", tx);
        for _ in 0..9 {
            topics.on_push(&push(PushKind::Message, &["ink:{w}:signals", "{}"]), &signals);
        }
        for _ in 0..2 {
            topics.on_push(&push(PushKind::Message, &["ink:{w}:topic", "nonsense"]), &signals);
        }
        let signal = Notice::Signal(Signal::Unknown);
        for notice in [signal.clone(), signal, Notice::Foreign, Notice::Foreign] {
            assert_eq!(rx.next().now_or_never(), Some(Some(notice)));
        }
        assert_eq!(rx.next().now_or_never(), None, "and no gap");
        topics.notify_all(&Notice::Lost);
        assert_eq!(rx.next().now_or_never(), Some(Some(Notice::Lost)));
        assert_eq!(rx.next().now_or_never(), None, "once");
    }

    #[test]
    fn an_unsubscription_that_nobody_asked_for_ends_the_link() {
        let (topics, signals) = (Topics::default(), signals());
        let (tx, rx) = Subscription::channel(4);
        topics.add("t", tx);
        topics.on_push(&push(PushKind::Unsubscribe, &["forgotten"]), &signals);
        assert_eq!(signals.lost.notified().now_or_never(), None);
        topics.on_push(&push(PushKind::Unsubscribe, &["t"]), &signals);
        assert_eq!(signals.lost.notified().now_or_never(), Some(()));
        topics.on_push(&push(PushKind::Unsubscribe, &["probe"]), &signals);
        assert_eq!(signals.lost.notified().now_or_never(), Some(()));
        topics.on_push(&push(PushKind::Disconnection, &[]), &signals);
        assert_eq!(signals.lost.notified().now_or_never(), Some(()));
        drop(rx);
    }

    #[test]
    fn a_topic_is_removed_after_its_last_subscription_is_dropped() {
        let topics = Topics::default();
        let (one, rx_one) = Subscription::channel(4);
        let (other, rx_other) = Subscription::channel(4);
        assert!(topics.add("t", one));
        assert!(!topics.add("t", other));
        drop(rx_one);
        topics.notify_all(&Notice::Restored);
        assert!(topics.remove_unused().is_empty());
        drop(rx_other);
        assert_eq!(topics.remove_unused(), ["t"], "without a push on the topic");
        assert!(topics.names().is_empty());
    }
}
