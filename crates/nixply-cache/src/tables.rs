//! What is read from the tables and written to them.

use crate::bounds::HELD_BY_REPOSITORIES_OF_A_HOST;
use nixply_oci::{DiffId, Digest, LayerDigest, LayerKey, LayerRecord, MediaType, RepositoryName};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

/// The longest text that is kept. Names in registries have at most 255 characters (distribution-spec v1.1.1, "Pulling
/// manifests"), hosts and media types too; what is longer comes from nowhere good.
const LONGEST_TEXT_BYTES: usize = 512;

/// How many bytes of a check sum are kept: enough against accidents.
const CHECK_SUM_BYTES: usize = 8;

/// A layer that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRecord {
    /// What the layer turned out to be.
    pub record: LayerRecord,
    /// The repositories that are known to hold it, the one that was seen last first.
    pub held_by: Vec<RepositoryName>,
}

/// A repository and how much of what is known it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// The repository.
    pub repository: RepositoryName,
    /// How many layers it is known to hold.
    pub n_layers: u64,
}

/// What a store of records holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many layers are known.
    pub n_records: u64,
    /// The bytes of the store's files.
    pub size_bytes: u64,
    /// The repositories that hold layers, by name.
    pub repositories: Vec<HeldBy>,
    /// Registries' hosts and the method of uploading that each takes, by host.
    pub upload_methods: Vec<(String, String)>,
}

/// A transaction that writes from its beginning: one that begins by reading cannot wait for another writer.
pub(crate) fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// What is known of each key, in the order of `keys`; what is known counts as used.
pub(crate) fn find(
    connection: &mut Connection,
    keys: &[LayerKey],
) -> rusqlite::Result<Vec<Option<FoundRecord>>> {
    let reading = connection.transaction()?;
    let newest = newest_use(&reading)?;
    let mut all = Vec::with_capacity(keys.len());
    let mut is_older = false;
    for key in keys {
        let found = match layer(&reading, *key)? {
            None => None,
            Some((record, last_used)) => {
                is_older |= last_used < newest;
                let held_by = held_by(&reading, record.digest)?;
                Some(FoundRecord { record, held_by })
            }
        };
        all.push(found);
    }
    reading.commit()?;
    // The same image pushed again writes nothing.
    if is_older {
        let writing = begin(connection)?;
        let now = newest_use(&writing)? + 1;
        for (key, _) in keys.iter().zip(&all).filter(|(_, found)| found.is_some()) {
            writing
                .prepare_cached("UPDATE layers SET last_used = ?2 WHERE layer_key = ?1")?
                .execute(params![key.as_bytes(), now])?;
        }
        writing.commit()?;
    }
    Ok(all)
}

fn layer(
    transaction: &Transaction<'_>,
    key: LayerKey,
) -> rusqlite::Result<Option<(LayerRecord, i64)>> {
    let row = transaction
        .prepare_cached(
            "SELECT diff_id, digest, size_bytes, media_type, check_sum, last_used \
             FROM layers WHERE layer_key = ?1",
        )?
        .query_row([key.as_bytes()], |row| {
            let size_bytes: i64 = row.get(2)?;
            let media_type: String = row.get(3)?;
            let record = LayerRecord {
                diff_id: DiffId::from_bytes(row.get(0)?),
                digest: LayerDigest::from_bytes(row.get(1)?),
                size_bytes: u64::try_from(size_bytes)
                    .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(2, size_bytes))?,
                media_type: MediaType::from(media_type),
            };
            let check_sum: [u8; CHECK_SUM_BYTES] = row.get(4)?;
            if check_sum != check_sum_of(key, &record) {
                return Err(rusqlite::Error::FromSqlConversionFailure(
                    4,
                    rusqlite::types::Type::Blob,
                    "the record's check sum differs".into(),
                ));
            }
            Ok((record, row.get(5)?))
        });
    row.optional()
}

fn held_by(
    transaction: &Transaction<'_>,
    digest: LayerDigest,
) -> rusqlite::Result<Vec<RepositoryName>> {
    transaction
        .prepare_cached(
            "SELECT host, repository FROM held JOIN repositories ON id = repository_id \
             WHERE digest = ?1 ORDER BY last_used DESC, host, repository",
        )?
        .query_map([digest.as_bytes()], |row| {
            repository_name(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)
        })?
        .collect()
}

fn repository_name(host: &str, repository: &str) -> rusqlite::Result<RepositoryName> {
    format!("{host}/{repository}").parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn check_sum_of(key: LayerKey, record: &LayerRecord) -> [u8; CHECK_SUM_BYTES] {
    let media_type = record.media_type.as_str();
    let hashed = [
        key.as_bytes(),
        record.diff_id.as_bytes(),
        record.digest.as_bytes(),
        &record.size_bytes.to_be_bytes()[..],
        media_type.as_bytes(),
    ]
    .concat();
    let hash = *Digest::of(&hashed).as_bytes();
    std::array::from_fn(|i| hash[i])
}

fn newest_use(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(last_used) FROM layers), 0), \
             coalesce((SELECT max(last_used) FROM held), 0))",
        )?
        .query_row([], |row| row.get(0))
}

