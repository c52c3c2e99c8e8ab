//! A node's hub for tests, on in-memory ports, and clients on pipes.

use std::sync::Arc;

use auth::tickets::SignedTickets;
use auth::tokens::NoTokens;
use auth::{Secret, Secrets};
use memory::{ManualClock, MemoryBus, MemoryDirectory, MemoryStore, SeededRandomness};
use messaging::Ports;
use model::Timestamp;
use protocol::close::CloseCode;
use protocol::frame::ServerFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;

use crate::driver::tests::is_close;
use crate::hub::{Hub, Shown};

/// A hub, its store, and its shards, which end with it.
pub(crate) struct TestHub {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<MemoryStore>,
    _shards: JoinSet<()>,
}

impl TestHub {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self::with(now, |_parts| {})
    }

    /// Lets `change` replace some ports.
    pub(crate) fn with(now: Timestamp, change: impl FnOnce(&mut Ports)) -> Self {
        let clock = Arc::new(ManualClock::at(now));
        let store = Arc::new(MemoryStore::new());
        let secrets = Secrets::from(Secret::parse(&"s".repeat(32)).unwrap());
        let mut ports = memory::ports(
            store.clone(),
            Arc::new(MemoryBus::new(clock.clone())),
            Arc::new(MemoryDirectory::new(clock.clone())),
            (Arc::new(NoTokens), Arc::new(SignedTickets::new(&secrets))),
            clock,
            SeededRandomness::new(7),
        );
        change(&mut ports);
        let mut shards = JoinSet::new();
        let url = "ws://node/socket".to_owned();
        let shown = Shown { url, dns: None, certificate_ends_at: None };
        let hub = Hub::new(ports, shown, Vec::new(), 1, 2, &mut shards);
        Self { hub: Arc::new(hub), store, _shards: shards }
    }
}

/// A client on pipes.
pub(crate) struct Client {
    says: DuplexStream,
    hears: DuplexStream,
}

impl Client {
    /// Attaches a client that lists these frame types.
    pub(crate) async fn attach(fixture: &TestHub, accepts: &[&str]) -> Self {
        let (mut says, reader) = tokio::io::duplex(64 * 1024);
        let (_driver, hears) = fixture.open(reader, Vec::new());
        says.write_all(&fixture.hello(accepts)).await.unwrap();
        let mut client = Self { says, hears };
        let ready = client.frame().await;
        assert!(matches!(ready, Some(ServerFrame::Ready(_))), "{ready:?}");
        client
    }

    /// The next frame; `None` if it closes the socket as a restart does.
    pub(crate) async fn frame(&mut self) -> Option<ServerFrame> {
        let head = self.bytes(2).await;
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.bytes(2).await.try_into().unwrap())),
            length => usize::from(length),
        };
        let payload = self.bytes(length).await;
        if is_close(&[&head[..], &payload].concat(), CloseCode::Restart) {
            return None;
        }
        Some(ServerFrame::decode(std::str::from_utf8(&payload).unwrap()).unwrap())
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.hears.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    pub(crate) async fn closes(&mut self) {
        self.says.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).await.unwrap();
    }

    /// Says a frame of less than 126 bytes.
    pub(crate) async fn says(&mut self, frame: &serde_json::Value) {
        let payload = frame.to_string().into_bytes();
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).unwrap();
        let head = [0x81, 0x80 | length, 0, 0, 0, 0];
        self.says.write_all(&[&head[..], &payload].concat()).await.unwrap();
    }
}
