//! The store as callers see it: what fails costs records, never a push.

use crate::database::{Database, is_damage};
use crate::files::Files;
use crate::tables::{self, FoundRecord, Summary};
use crate::{Bounds, CacheError};
use nixply_oci::{LayerDigest, LayerKey, LayerRecord, RepositoryName};
use rusqlite::Connection;
use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Layer records on this machine, for any number of threads and processes at once.
///
/// Whatever fails after [`LocalRecords::open`] makes the methods find nothing and keep nothing;
/// [`LocalRecords::trouble`] says what it was.
#[derive(Debug)]
pub struct LocalRecords {
    files: Files,
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None once something failed that does not go away by beginning anew.
    database: Option<Database>,
    trouble: Vec<String>,
    /// How many more rows may be added before the bounds are applied.
    slack: u64,
}

impl LocalRecords {
    /// Opens the records in `dir`, or begins them: the directory gets the mode 0700, its files 0600. A damaged file is
    /// set aside as `records.sqlite.damaged`.
    ///
    /// # Errors
    ///
    /// [`CacheError::File`] where the directory cannot be made or written, [`CacheError::NewerVersion`] and
    /// [`CacheError::Foreign`] for files that are not touched, [`CacheError::InUse`] where a damaged file is in use,
    /// [`CacheError::Database`] for the rest. All of them mean: push without local records.
    pub fn open(dir: &Path) -> Result<Self, CacheError> {
        Self::open_bounded(dir, Bounds::default())
    }

    /// As [`LocalRecords::open`], with bounds of the caller's.
    ///
    /// # Errors
    ///
    /// As [`LocalRecords::open`].
    pub fn open_bounded(dir: &Path, bounds: Bounds) -> Result<Self, CacheError> {
        let files = Files::in_dir(dir)?;
        let mut trouble = Vec::new();
        let database =
            Database::open(&files, None, &mut |error| trouble.push(anew(&files, error)))?;
        Ok(Self {
            files,
            bounds,
            state: Mutex::new(State {
                database: Some(database),
                trouble,
                slack: 0,
            }),
        })
    }

    /// The directory of the records.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.files.dir()
    }

    /// What went wrong so far, in the order in which it did; each is one line for people.
    #[must_use]
    pub fn trouble(&self) -> Vec<String> {
        self.state().trouble.clone()
    }

    /// What is known of each key, in the order of `keys`. What is known counts as used.
    #[must_use]
    pub fn find(&self, keys: &[LayerKey]) -> Vec<Option<FoundRecord>> {
        self.soft(|connection| tables::find(connection, keys))
            .unwrap_or_else(|| vec![None; keys.len()])
    }

    /// Keeps what layers turned out to be, in place of what was kept before. They count as used.
    pub fn remember(&self, records: &[(LayerKey, LayerRecord)]) {
        self.add(records.len(), |connection| {
            tables::remember(connection, records)
        });
    }

    /// Removes the record of a key: it turned out to be wrong.
    pub fn forget(&self, key: LayerKey) {
        self.soft(|connection| tables::forget(connection, key));
    }

    /// Keeps that a repository holds layers. At most 8 repositories of a host are kept for a layer, those that were seen
    /// last.
    pub fn remember_held(&self, digests: &[LayerDigest], repository: &RepositoryName) {
        self.add(digests.len(), |connection| {
            tables::remember_held(connection, digests, repository)
        });
    }

    /// Removes that a repository holds a layer: the registry says otherwise.
    pub fn forget_held(&self, digest: LayerDigest, repository: &RepositoryName) {
        self.soft(|connection| tables::forget_held(connection, digest, repository));
    }

    /// What [`LocalRecords::remember_upload_method`] kept for a registry's host.
    #[must_use]
    pub fn upload_method(&self, host: &str) -> Option<String> {
        self.soft(|connection| tables::upload_method(connection, host))
            .flatten()
    }

    /// Keeps which method of uploading a registry's host takes, in the caller's words.
    pub fn remember_upload_method(&self, host: &str, method: &str) {
        self.add(1, |connection| {
            tables::remember_upload_method(connection, host, method)
        });
    }

    /// What there is.
    ///
    /// # Errors
    ///
    /// [`CacheError::Database`] and [`CacheError::GivenUp`].
    pub fn summary(&self) -> Result<Summary, CacheError> {
        let counted = self.hard(tables::summary)?;
        Ok(Summary {
            size_bytes: self.files.size_bytes(),
            ..counted
        })
    }

    /// Removes everything, for other processes that use the records too.
    ///
    /// # Errors
    ///
    /// [`CacheError::Database`] and [`CacheError::GivenUp`]; [`CacheError::File`] where a file that was set aside cannot be
    /// removed.
    pub fn clear(&self) -> Result<(), CacheError> {
        self.hard(tables::clear)?;
        self.files.remove_damaged()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds rows, and applies the bounds when it is time to.
    fn add(&self, n_rows: usize, operation: impl Fn(&mut Connection) -> rusqlite::Result<()>) {
        self.soft(operation);
        let is_time = {
            let mut state = self.state();
            let left = state.slack.checked_sub(n_rows as u64);
            state.slack = left.unwrap_or_else(|| self.bounds.slack());
            left.is_none()
        };
        if is_time {
            self.soft(|connection| self.bounds.apply(connection));
        }
    }

    /// Does something with the database; on a damaged one, once more on one that is begun anew.
    fn soft<T>(&self, operation: impl Fn(&mut Connection) -> rusqlite::Result<T>) -> Option<T> {
        let mut state = self.state();
        for _ in 0..2 {
            let database = state.database.as_mut()?;
            let error = match operation(&mut database.connection) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let identity = database.identity;
            // The connection and its lock have to go before the file can be replaced.
            state.database = None;
            if !is_damage(&error) {
                let trouble = format!("{}: {error}; going on without", self.name());
                state.trouble.push(trouble);
                return None;
            }
            state.trouble.push(anew(&self.files, &error));
            let trouble = &mut state.trouble;
            match Database::open(&self.files, Some(identity), &mut |error| {
                trouble.push(anew(&self.files, error));
            }) {
                Ok(database) => state.database = Some(database),
                Err(error) => {
                    let trouble = one_line(&error);
                    state.trouble.push(trouble);
                }
            }
        }
        None
    }

    fn hard<T>(
        &self,
        operation: impl Fn(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, CacheError> {
        match self.state().database.as_mut() {
            Some(database) => operation(&mut database.connection)
                .map_err(|error| Database::refused(&self.files, error)),
            None => Err(CacheError::GivenUp {
                path: self.files.database(),
            }),
        }
    }

    fn name(&self) -> String {
        format!("layer records in `{}`", self.files.database().display())
    }
}

fn anew(files: &Files, error: &rusqlite::Error) -> String {
    format!(
        "layer records in `{}` were damaged and are begun anew: {error}",
        files.database().display()
    )
}

/// An error and its causes in one line.
fn one_line(error: &CacheError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
