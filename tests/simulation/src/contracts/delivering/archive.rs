//! The function `archive`: its runs follow each other, and each of them may be killed at any await.

use std::sync::Arc;
use std::time::Duration;

use memory::SeededRng;
use messaging::archive::{Archiver, ArchiverPorts};
use messaging::ports::{ReceiptBook, Spool};
use redis_bus::RedisBus;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::functions::Killed;
use crate::planted::Plant;
use crate::redis::Redis;
use crate::store::SimStore;
use crate::time::SimClock;
use crate::world::ARCHIVER;

/// What a run of the function starts with.
#[derive(Debug)]
pub(crate) struct Environment {
    pub redis: Redis,
    pub store: Arc<SimStore>,
    pub clock: SimClock,
    pub plant: Option<Plant>,
}

/// Runs the function again and again. Until `killed_until`, each run dies sooner or later.
pub(crate) async fn archive(environment: Environment, rng: SeededRng, killed_until: Duration) {
    let killed_until = Instant::now() + killed_until;
    loop {
        let bus = Arc::new(RedisBus::at(environment.redis.endpoint(ARCHIVER)));
        let mut spool: Arc<dyn Spool> = Arc::<RedisBus>::clone(&bus);
        let mut receipts: Arc<dyn ReceiptBook> = Arc::<RedisBus>::clone(&bus);
        if let Some(plant) = &environment.plant {
            (spool, receipts) = (plant.archive(spool), plant.acked(receipts));
        }
        let store = || Arc::clone(&environment.store);
        let archiver = Archiver::new(ArchiverPorts {
            spool,
            receipts,
            bus,
            messages: store(),
            members: store(),
            devices: store(),
            clock: Arc::new(environment.clock.clone()),
            randomness: rng.port(),
        });
        let polls = (Instant::now() < killed_until).then(|| rng.within(1..=POLLS_MAX));
        // A failed run is followed by the next one, as one that was killed.
        let _ended = Killed::new(::archive::handle(archiver, Value::Null), polls).await;
        sleep(rng.ms(200..=3_000)).await;
    }
}

/// A run dies after some polls: some of them at once, others after half a minute.
const POLLS_MAX: u64 = 600;
