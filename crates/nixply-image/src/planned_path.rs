//! A store path in a plan.

use crate::plan::text;
use crate::{PlannedPermissions, entry_permissions};
use nixply_layer::StorePathContent;
use nixply_store::{NarHash, StorePath};
use serde::{Deserialize, Serialize};

/// A store path in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPath {
    /// The absolute path.
    pub path: String,
    /// The hash of its NAR serialization, in SRI form.
    #[serde(with = "text")]
    pub nar_hash: NarHash,
    /// The size of its NAR serialization.
    pub nar_size_bytes: u64,
    /// The path that brought this one into its layer, as an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rides_on: Option<String>,
    /// Entries with another owner or mode than all others have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<PlannedPermissions>,
}

impl PlannedPath {
    /// The path as a layer takes it, `path` being its text parsed. None where a mode of its entries is none.
    pub(crate) fn content(&self, path: StorePath) -> Option<StorePathContent> {
        Some(StorePathContent {
            path,
            nar_hash: self.nar_hash,
            nar_size_bytes: self.nar_size_bytes,
            permissions: entry_permissions(&self.permissions)?,
        })
    }
}