/// Keeps records, in place of older ones of the same keys. What no honest layer has is not kept.
pub(crate) fn remember(
    connection: &mut Connection,
    records: &[(LayerKey, LayerRecord)],
) -> rusqlite::Result<()> {
    let writing = begin(connection)?;
    let now = newest_use(&writing)? + 1;
    for (key, record) in records {
        let media_type = record.media_type.as_str();
        let Ok(size_bytes) = i64::try_from(record.size_bytes) else {
            continue;
        };
        if media_type.len() > LONGEST_TEXT_BYTES {
            continue;
        }
        writing
            .prepare_cached("INSERT OR REPLACE INTO layers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![
                key.as_bytes(),
                record.diff_id.as_bytes(),
                record.digest.as_bytes(),
                size_bytes,
                media_type,
                check_sum_of(*key, record),
                now,
            ])?;
    }
    writing.commit()
}

/// Removes a record.
pub(crate) fn forget(connection: &mut Connection, key: LayerKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM layers WHERE layer_key = ?1")?
        .execute([key.as_bytes()])
        .map(drop)
}

/// Keeps that a repository holds layers.
pub(crate) fn remember_held(
    connection: &mut Connection,
    digests: &[LayerDigest],
    repository: &RepositoryName,
) -> rusqlite::Result<()> {
    let name = [repository.host(), repository.repository()];
    if name.iter().any(|text| text.len() > LONGEST_TEXT_BYTES) {
        return Ok(());
    }
    let writing = begin(connection)?;
    let now = newest_use(&writing)? + 1;
    writing
        .prepare_cached("INSERT OR IGNORE INTO repositories (host, repository) VALUES (?1, ?2)")?
        .execute(name)?;
    for digest in digests {
        writing
            .prepare_cached(
                "INSERT OR REPLACE INTO held \
                 SELECT ?3, id, ?4 FROM repositories WHERE host = ?1 AND repository = ?2",
            )?
            .execute(params![name[0], name[1], digest.as_bytes(), now])?;
        writing
            .prepare_cached(
                "DELETE FROM held WHERE digest = ?1 AND repository_id IN (\
                 SELECT repository_id FROM held JOIN repositories ON id = repository_id \
                 WHERE digest = ?1 AND host = ?2 ORDER BY last_used DESC LIMIT -1 OFFSET ?3)",
            )?
            .execute(params![
                digest.as_bytes(),
                name[0],
                HELD_BY_REPOSITORIES_OF_A_HOST
            ])?;
    }
    writing.commit()
}

/// Removes that a repository holds a layer.
pub(crate) fn forget_held(
    connection: &mut Connection,
    digest: LayerDigest,
    repository: &RepositoryName,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM held WHERE digest = ?1 AND repository_id IN \
             (SELECT id FROM repositories WHERE host = ?2 AND repository = ?3)",
        )?
        .execute(params![
            digest.as_bytes(),
            repository.host(),
            repository.repository()
        ])
        .map(drop)
}

/// The method of uploading that a host takes.
pub(crate) fn upload_method(
    connection: &mut Connection,
    host: &str,
) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT upload_method FROM hosts WHERE host = ?1")?
        .query_row([host], |row| row.get(0))
        .optional()
}

/// Keeps the method of uploading that a host takes.
pub(crate) fn remember_upload_method(
    connection: &mut Connection,
    host: &str,
    method: &str,
) -> rusqlite::Result<()> {
    if [host, method]
        .iter()
        .any(|text| text.len() > LONGEST_TEXT_BYTES)
    {
        return Ok(());
    }
    let writing = begin(connection)?;
    writing
        .prepare_cached(
            "INSERT OR REPLACE INTO hosts \
             SELECT ?1, ?2, coalesce(max(last_used), 0) + 1 FROM hosts",
        )?
        .execute([host, method])?;
    writing.commit()
}

/// Counts what there is; the files' bytes are the caller's.
pub(crate) fn summary(connection: &mut Connection) -> rusqlite::Result<Summary> {
    let reading = connection.transaction()?;
    let n_records: i64 = reading.query_row("SELECT count(*) FROM layers", [], |row| row.get(0))?;
    let repositories = reading
        .prepare(
            "SELECT host, repository, count(*) FROM held JOIN repositories ON id = repository_id \
             GROUP BY id ORDER BY host, repository",
        )?
        .query_map([], |row| {
            Ok(HeldBy {
                repository: repository_name(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?)?,
                n_layers: row.get::<_, i64>(2)?.unsigned_abs(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let upload_methods = reading
        .prepare("SELECT host, upload_method FROM hosts ORDER BY host")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Summary {
        n_records: n_records.unsigned_abs(),
        size_bytes: 0,
        repositories,
        upload_methods,
    })
}

/// Removes everything.
pub(crate) fn clear(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "BEGIN IMMEDIATE;\
         DELETE FROM layers;DELETE FROM held;DELETE FROM repositories;DELETE FROM hosts;\
         COMMIT;",
    )?;
    // The file gets smaller if nobody reads it at this moment, and is reused if somebody does.
    let _ = connection.execute_batch("VACUUM;PRAGMA wal_checkpoint(TRUNCATE);");
    Ok(())
}
