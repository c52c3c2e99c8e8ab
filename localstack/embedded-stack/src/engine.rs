//! The embedded DynamoDB-compatible engine. It has its own thread and runtime and listens on a
//! loopback port, so that the real store adapter talks to it as to DynamoDB.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dynoxide::{Database, DynoxideError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{error, warn};

/// Where the engine keeps its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineData {
    /// In memory: lost when the engine stops.
    Memory,
    /// In this directory, which is created if it is missing. Every write is synced to disk.
    Directory(PathBuf),
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The directory cannot be created or written to.
    #[error("the data directory {} cannot be written to", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another engine has the directory open.
    #[error("the data directory {} is in use by another process", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The tables cannot be opened.
    #[error("the tables at {} cannot be opened", .path.display())]
    Tables {
        /// The file, or `:memory:`.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: DynoxideError,
    },
    /// A port, thread or runtime cannot be created.
    #[error("the engine cannot be started")]
    System(#[from] io::Error),
}

/// A running engine. Dropping it stops it, closes the tables and unlocks the directory.
pub struct Engine {
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    database: Database,
    // Fields are dropped in order: the directory is unlocked last, when nothing in this process
    // writes to it any more.
    _lock: Option<File>,
}

impl Engine {
    /// Starts an engine. When this returns, its port accepts connections.
    ///
    /// # Errors
    /// [`EngineError`], whose text is one line.
    pub fn start(data: EngineData) -> Result<Self, EngineError> {
        let (database, lock) = open(data)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        // The engine's server runs SQLite and fsync on its workers. On the caller's runtime they
        // would block every socket.
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("engine-worker")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let served = database.clone();
        let thread = thread::Builder::new().name("engine".to_owned()).spawn(move || {
            run(&runtime, listener, served, stopped);
            runtime.shutdown_timeout(STOP_MAX);
        })?;
        Ok(Self { endpoint, stop: Some(stop), thread: Some(thread), database, _lock: lock })
    }

    /// Its endpoint, `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Removes expired rows now, instead of within half an hour. Blocks while it reads every row.
    ///
    /// # Errors
    /// The engine's error as text.
    pub fn sweep(&self) -> Result<usize, String> {
        self.database().sweep_ttl().map_err(|error| error.to_string())
    }

    /// Direct access to the tables, to read the stream, which the DynamoDB SDK cannot do. Calls
    /// block.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the engine's thread panicked");
        }
    }
}

fn open(data: EngineData) -> Result<(Database, Option<File>), EngineError> {
    match data {
        EngineData::Memory => {
            let opened = Database::memory();
            let path = PathBuf::from(":memory:");
            let database = opened.map_err(|source| EngineError::Tables { path, source })?;
            Ok((database, None))
        }
        EngineData::Directory(directory) => {
            let lock = lock(&directory)?;
            let path = directory.join(TABLES_FILE);
            let Some(text) = path.to_str().map(str::to_owned) else {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8");
                return Err(EngineError::Directory { path: directory, source });
            };
            let opened = Database::new(&text);
            let database = opened.map_err(|source| EngineError::Tables { path, source })?;
            if let Err(error) = index_stream(&text) {
                warn!(%error, "cannot index the stream: writes get slower as it grows");
            }
            Ok((database, Some(lock)))
        }
    }
}

/// Adds an index on the sequence numbers of the stream's records. The engine queries the highest
/// number before every write, and without an index that reads all records (dynoxide 3.2.0).
fn index_stream(tables: &str) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(tables)?;
    connection.busy_timeout(INDEX_WAIT_MAX)?;
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS inkwire_stream_numbers
         ON _stream_records (table_name, CAST(sequence_number AS INTEGER))",
    )
}

/// Locks the directory for this engine. The lock ends with the process, however that ends.
fn lock(directory: &Path) -> Result<File, EngineError> {
    let refused = |source| EngineError::Directory { path: directory.to_owned(), source };
    // The directory holds people's messages, so only its owner may read it.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(refused)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(directory.join(LOCK_FILE)).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EngineError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    database: Database,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(err) => return error!(%err, "the engine's port cannot be used"),
        };
        let sweep = runtime.spawn(sweep_expired(database.clone()));
        let (begin_stop, stop) = oneshot::channel::<()>();
        let server = dynoxide::server::serve_with_shutdown(listener, database, async {
            // A dropped sender means stop, too.
            let _gone = stop.await;
        });
        let mut server = runtime.spawn(server);
        // The sender is dropped with the engine.
        let _gone = stopped.await;
        sweep.abort();
        drop(begin_stop);
        // A request that never ends must not keep the process alive.
        if tokio::time::timeout(STOP_MAX, &mut server).await.is_err() {
            server.abort();
        }
    });
}

/// Removes expired rows regularly, because the engine's server does not.
async fn sweep_expired(database: Database) {
    let mut tick = tokio::time::interval_at(Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(_)) => {}
            Ok(Err(err)) => warn!(%err, "cannot delete expired rows"),
            Err(err) => warn!(%err, "deleting expired rows ended early"),
        }
    }
}

/// Two, so that one can parse requests while the other holds the tables.
const WORKERS: usize = 2;
/// How often expired rows are removed; DynamoDB takes up to days. A sweep blocks other calls while
/// it reads every row, and only two-day-old redirects expire.
const SWEEP_EVERY: Duration = Duration::from_secs(30 * 60);
/// How long requests in flight may delay a stop.
const STOP_MAX: Duration = Duration::from_secs(1);
/// How long creating the index waits for the file's lock.
const INDEX_WAIT_MAX: Duration = Duration::from_secs(5);
const TABLES_FILE: &str = "tables.sqlite";
const LOCK_FILE: &str = "engine.lock";

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> EngineError {
        Engine::start(EngineData::Directory(path.to_owned())).unwrap_err()
    }

    #[test]
    fn a_directory_is_open_once_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let data = EngineData::Directory(directory.path().to_owned());
        let engine = Engine::start(data.clone()).unwrap();
        assert!(matches!(refusal(directory.path()), EngineError::InUse { .. }));
        drop(engine);
        Engine::start(data).unwrap();
    }

    #[test]
    fn numbering_a_record_does_not_read_all_records() {
        let directory = tempfile::tempdir().unwrap();
        let _engine = Engine::start(EngineData::Directory(directory.path().to_owned())).unwrap();
        let tables = rusqlite::Connection::open(directory.path().join(TABLES_FILE)).unwrap();
        // The engine's own query, word for word.
        let plan: String = tables
            .query_row(
                "EXPLAIN QUERY PLAN SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 \
                 FROM _stream_records WHERE table_name = ?1",
                ["inkwire-messages"],
                |row| row.get("detail"),
            )
            .unwrap();
        assert!(plan.starts_with("SEARCH") && plan.contains("inkwire_stream_numbers"), "{plan}");
    }

    #[test]
    fn a_path_that_is_no_directory_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let err = refusal(&file);
        assert!(matches!(err, EngineError::Directory { .. }), "{err}");
        assert!(err.to_string().contains("file"));
    }

    #[test]
    fn tables_that_are_none_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(TABLES_FILE), "no database\n".repeat(1_000)).unwrap();
        let err = refusal(directory.path());
        assert!(matches!(err, EngineError::Tables { .. }), "{err}");
    }
}
