//! Seals texts for the nodes of one fleet (ADR 0043).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use messaging::ports::Seal;
use model::{ChannelId, WorkspaceId};
use sha2::{Digest, Sha256};

use crate::secret::{Secret, Secrets};

/// XChaCha20-Poly1305 with a key from each secret of the tickets: the first seals, all open. A sealed
/// text is `<key id>.<nonce>.<ciphertext>`, and opens for its channel only.
#[derive(Clone)]
pub struct SecretSeal {
    first: SealKey,
    older: Vec<SealKey>,
}

impl fmt::Debug for SecretSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSeal(..)")
    }
}

#[derive(Clone)]
struct SealKey {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl SealKey {
    fn of(secret: &Secret) -> Self {
        let derive = |purpose: &[u8]| {
            let mut digest = Sha256::new();
            digest.update(purpose);
            digest.update(secret.bytes());
            <[u8; 32]>::from(digest.finalize())
        };
        let id = URL_SAFE_NO_PAD.encode(&derive(b"inkwire seal id\0")[..6]);
        let key = derive(b"inkwire seal key\0");
        Self { id, cipher: XChaCha20Poly1305::new(&Key::from(key)) }
    }
}

impl SecretSeal {
    /// Seals with the first secret, and opens with all.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let older = secrets.older.iter().map(SealKey::of).collect();
        Self { first: SealKey::of(&secrets.first), older }
    }
}

impl Seal for SecretSeal {
    fn seal(
        &self,
        workspace: &WorkspaceId,
        channel: &ChannelId,
        text: &str,
        nonce: [u8; 24],
    ) -> String {
        let aad = aad(workspace, channel);
        let payload = Payload { msg: text.as_bytes(), aad: aad.as_bytes() };
        // Only a text of 256 GiB cannot be sealed. What is empty opens nowhere.
        let sealed = self.first.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.unwrap_or_default();
        let [nonce, sealed] = [&nonce[..], &sealed].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        format!("{}.{nonce}.{sealed}", self.first.id)
    }

    fn open(&self, workspace: &WorkspaceId, channel: &ChannelId, sealed: &str) -> Option<String> {
        let (id, rest) = sealed.split_once('.')?;
        let (nonce, sealed) = rest.split_once('.')?;
        let key = std::iter::once(&self.first).chain(&self.older).find(|key| key.id == id)?;
        let nonce: [u8; 24] = URL_SAFE_NO_PAD.decode(nonce).ok()?.try_into().ok()?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let aad = aad(workspace, channel);
        let payload = Payload { msg: &sealed, aad: aad.as_bytes() };
        let opened = key.cipher.decrypt(&XNonce::from(nonce), payload).ok()?;
        String::from_utf8(opened).ok()
    }
}

/// Seals and opens nothing: for functions, which have no ticket secret.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSeal;

impl Seal for NoSeal {
    fn seal(&self, _: &WorkspaceId, _: &ChannelId, _: &str, _: [u8; 24]) -> String {
        String::new()
    }

    fn open(&self, _: &WorkspaceId, _: &ChannelId, _: &str) -> Option<String> {
        None
    }
}

/// What is sealed for one channel opens for no other.
fn aad(workspace: &WorkspaceId, channel: &ChannelId) -> String {
    format!("{workspace}/{channel}")
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    fn seal(secrets: &str) -> SecretSeal {
        SecretSeal::new(&Secrets::parse(secrets).unwrap())
    }

    #[test]
    fn g15_what_is_sealed_opens_for_its_channel_with_any_configured_secret_only() {
        let (old, new) = ("old-secret-old-secret-old-secret", "new-secret-new-secret-new-secret");
        let workspace: WorkspaceId = "demo".parse().unwrap();
        let [channel, other] =
            [1, 2].map(|n| ChannelId::mint_group(Timestamp::from_unix_ms(n), n.into()));
        let sealed = seal(old).seal(&workspace, &channel, "needle", [7; 24]);
        assert!(!sealed.contains("needle"));
        let both = seal(&format!("{new},{old}"));
        assert_eq!(both.open(&workspace, &channel, &sealed).as_deref(), Some("needle"));
        assert_eq!(seal(new).open(&workspace, &channel, &sealed), None, "another fleet");
        assert_eq!(both.open(&workspace, &other, &sealed), None, "another channel");
        assert_eq!(both.open(&"other".parse().unwrap(), &channel, &sealed), None);
        let (mut shorter, mut other) = (sealed.clone(), sealed.clone());
        shorter.pop();
        other.insert(0, 'A');
        for bad in ["", ".", "..", "a.b.c", &shorter, &other, &format!("{sealed}A")] {
            assert_eq!(both.open(&workspace, &channel, bad), None, "{bad}");
        }
    }
}
