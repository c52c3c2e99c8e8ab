//! The owner of a heap block: the innermost call whose file belongs to a known part. Code that all
//! parts use (the standard library, slabs, bytes) counts as its callers'.

use std::collections::BTreeMap;

use super::heap::{Amount, Heap};

/// A part of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The socket's task: its driver, its reading half, its entry in the list of tasks.
    Task,
    /// What tokio keeps for the socket: readiness and wakers.
    Registration,
    /// The shard: the writing half, the queue, and its entry.
    Shard,
    /// The workspace: users, their channels, views, audiences, attached sockets.
    Session,
    /// The node: socket numbers, spent tickets, workspaces.
    Node,
    /// Parsers, headers and unfinished frames.
    Buffers,
    /// TLS.
    Tls,
    /// This program, with its store in memory. It should allocate nothing per socket.
    Load,
    /// The rest.
    Other,
}

impl Owner {
    pub(crate) const ALL: [Self; 9] = [
        Self::Task,
        Self::Registration,
        Self::Shard,
        Self::Session,
        Self::Node,
        Self::Buffers,
        Self::Tls,
        Self::Load,
        Self::Other,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Registration => "registration",
            Self::Shard => "shard",
            Self::Session => "session",
            Self::Node => "node",
            Self::Buffers => "buffers",
            Self::Tls => "tls",
            Self::Load => "load",
            Self::Other => "other",
        }
    }
}

/// Amounts by owner.
pub(crate) type Shares = BTreeMap<Owner, Amount>;

/// The amounts per socket: the difference between two heaps, divided by the `more` sockets.
#[must_use]
pub(crate) fn each(first: &Heap, all: &Heap, more: usize) -> Shares {
    let (first, mut shares) = (shares(first), shares(all));
    for (owner, amount) in first {
        let share = shares.entry(owner).or_default();
        *share = share.plus(amount.times(-1.0));
    }
    shares.into_iter().map(|(owner, share)| (owner, share.times(1.0 / more as f64))).collect()
}

fn shares(heap: &Heap) -> Shares {
    let mut shares = Shares::new();
    for (amount, mut files) in heap.points() {
        let owner = files.find_map(owner_of).unwrap_or(Owner::Other);
        let share = shares.entry(owner).or_default();
        *share = share.plus(amount);
    }
    shares
}

/// The owner of a file. `None` for code that all parts use.
fn owner_of(file: &str) -> Option<Owner> {
    let Some((_, package)) = file.split_once("/registry/src/") else {
        return OWN.iter().find(|(part, _)| file.contains(part)).map(|(_, owner)| *owner);
    };
    let (_index, package) = package.split_once('/')?;
    let (package, path) = package.split_once('/')?;
    let (name, _version) = package.rsplit_once('-')?;
    let is_it = |of: &str, start: &str| name == of && path.starts_with(start);
    PACKAGES.iter().find(|(of, start, _)| is_it(of, start)).map(|(_, _, owner)| *owner)
}

/// Our own files, by a part of their path. The first match counts.
const OWN: &[(&str, Owner)] = &[
    // The rule is the session's, but the table exists once per node.
    ("wss-fleet/delivery/src/tickets.rs", Owner::Node),
    ("wss-fleet/delivery/", Owner::Session),
    ("wss-fleet/node/src/workspace.rs", Owner::Session),
    ("wss-fleet/node/src/read_queue", Owner::Session),
    ("wss-fleet/node/src/reads", Owner::Session),
    // Reading a ticket leaves only the user's id, which the session keeps.
    ("shared/auth/src/tickets.rs", Owner::Session),
    ("wss-fleet/node/src/shard", Owner::Shard),
    ("wss-fleet/node/src/fanout.rs", Owner::Shard),
    ("wss-fleet/node/src/frames.rs", Owner::Shard),
    ("wss-fleet/node/src/delivery_stats.rs", Owner::Shard),
    ("wss-fleet/node/src/inbound.rs", Owner::Buffers),
    ("wss-fleet/node/src/metered_io.rs", Owner::Buffers),
    ("wss-fleet/node/src/early_data.rs", Owner::Buffers),
    ("wss-fleet/node/src/upgrade.rs", Owner::Buffers),
    ("wss-fleet/node/src/tls.rs", Owner::Tls),
    ("wss-fleet/node/src/hub.rs", Owner::Node),
    ("wss-fleet/node/src/workspaces.rs", Owner::Node),
    // What remains of these: the futures' own boxes, and what both halves of a socket share.
    ("wss-fleet/node/src/driver.rs", Owner::Task),
    ("wss-fleet/node/src/accept.rs", Owner::Task),
    ("shared/memory/", Owner::Load),
    ("tests/load/", Owner::Load),
];

