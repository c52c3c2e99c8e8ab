//! Who gets a frame: sockets, grouped by the shard that writes to them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A socket of this node. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    /// The writer shard that owns the socket's writing half.
    pub shard: u16,
    /// Its number, unique within the node.
    pub serial: u64,
}

/// Sockets grouped by shard; shared, so that offering a frame allocates nothing per recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audience(Arc<[(u16, Arc<[SocketId]>)]>);

impl Audience {
    /// Groups sockets. Each must occur once.
    pub fn of(sockets: impl IntoIterator<Item = SocketId>) -> Self {
        let mut shards: BTreeMap<u16, Vec<SocketId>> = BTreeMap::new();
        for socket in sockets {
            shards.entry(socket.shard).or_default().push(socket);
        }
        Self(shards.into_iter().map(|(shard, sockets)| (shard, sockets.into())).collect())
    }

    /// The sockets of each shard.
    pub fn shards(&self) -> impl Iterator<Item = (u16, &Arc<[SocketId]>)> {
        self.0.iter().map(|(shard, sockets)| (*shard, sockets))
    }

    /// All sockets.
    pub fn sockets(&self) -> impl Iterator<Item = SocketId> {
        self.0.iter().flat_map(|(_, sockets)| sockets.iter().copied())
    }

    /// Whether it has no sockets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
