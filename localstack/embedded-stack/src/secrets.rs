//! The stack's own secrets: random, and stored beside the data, so that tokens survive a restart.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use auth::{Secret, SecretError};
use messaging::ports::Randomness;
use service::clock::SystemRandomness;

/// Why a secret cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read or made.
    #[error("cannot keep the secret in {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file does not contain a secret.
    #[error("the file {} does not contain a secret: delete it to get a new one", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: SecretError,
    },
}

/// Makes a secret that is not stored.
pub(crate) fn random() -> Result<Secret, SecretError> {
    Secret::parse(&text())
}

/// Reads a secret from its file. If there is no file, makes a secret and stores it.
pub(crate) fn kept(directory: &Path, name: &str) -> Result<Secret, SecretsError> {
    let path = directory.join(name);
    let refused = |source| SecretsError::File { path: path.clone(), source };
    fs::create_dir_all(directory).map_err(refused)?;
    let kept = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(directory, &path).map_err(refused)?;
            fs::read_to_string(&path).map_err(refused)?
        }
        read => read.map_err(refused)?,
    };
    let malformed = |source| SecretsError::Malformed { path: path.clone(), source };
    Secret::parse(kept.trim_end()).map_err(malformed)
}

/// Makes the file atomically, so that two processes that start at once end up with one secret.
fn make(directory: &Path, path: &Path) -> io::Result<()> {
    let draft = directory.join(format!(".draft-{:032x}", SystemRandomness.bits()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// 256 random bits.
fn text() -> String {
    format!("{:032x}{:032x}", SystemRandomness.bits(), SystemRandomness.bits())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        let first = kept(&inner, "token.secret").unwrap();
        assert_eq!(kept(&inner, "token.secret").unwrap(), first);
        assert_ne!(kept(&inner, "ticket.secret").unwrap(), first);
        let mode = fs::metadata(inner.join("token.secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_holds_none_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("token.secret"), "short").unwrap();
        let refused = kept(directory.path(), "token.secret").unwrap_err();
        assert!(refused.to_string().contains("token.secret"), "{refused}");
    }
}
