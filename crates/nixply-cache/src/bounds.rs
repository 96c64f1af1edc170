//! How much is kept.

use rusqlite::{Connection, Transaction};

/// The most that is kept. What was not used for longest goes first, when a process has added a hundredth of the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Layer records.
    pub records: u64,
    /// Pairs of a layer and a repository that holds it.
    pub held: u64,
    /// Registries' hosts whose method of uploading is known.
    pub hosts: u64,
}

/// The most repositories of one host that are kept for a layer: each is a place to mount from, and one is enough.
pub(crate) const HELD_BY_REPOSITORIES_OF_A_HOST: u32 = 8;

impl Default for Bounds {
    /// A thousand images of 100 layers that share nothing; about 45 MB (`docs/decisions/0008-local-records.md`).
    fn default() -> Self {
        Self {
            records: 100_000,
            held: 200_000,
            hosts: 1000,
        }
    }
}

impl Bounds {
    /// How many rows may be added before the next [`Bounds::apply`].
    pub(crate) fn slack(&self) -> u64 {
        self.records.min(self.held).div_ceil(100)
    }

    /// Removes the rows that are too many.
    pub(crate) fn apply(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = crate::tables::begin(connection)?;
        for (table, most) in [
            ("layers", self.records),
            ("held", self.held),
            ("hosts", self.hosts),
        ] {
            remove_oldest(&transaction, table, most)?;
        }
        transaction.execute(
            "DELETE FROM repositories WHERE id NOT IN (SELECT repository_id FROM held)",
            [],
        )?;
        transaction.commit()
    }
}

fn remove_oldest(transaction: &Transaction<'_>, table: &str, most: u64) -> rusqlite::Result<()> {
    let count: i64 =
        transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })?;
    let excess = count.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
    if excess <= 0 {
        return Ok(());
    }
    let key = match table {
        "layers" => "layer_key",
        "held" => "(digest, repository_id)",
        _ => "host",
    };
    let columns = key.trim_matches(['(', ')']);
    transaction.execute(
        &format!(
            "DELETE FROM {table} WHERE {key} IN \
             (SELECT {columns} FROM {table} ORDER BY last_used LIMIT ?1)"
        ),
        [excess],
    )?;
    Ok(())
}
