//! What this machine remembers of layers, as far as a push is concerned.

use nixply_oci::{LayerDigest, LayerKey, LayerRecord, RepositoryName};

/// What a [`RecordStore`] remembers of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// What the layer turned out to be when it was made.
    pub record: LayerRecord,
    /// Repositories that had it when they were last pushed to.
    pub held_by: Vec<RepositoryName>,
}

/// Remembers what layers turned out to be, between pushes. Nothing of it can fail: what cannot be remembered is
/// forgotten.
pub trait RecordStore: Sync {
    /// What is remembered of each key, in the order of the keys.
    fn find(&self, keys: &[LayerKey]) -> Vec<Option<StoredRecord>>;

    /// Layers turned out to be this. Comes before a layer is sent, so that an interrupted push knows it next time, and for
    /// all of them when they are there.
    fn remember(&self, records: &[(LayerKey, LayerRecord)]);

    /// A record proved to be wrong.
    fn forget(&self, key: LayerKey);

    /// A repository has these blobs.
    fn remember_held(&self, digests: &[LayerDigest], repository: &RepositoryName);

    /// A repository does not have this blob any more.
    fn forget_held(&self, digest: LayerDigest, repository: &RepositoryName);

    /// How large blobs of unknown digest go to a host, as it was remembered.
    fn upload_method(&self, host: &str) -> Option<String>;

    /// How large blobs of unknown digest go to a host.
    fn remember_upload_method(&self, host: &str, method: &str);
}
