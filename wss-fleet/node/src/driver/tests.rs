use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use messaging::ports::{Principal, Ticket};
use model::Timestamp;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadBuf};

use super::*;
use crate::test_hub::TestHub;

impl TestHub {
    pub(crate) fn start() -> Self {
        Self::at(Timestamp::from_unix_ms(1_767_225_600_000))
    }

    pub(crate) fn hello(&self, accepts: &[&str]) -> Vec<u8> {
        let expires_at = self.hub.now().plus(Duration::from_secs(60));
        let principal = Principal {
            workspace_id: "w".parse().unwrap(),
            user_id: "alice".parse().unwrap(),
            is_admin: false,
            expires_at,
        };
        let (node_id, nonce) = (self.hub.node_id.clone(), self.hub.ports.randomness.bits());
        let issued_at = self.hub.now();
        let ticket = Ticket {
            principal,
            node_id,
            is_invisible: false,
            device: None,
            issued_at,
            expires_at,
            nonce,
        };
        let ticket = self.hub.ports.tickets.issue(&ticket);
        let accepts = accepts.iter().map(|kind| (*kind).to_owned()).collect();
        let payload = Hello { ticket, cursor: None, accepts }.encode().into_bytes();
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0x81, 0x80 | 126][..], &length, &[0; 4], &payload].concat()
    }

    /// Opens a socket on pipes; the peer reads what the node wrote.
    pub(crate) fn open<R>(
        &self,
        reader: R,
        early: Vec<u8>,
    ) -> (tokio::task::JoinHandle<()>, DuplexStream)
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let socket = self.hub.open().unwrap();
        let (writer, early) = (Writer::Boxed(Box::new(ours)), early.into());
        let run = run(Arc::clone(&self.hub), Upgraded { socket, reader, writer, early });
        (tokio::spawn(run), theirs)
    }
}

/// A reader that panics.
struct Defect;

impl AsyncRead for Defect {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        _buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        panic!("a defect that a test made")
    }
}

async fn all_of(mut peer: DuplexStream) -> Vec<u8> {
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.unwrap();
    read
}

pub(crate) fn is_close(frame: &[u8], code: CloseCode) -> bool {
    let number = code.number().to_be_bytes();
    frame.first() == Some(&0x88) && frame.get(2..4) == Some(&number[..])
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_socket_and_not_the_node() {
    let fixture = TestHub::start();
    let (mut client, reader) = tokio::io::duplex(64 * 1024);
    let (neighbour, mut pushed) = fixture.open(reader, Vec::new());
    client.write_all(&fixture.hello(&[])).await.unwrap();
    let mut first = [0; 1];
    pushed.read_exact(&mut first).await.unwrap();
    assert_eq!(first, [0x81], "ready");

    let (defect, closed) = fixture.open(Defect, Vec::new());
    assert!(defect.await.unwrap_err().is_panic());
    assert!(is_close(&all_of(closed).await, CloseCode::Internal));
    assert_eq!(fixture.hub.socket_count(), 1, "only the neighbour is left");

    client.write_all(&[0x89, 0x81, 0, 0, 0, 0, b'!']).await.unwrap();
    drop(client);
    let rest = all_of(pushed).await;
    assert!(rest.windows(3).any(|bytes| bytes == [0x8a, 1, b'!']), "the neighbour is answered");
    neighbour.await.unwrap();
    assert_eq!(fixture.hub.socket_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_came_early_are_metered_like_any_others() {
    let fixture = TestHub::start();
    let (_client, reader) = tokio::io::duplex(64);
    let (driver, closed) = fixture.open(reader, [0x89, 0x80, 0, 0, 0, 0].repeat(25));
    assert!(is_close(&all_of(closed).await, CloseCode::RateLimited));
    driver.await.unwrap();
}
