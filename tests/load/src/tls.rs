//! Client sockets over TLS: opened one by one, and kept.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Failed;
use crate::client;

/// An open socket.
pub(crate) type Socket = StreamOwned<ClientConnection, TcpStream>;

/// Trusts one authority, by its certificate's file.
///
/// # Errors
/// If there is none.
pub(crate) fn config(authority: &Path) -> Result<Arc<ClientConfig>, Failed> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).map_err(|error| error.to_string())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Opens a socket: TLS, the upgrade, `hello`, until the node is ready.
///
/// # Errors
/// If the node is not.
pub(crate) fn open(
    config: &Arc<ClientConfig>,
    to: SocketAddr,
    number: usize,
    ticket: &str,
) -> Result<Socket, Failed> {
    let name = ServerName::from(to.ip());
    let connection = ClientConnection::new(Arc::clone(config), name)?;
    let mut socket = StreamOwned::new(connection, client::connect(to, number)?);
    socket.write_all(client::upgrade(to).as_bytes())?;
    expect(&mut socket, b"HTTP/1.1 101")?;
    socket.write_all(&client::hello(ticket))?;
    expect(&mut socket, b"\x81")?;
    Ok(socket)
}

/// Reads what comes at once: it must begin so.
fn expect(socket: &mut Socket, begin: &[u8]) -> Result<(), Failed> {
    let mut buffer = [0; 1024];
    let count = socket.read(&mut buffer)?;
    let came = buffer.get(..count).unwrap_or_default();
    if came.starts_with(begin) {
        return Ok(());
    }
    Err(format!("the node said {}", String::from_utf8_lossy(came)).into())
}
