//! End-to-end tests: they use the system only through HTTP and WebSocket.
//!
//! Tests in `everywhere` run on each environment: the embedded stack, the embedded engine with a
//! real redis-server, and a deployment that `tests/cloud` starts.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "a test that finds something else has failed; figures are printed"
)]

mod answers;
mod brownout;
mod changes;
mod client_store;
mod command;
mod configuration;
mod cost;
mod deliver_first;
mod deliver_first_client;
mod discovery;
mod embedded;
mod everywhere;
mod failover;
mod figures;
mod files;
mod foreign;
mod functions;
mod health;
mod invites;
mod kills;
mod later;
mod meetings;
mod moves;
mod needle;
mod origins;
mod outage;
mod own_name;
mod page;
mod people;
mod presence;
mod read_state;
mod redaction;
mod relay;
mod renewals;
mod signals;
mod sockets;
mod threads;
mod tls;
mod traces;

/// Runs each test on each environment in this process.
macro_rules! on_each_environment {
    ($($test:ident),* $(,)?) => {
        mod embedded {
            $crate::on!([] Embedded: $($test)*);
        }
        mod redis {
            $crate::on!([] Redis: $($test)*);
        }
    };
}
pub(crate) use on_each_environment;

/// Runs each test on each environment and on a deployment, except those of `here`, which run
/// only in this process: with more than 100 calls waiting for one function, the queue of `cargo
/// lambda watch` is full and it never answers again.
macro_rules! on_every_cluster {
    (few: $($few:ident),*; many: $($many:ident),*; here: $($here:ident),* $(,)?) => {
        $crate::on_each_environment!($($few,)* $($many,)* $($here),*);
        $crate::on_a_deployment!(few: $($few),*; many: $($many),*);
    };
}
pub(crate) use on_every_cluster;

/// Runs each test on a deployment, which `tests/cloud` starts and names. Tests with `many`
/// concurrent calls have their own module, because an emulator accepts only a few.
macro_rules! on_a_deployment {
    (few: $($few:ident),*; many: $($many:ident),* $(,)?) => {
        mod deployed {
            $crate::on!([#[ignore = "tests/cloud runs it"]] Deployed: $($few)*);
        }
        mod deployed_many {
            $crate::on!([#[ignore = "tests/cloud runs it"]] Deployed: $($many)*);
        }
    };
}
pub(crate) use on_a_deployment;

/// Runs each test on one environment.
macro_rules! on {
    ($attributes:tt $environment:ident:) => {};
    ([$($attribute:tt)*] $environment:ident: $test:ident $($rest:ident)*) => {
        #[tokio::test(flavor = "multi_thread")]
        $($attribute)*
        async fn $test() {
            super::$test(tests::cluster::Environment::$environment).await;
        }
        $crate::on!([$($attribute)*] $environment: $($rest)*);
    };
}
pub(crate) use on;
