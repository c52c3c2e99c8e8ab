use messaging::ports::Clock as _;

use super::*;

fn channel(n: u64) -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(n), u128::from(n))
}

/// A workspace that wants every channel, because it has no view of any.
fn state() -> Workspace {
    let now = memory::ManualClock::at(Timestamp::from_unix_ms(1)).now();
    Workspace::new("w".parse().unwrap(), "N1".parse().unwrap(), bytes::Bytes::from, now)
}

fn text(number: u64) -> Effect {
    let message = model::MessageId::mint(Timestamp::from_unix_ms(number), 1);
    Effect::ReadStored {
        number: EntryNumber::new(number),
        channel: channel(1),
        id: message.into(),
        message: MessageRef { id: message, thread: None },
    }
}

fn failed(running: Running, failure: Failure) -> Ended {
    let Running { read, started } = running;
    Ended { started, inputs: Vec::new(), failed: Some((read, failure)), took: Duration::ZERO }
}

fn answered(running: &Running) -> Ended {
    let input = Input::Refreshed { channel: channel(99), members: None };
    let (started, inputs) = (running.started, vec![input]);
    Ended { started, inputs, failed: None, took: Duration::from_millis(5) }
}

#[tokio::test(start_paused = true)]
async fn channels_are_joined_each_once_and_those_that_are_waited_for_come_first() {
    let (mut reads, state, now) = (ReadQueue::new(Instant::now()), state(), Instant::now());
    reads.enqueue(Effect::ReadAhead(channel(1_000)));
    for n in 0..limits::MEMBERS_BATCH_MAX as u64 + 2 {
        assert_eq!(reads.enqueue(Effect::Refresh(channel(n))), None);
        reads.enqueue(Effect::Refresh(channel(n)));
    }
    let sizes: Vec<usize> = std::iter::from_fn(|| reads.next(&state, now))
        .map(|running| {
            let Read::Members(channels) = running.read else { panic!("{:?}", running.read) };
            channels.len()
        })
        .collect();
    assert_eq!(sizes, [limits::MEMBERS_BATCH_MAX, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_read_again_for_as_long_as_the_store_is_away() {
    let (mut reads, state) = (ReadQueue::new(Instant::now()), state());
    reads.enqueue(Effect::Refresh(channel(1)));
    for failure in [Failure::Silent, Failure::Throttled, Failure::Refused].repeat(20) {
        let now = Instant::now();
        let running = reads.next(&state, now).expect("it is still wanted");
        assert_eq!(reads.record(failed(running, failure), 1.0, now).len(), 0);
        assert!(reads.next(&state, now).is_none(), "not at once");
        tokio::time::advance(reads.next_at(now).unwrap() - now).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_while_others_are_answered_is_given_up() {
    let (mut reads, state) = (ReadQueue::new(Instant::now()), state());
    reads.enqueue(Effect::Refresh(channel(1)));
    for n in 1.. {
        tokio::time::advance(limits::STORE_RETRY.1).await;
        let now = Instant::now();
        let refused = reads.next(&state, now).unwrap();
        assert_eq!(refused.read, Read::Members(vec![channel(1)]));
        reads.enqueue(text(n));
        let inputs = reads.record(failed(refused, Failure::Refused), 1.0, now);
        if let [Input::Refreshed { members: None, .. }] = inputs[..] {
            assert_eq!(n, u64::from(limits::STORE_REFUSALS_MAX) + 1);
            return;
        }
        assert!(inputs.is_empty() && n < 20);
        tokio::time::advance(limits::STORE_RETRY.1).await;
        let now = Instant::now();
        // Answer the message's read, whichever comes first.
        let (mut one, mut other) = (reads.next(&state, now).unwrap(), None);
        if matches!(one.read, Read::Members(_)) {
            other = Some(one);
            one = loop {
                tokio::time::advance(limits::STORE_RETRY.1).await;
                if let Some(next) = reads.next(&state, Instant::now()) {
                    break next;
                }
            };
        }
        reads.record(answered(&one), 1.0, now);
        if let Some(other) = other {
            // Return it as a time-out, which does not count as a refusal.
            reads.record(failed(other, Failure::Silent), 1.0, now);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_trouble_as_many_are_admitted_as_are_attached_and_others_are_told_when() {
    let (mut reads, state) = (ReadQueue::new(Instant::now()), state());
    assert!(reads.admits(1_000_000, Instant::now()), "all is well");
    reads.enqueue(text(1));
    let running = reads.next(&state, Instant::now()).unwrap();
    reads.record(failed(running, Failure::Silent), 1.0, Instant::now());
    let least = limits::ATTACHES_IN_TROUBLE_MIN;
    assert!(reads.admits(least - 1, Instant::now()));
    assert!(!reads.admits(least, Instant::now()));
    let (shortest, longest) = limits::BUSY_DELAY;
    assert_eq!(reads.busy_delay(500, 0.0, Instant::now()), shortest);
    assert_eq!(reads.busy_delay(500, 1.0, Instant::now()), shortest * 2, "jittered");
    reads.loads.add(200, Instant::now());
    tokio::time::advance(Duration::from_secs(1)).await;
    reads.loads.add(200, Instant::now());
    let now = Instant::now();
    let most = reads.loads.within(ADMIT_AHEAD, now);
    assert!(most > 500 && reads.admits(most - 1, now) && !reads.admits(most, now), "{most}");
    assert_eq!(reads.busy_delay(100_000, 0.0, now), longest);
}
