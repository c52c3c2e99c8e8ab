//! Listens like a node.

use std::io;
use std::net::{SocketAddr, TcpListener};

use model::limits;
use socket2::{Domain, Socket, Type};

/// A listener with a node's backlog.
///
/// # Errors
/// If the address is taken.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(limits::LISTEN_BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}
