//! What this machine remembers of layers, for a push.

use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::text;
use nixply_cache::LocalRecords;
use nixply_oci::{LayerDigest, LayerKey, LayerRecord, RepositoryName};
use nixply_registry::{RecordStore, StoredRecord};

/// The records of this machine, as a push asks for them.
pub(crate) struct Remembered(LocalRecords);

impl Remembered {
    /// Opens the records; none where there is no place for them, which costs time and nothing else, and is told where
    /// `verbose`.
    pub(crate) fn open(verbose: bool) -> Option<Self> {
        let dir = environment::cache_dir()?;
        match LocalRecords::open(&dir) {
            Ok(records) => Some(Self(records)),
            Err(error) => {
                if verbose {
                    text::message(&CliError::from_error(ExitStatus::Failed, &error).as_note());
                }
                None
            }
        }
    }

    /// What went wrong with them meanwhile.
    pub(crate) fn tell_trouble(&self) {
        for trouble in self.0.trouble() {
            text::note(&trouble, None);
        }
    }
}

impl RecordStore for Remembered {
    fn find(&self, keys: &[LayerKey]) -> Vec<Option<StoredRecord>> {
        let found = self.0.find(keys).into_iter();
        found
            .map(|found| {
                found.map(|found| StoredRecord {
                    record: found.record,
                    held_by: found.held_by,
                })
            })
            .collect()
    }

    fn remember(&self, records: &[(LayerKey, LayerRecord)]) {
        self.0.remember(records);
    }

    fn forget(&self, key: LayerKey) {
        self.0.forget(key);
    }

    fn remember_held(&self, digests: &[LayerDigest], repository: &RepositoryName) {
        self.0.remember_held(digests, repository);
    }

    fn forget_held(&self, digest: LayerDigest, repository: &RepositoryName) {
        self.0.forget_held(digest, repository);
    }

    fn upload_method(&self, host: &str) -> Option<String> {
        self.0.upload_method(host)
    }

    fn remember_upload_method(&self, host: &str, method: &str) {
        self.0.remember_upload_method(host, method);
    }
}
