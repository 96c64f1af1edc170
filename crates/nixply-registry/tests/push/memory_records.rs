//! What a machine remembers, in memory.

use nixply_oci::{LayerDigest, LayerKey, LayerRecord, RepositoryName};
use nixply_registry::{RecordStore, StoredRecord};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Records in memory.
#[derive(Default)]
pub(crate) struct MemoryRecords {
    records: Mutex<BTreeMap<LayerKey, LayerRecord>>,
    held: Mutex<Vec<(LayerDigest, RepositoryName)>>,
    methods: Mutex<BTreeMap<String, String>>,
}

impl RecordStore for MemoryRecords {
    fn find(&self, keys: &[LayerKey]) -> Vec<Option<StoredRecord>> {
        let records = self.records.lock().unwrap();
        let held = self.held.lock().unwrap();
        let find = |key: &LayerKey| {
            let record = records.get(key)?.clone();
            let of_layer = held.iter().filter(|(digest, _)| *digest == record.digest);
            Some(StoredRecord {
                held_by: of_layer.map(|(_, repository)| repository.clone()).collect(),
                record,
            })
        };
        keys.iter().map(find).collect()
    }

    fn remember(&self, records: &[(LayerKey, LayerRecord)]) {
        self.records.lock().unwrap().extend(records.iter().cloned());
    }

    fn forget(&self, key: LayerKey) {
        self.records.lock().unwrap().remove(&key);
    }

    fn remember_held(&self, digests: &[LayerDigest], repository: &RepositoryName) {
        let mut held = self.held.lock().unwrap();
        for digest in digests {
            let entry = (*digest, repository.clone());
            if !held.contains(&entry) {
                held.push(entry);
            }
        }
    }

    fn forget_held(&self, digest: LayerDigest, repository: &RepositoryName) {
        let entry = (digest, repository.clone());
        self.held.lock().unwrap().retain(|held| *held != entry);
    }

    fn upload_method(&self, host: &str) -> Option<String> {
        self.methods.lock().unwrap().get(host).cloned()
    }

    fn remember_upload_method(&self, host: &str, method: &str) {
        let mut methods = self.methods.lock().unwrap();
        methods.insert(host.to_owned(), method.to_owned());
    }
}
