//! Rows for store paths.

use crate::DatabaseError;
use crate::bytes::file_of;
use data_encoding::HEXLOWER;
use nixply_store::{NarHash, StoreDir, StorePath};
use rusqlite::{Connection, params};

/// One second after 1970 began.
const REGISTRATION_TIME_SECS: u32 = 1;

/// Fixes all of a file's form that SQLite would choose by itself. In memory nothing is written to a temporary file either.
const FORM: &str = "
PRAGMA page_size = 4096;
PRAGMA encoding = 'UTF-8';
PRAGMA auto_vacuum = NONE;
PRAGMA temp_store = MEMORY;
";

/// The tables as Nix's own statements use them.
const TABLES: &str = "
CREATE TABLE ValidPaths (
    id integer primary key autoincrement not null,
    path text unique not null,
    hash text not null,
    registrationTime integer not null,
    deriver text,
    narSize integer,
    ultimate integer,
    sigs text,
    ca text
);
CREATE TABLE Refs (
    referrer integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);
CREATE TABLE DerivationOutputs (
    drv integer not null,
    id text not null,
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);
";

/// Made after the rows, so that their pages are written once and full. A path that refers to itself may only be deleted
/// because of the trigger.
const INDEXES: &str = "
CREATE INDEX IndexReferrer on Refs(referrer);
CREATE INDEX IndexReference on Refs(reference);
CREATE INDEX IndexDerivationOutputs on DerivationOutputs(path);
CREATE TRIGGER DeleteSelfRefs before delete on ValidPaths
begin
    delete from Refs where referrer = old.id and reference = old.id;
end;
";

/// A store path that Nix shall believe in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredPath<'a> {
    /// The path.
    pub path: &'a StorePath,
    /// The hash of its NAR serialization.
    pub nar_hash: NarHash,
    /// The size of its NAR serialization.
    pub nar_size_bytes: u64,
    /// What it refers to, itself included where it does: positions in the list of paths, from 0, in any order.
    pub references: Vec<usize>,
}

/// Writes the file `db.sqlite` for these paths and no others.
pub fn write_database(
    store_dir: &StoreDir,
    paths: &[RegisteredPath<'_>],
) -> Result<Vec<u8>, DatabaseError> {
    let mut order: Vec<usize> = (0..paths.len()).collect();
    order.sort_by_key(|&position| paths[position].path);
    if let Some(pair) = order
        .windows(2)
        .find(|pair| paths[pair[0]].path == paths[pair[1]].path)
    {
        return Err(DatabaseError::Duplicate {
            path: paths[pair[0]].path.clone(),
        });
    }
    // The number of each path in the database: in order, from 1.
    let mut ids = vec![0_usize; paths.len()];
    for (id, &position) in (1..).zip(&order) {
        ids[position] = id;
    }

    let mut connection = Connection::open_in_memory()?;
    connection.execute_batch(FORM)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    {
        let mut add_path = transaction.prepare(
            "insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, ?, ?)",
        )?;
        let mut add_reference =
            transaction.prepare("insert into Refs (referrer, reference) values (?, ?)")?;
        for &position in &order {
            let registered = &paths[position];
            let nar_size =
                i64::try_from(registered.nar_size_bytes).map_err(|_| DatabaseError::NarSize {
                    path: registered.path.clone(),
                    nar_size_bytes: registered.nar_size_bytes,
                })?;
            let hash = format!("sha256:{}", HEXLOWER.encode(registered.nar_hash.as_bytes()));
            let path = store_dir.display(registered.path);
            add_path.execute(params![path, hash, REGISTRATION_TIME_SECS, nar_size])?;
        }
        for &position in &order {
            for reference in references(paths, &ids, position)? {
                add_reference.execute(params![as_row_id(ids[position]), as_row_id(reference)])?;
            }
        }
    }
    transaction.execute_batch(INDEXES)?;
    transaction.commit()?;
    file_of(&mut connection)
}

/// The numbers of what a path refers to, ascending, each once.
fn references(
    paths: &[RegisteredPath<'_>],
    ids: &[usize],
    position: usize,
) -> Result<Vec<usize>, DatabaseError> {
    let registered = &paths[position];
    let mut references = registered
        .references
        .iter()
        .map(|&reference| {
            ids.get(reference)
                .copied()
                .ok_or_else(|| DatabaseError::NoSuchPath {
                    path: registered.path.clone(),
                    position: reference,
                    count: paths.len(),
                })
        })
        .collect::<Result<Vec<usize>, _>>()?;
    references.sort_unstable();
    references.dedup();
    Ok(references)
}

/// SQLite counts with 64 bits and a sign, and no list in memory is that long.
fn as_row_id(id: usize) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}