/// Files of other packages, by package and the start of their path in it. Of tokio's tasks, only
/// the creation counts: every other call of a task is within its poll.
const PACKAGES: &[(&str, &str, Owner)] = &[
    ("tokio", "src/runtime/task/list.rs", Owner::Task),
    ("tokio", "src/util/idle_notified_set.rs", Owner::Task),
    ("tokio", "src/runtime/io/", Owner::Registration),
    ("rustls", "", Owner::Tls),
    ("rustls-webpki", "", Owner::Tls),
    ("tokio-rustls", "", Owner::Tls),
    ("ring", "", Owner::Tls),
    ("hyper", "", Owner::Buffers),
    ("hyper-util", "", Owner::Buffers),
    ("http", "", Owner::Buffers),
    ("httparse", "", Owner::Buffers),
    ("tungstenite", "", Owner::Buffers),
];

#[cfg(test)]
mod tests {
    use super::super::heap::tests::TEXT;
    use super::*;

    #[test]
    fn a_block_belongs_to_its_innermost_known_caller() {
        let of = |files: &[&str]| files.iter().find_map(|file| owner_of(file));
        let tokio = "/c/registry/src/index-1/tokio-1.54.1/src";
        let spawn = format!("{tokio}/runtime/task/list.rs");
        let poll = format!("{tokio}/runtime/task/harness.rs");
        let accept = "/w/wss-fleet/node/src/accept.rs";
        assert_eq!(of(&["library/alloc/src/boxed.rs", &spawn, accept]), Some(Owner::Task));
        // A task's poll is the outermost call of everything.
        assert_eq!(of(&["/w/wss-fleet/node/src/hub.rs", accept, &poll]), Some(Owner::Node));
        assert_eq!(of(&["library/alloc/src/vec.rs", &poll]), None);
        let source = format!("{tokio}/runtime/io/registration_set.rs");
        assert_eq!(of(&[&source, accept]), Some(Owner::Registration));
    }

    #[test]
    fn packages_are_distinguished_by_their_whole_name() {
        let of = |package: &str| owner_of(&format!("/c/registry/src/index-1/{package}/src/a.rs"));
        assert_eq!(of("rustls-0.23.31"), Some(Owner::Tls));
        assert_eq!(of("tokio-rustls-0.26.2"), Some(Owner::Tls));
        assert_eq!(of("tokio-1.54.1"), None);
        assert_eq!(of("hashbrown-0.16.1"), None);
        assert_eq!(owner_of("/w/wss-fleet/delivery/src/tickets.rs"), Some(Owner::Node));
        assert_eq!(owner_of("/w/wss-fleet/delivery/src/roster.rs"), Some(Owner::Session));
        assert_eq!(owner_of("/w/wss-fleet/node/src/shard/socket.rs"), Some(Owner::Shard));
    }

    #[test]
    fn a_sockets_share_is_the_difference_over_the_sockets() {
        let first = Heap::read(TEXT).unwrap();
        let more = TEXT.replace(r#""eb":72,"ebk":3"#, r#""eb":1072,"ebk":13"#);
        let each = each(&first, &Heap::read(&more).unwrap(), 10);
        assert_eq!(each[&Owner::Shard], Amount { bytes: 100.0, blocks: 1.0 });
        assert_eq!(each.len(), 1);
    }
}
