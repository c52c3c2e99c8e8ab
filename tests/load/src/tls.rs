//! Client sockets over TLS. They are opened one by one, and kept open.

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

/// Trusts one certificate authority, from its file.
///
/// # Errors
/// If the file holds no certificate.
pub(crate) fn config(authority: &Path) -> Result<Arc<ClientConfig>, Failed> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).map_err(|error| error.to_string())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Opens a socket: TLS, the upgrade and `hello`, until the node is ready.
///
/// # Errors
/// If any of these steps fails.
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

/// Reads once. What arrives must start with `begin`.
fn expect(socket: &mut Socket, begin: &[u8]) -> Result<(), Failed> {
    let mut buffer = [0; 1024];
    let count = socket.read(&mut buffer)?;
    let came = buffer.get(..count).unwrap_or_default();
    if came.starts_with(begin) {
        return Ok(());
    }
    Err(format!("the node said {}", String::from_utf8_lossy(came)).into())
}
