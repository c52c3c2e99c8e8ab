//! TCP listeners: how the node's addresses are bound, and how connections are accepted.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use model::limits;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Listens on an address. Accepted sockets inherit the options.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // A frame is one write, so Nagle's delay would gain nothing.
    socket.set_nodelay(true)?;
    // By default, the kernel keeps a vanished client for a quarter of an hour.
    SockRef::from(&socket).set_tcp_user_timeout(Some(limits::UNACKNOWLEDGED_MAX))?;
    socket.bind(address)?;
    socket.listen(limits::LISTEN_BACKLOG)
}

/// Accepts the next connection. Reports failures and pauses after each: out of descriptors, or the
/// peer left at once. The listener itself still works.
pub(crate) async fn accept(listener: &TcpListener, report: impl Fn(&io::Error)) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => report(&error),
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// The pause after a failed accept: long enough for a descriptor to become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_wait_for_no_second_write_and_not_for_clients_that_vanished() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(address), accept(&listener, |_| {}));
        assert!(!client.unwrap().nodelay().unwrap(), "not the system's default");
        assert!(accepted.nodelay().unwrap());
        let unacknowledged = SockRef::from(&accepted).tcp_user_timeout().unwrap();
        assert_eq!(unacknowledged, Some(limits::UNACKNOWLEDGED_MAX));
    }
}
