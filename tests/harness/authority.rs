//! A certificate authority for tests, and the certificates that it issues.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::Trust;
use messaging::ports::Clock;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use service::clock::SystemClock;
use tempfile::TempDir;
use time::OffsetDateTime;

/// A certificate authority. Only clients that get its certificate trust it.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    folder: TempDir,
}

/// A certificate and its key, as PEM and as files.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The chain's file.
    pub chain: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// The chain.
    pub chain_pem: String,
    /// The key.
    pub key_pem: String,
}

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Panics
    /// If there is no randomness or no folder.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), &pem).expect("a file");
        Self { issuer: Issuer::new(params, key), pem, folder }
    }

    /// The roots of a client that trusts it.
    ///
    /// # Panics
    /// If its own certificate is invalid.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust::with(&self.pem).expect("an authority")
    }

    /// Its own certificate's file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for this machine, valid for an hour.
    #[must_use]
    pub fn issue(&self) -> Issued {
        self.issue_for(&["127.0.0.1", "localhost"], -3_600, 3_600)
    }

    /// A certificate for names, valid between these two times, in seconds from now.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn issue_for(&self, names: &[&str], from_s: i64, to_s: i64) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        let now = i64::try_from(SystemClock.now().unix_s()).expect("a time");
        let at = |s: i64| OffsetDateTime::from_unix_timestamp(now + s).expect("a time");
        (params.not_before, params.not_after) = (at(from_s), at(to_s));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let folder = tempfile::Builder::new().tempdir_in(self.folder.path()).expect("a folder");
        // It is deleted with the authority's folder.
        let folder = folder.keep();
        let (chain_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        let file = |name: &str, text: &str| write(&folder, name, text);
        let (chain, key) = (file("chain.pem", &chain_pem), file("key.pem", &key_pem));
        Issued { chain, key, chain_pem, key_pem }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// The TLS configuration of a client that trusts no authority.
///
/// # Panics
/// If the provider has no ciphers.
#[must_use]
pub fn trusting_nobody() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("ring serves both");
    builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a file");
    file
}
