//! Opening the database, and making it.

use crate::CacheError;
use crate::files::{Files, Identity, StoreLock};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::thread;
use std::time::{Duration, Instant};

/// `nxpl`: tells our databases from those of other programs.
const APPLICATION_ID: i32 = 0x6e78_706c;

/// The tables' version.
pub(crate) const VERSION: u32 = 1;

/// How long to wait for another process's transaction. Each takes milliseconds; one that takes longer belongs to a
/// process that is stopped, and a push does not wait for that.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait until a file that other processes use can be made or replaced. Making it takes milliseconds; who
/// uses a damaged one may do so for a whole push, and no other push waits for that.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How often to look meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// `last_used` orders rows by their last use: each transaction that uses rows gives them the next number.
const TABLES: &str = "
CREATE TABLE layers (
    layer_key BLOB NOT NULL PRIMARY KEY,
    diff_id BLOB NOT NULL,
    digest BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    check_sum BLOB NOT NULL,
    last_used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX layers_by_use ON layers (last_used);
CREATE TABLE repositories (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    repository TEXT NOT NULL,
    UNIQUE (host, repository)
) STRICT;
CREATE TABLE held (
    digest BLOB NOT NULL,
    repository_id INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    PRIMARY KEY (digest, repository_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX held_by_use ON held (last_used);
CREATE TABLE hosts (
    host TEXT NOT NULL PRIMARY KEY,
    upload_method TEXT NOT NULL,
    last_used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// An open database, shared with other processes.
#[derive(Debug)]
pub(crate) struct Database {
    // Before the lock: a connection must be closed while the lock is still held.
    pub(crate) connection: Connection,
    pub(crate) identity: Identity,
    _lock: StoreLock,
}

/// What stands under the database's name.
enum Found {
    Nothing,
    Damaged(rusqlite::Error),
    Usable(Connection, Identity),
}

impl Database {
    /// Opens the database, or makes it where there is none or a damaged one.
    ///
    /// `damaged` is a file that turned out to be damaged while it was used; what stands in its place now is used.
    /// `note` hears what was damaged.
    pub(crate) fn open(
        files: &Files,
        damaged: Option<Identity>,
        note: &mut dyn FnMut(&rusqlite::Error),
    ) -> Result<Self, CacheError> {
        let start = Instant::now();
        let lock = files.lock()?;
        loop {
            if lock.try_share()?
                && !is_still(damaged, files)?
                && let Found::Usable(connection, identity) = look(files)?
            {
                return Ok(Self {
                    connection,
                    identity,
                    _lock: lock,
                });
            }
            if lock.try_take()? {
                make(files, damaged, note)?;
            } else {
                thread::sleep(LOCK_POLL);
            }
            if start.elapsed() > LOCK_PATIENCE {
                return Err(CacheError::InUse {
                    path: files.database(),
                });
            }
        }
    }

    /// Where the file stands, for an error.
    pub(crate) fn refused(files: &Files, error: rusqlite::Error) -> CacheError {
        CacheError::Database {
            path: files.database(),
            source: Box::new(error),
        }
    }
}

/// True if the file does not hold what this crate writes.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            // SQLITE_ERROR (unknown) is what statements get whose tables are missing or others.
            matches!(
                failure.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown
            ) || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ
        }
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => true,
        _ => false,
    }
}

fn look(files: &Files) -> Result<Found, CacheError> {
    let Some(identity) = files.identity()? else {
        return Ok(Found::Nothing);
    };
    let path = files.database();
    let looked = connect(files).and_then(|connection| {
        let application: i32 = pragma(&connection, "application_id")?;
        let version: i64 = pragma(&connection, "user_version")?;
        let is_empty = !connection
            .prepare("SELECT 1 FROM sqlite_schema")?
            .exists([])?;
        if application == APPLICATION_ID && version == i64::from(VERSION) {
            check_tables(&connection)?;
        }
        Ok((connection, application, version, is_empty))
    });
    match looked {
        Ok((_, 0, 0, true)) => Ok(Found::Nothing),
        Ok((_, application, ..)) if application != APPLICATION_ID => {
            Err(CacheError::Foreign { path })
        }
        Ok((connection, _, version, _)) if version == i64::from(VERSION) => {
            Ok(Found::Usable(connection, identity))
        }
        Ok((_, _, version, _)) => Err(CacheError::NewerVersion {
            path,
            found: u32::try_from(version).unwrap_or(u32::MAX),
            known: VERSION,
        }),
        Err(error) if is_damage(&error) => Ok(Found::Damaged(error)),
        Err(error) => Err(Database::refused(files, error)),
    }
}

fn connect(files: &Files) -> rusqlite::Result<Connection> {
    // Without OpenFlags::SQLITE_OPEN_URI: a directory may be called `file:`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(files.database(), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // In the mode of a write-ahead log, a killed process loses nothing and a power cut the last transactions.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Fails where a table or a column is missing.
fn check_tables(connection: &Connection) -> rusqlite::Result<()> {
    for statement in [
        "SELECT layer_key, diff_id, digest, size_bytes, media_type, check_sum, last_used FROM layers",
        "SELECT id, host, repository FROM repositories",
        "SELECT digest, repository_id, last_used FROM held",
        "SELECT host, upload_method, last_used FROM hosts",
    ] {
        connection.prepare(statement)?;
    }
    Ok(())
}

fn is_still(damaged: Option<Identity>, files: &Files) -> Result<bool, CacheError> {
    Ok(damaged.is_some() && files.identity()? == damaged)
}

/// Makes the database where none can be used, under a lock that nobody shares. Another process may have been quicker.
fn make(
    files: &Files,
    damaged: Option<Identity>,
    note: &mut dyn FnMut(&rusqlite::Error),
) -> Result<(), CacheError> {
    if is_still(damaged, files)? {
        files.set_aside()?;
    }
    match look(files)? {
        Found::Usable(..) => return Ok(()),
        Found::Damaged(error) => {
            note(&error);
            files.set_aside()?;
        }
        Found::Nothing => {}
    }
    create(files)
}

fn create(files: &Files) -> Result<(), CacheError> {
    files.create_database()?;
    let created = connect(files).and_then(|connection| {
        let _: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        // One transaction: a process that is killed here leaves an empty file.
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;{TABLES}\
             PRAGMA application_id = {APPLICATION_ID};PRAGMA user_version = {VERSION};COMMIT;"
        ))
    });
    created.map_err(|error| Database::refused(files, error))
}
