//! The database as the bytes of its file, without what the SQLite that wrote it leaves in the header (sqlite.org,
//! `fileformat2.html`, "The Database Header").

use crate::DatabaseError;
use rusqlite::{Connection, MAIN_DB};

/// The file change counter, and the counter for which the version below is valid. SQLite believes the size in the header
/// where both are equal.
const CHANGE_COUNTERS: [usize; 2] = [24, 92];

/// The version of the SQLite that wrote the file last. It is for people, nothing reads it.
const WRITTEN_BY: usize = 96;

/// 3.8.0 of 2013, which reads all that is in the file.
const OLDEST_READER: u32 = 3_008_000;

/// Takes the file out of a database in memory.
pub(crate) fn file_of(connection: &mut Connection) -> Result<Vec<u8>, DatabaseError> {
    let mut bytes = connection.serialize(MAIN_DB)?.to_vec();
    let mut set = |offset: usize, number: u32| {
        if let Some(field) = bytes.get_mut(offset..offset + 4) {
            field.copy_from_slice(&number.to_be_bytes());
        }
    };
    for offset in CHANGE_COUNTERS {
        set(offset, 1);
    }
    set(WRITTEN_BY, OLDEST_READER);
    Ok(bytes)
}
