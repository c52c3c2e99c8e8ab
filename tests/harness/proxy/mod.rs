//! Proxies that inject faults between two parts, as networks and services do.

pub mod http;
pub mod tcp;

use std::time::Duration;

use tokio::time::Instant;

/// Switches a fault on and off, each for `every`, until `time` has passed. It ends switched off.
pub async fn flap(time: Duration, every: Duration, mut switch: impl FnMut(bool)) {
    let end = Instant::now() + time;
    let mut is_on = false;
    while Instant::now() < end {
        is_on = !is_on;
        switch(is_on);
        tokio::time::sleep_until((Instant::now() + every).min(end)).await;
    }
    switch(false);
}
