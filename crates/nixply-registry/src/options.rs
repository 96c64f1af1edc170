//! What a push is told.

use crate::{Interrupt, RecordStore};
use nixply_oci::ImageReference;
use std::fmt;
use std::path::PathBuf;

/// Bytes of finished or half-finished layers that a push holds in memory at most, by default.
///
/// Half of the 128 MiB that a whole push may take, so that the compressors and the HTTP client have the other half.
const MEMORY_BYTES: u64 = 64 << 20;

/// Below this a layer is not worth an own upload session of unknown length, whatever the number of threads.
const SMALLEST_BUDGET_BYTES: u64 = 4 << 20;

/// Compressed bytes that wait in unlinked temporary files at most, by default: several of the largest layers.
const SPOOL_BYTES: u64 = 16 << 30;

/// The tag of a repository's layer index.
pub const LAYER_INDEX_TAG: &str = "nixply-layers";

/// Where the layer index is read and written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LayerIndexPlace {
    /// In the repository that is pushed to, under [`LAYER_INDEX_TAG`].
    #[default]
    SameRepository,
    /// Elsewhere, for a whole fleet; without a tag under [`LAYER_INDEX_TAG`].
    At(ImageReference),
    /// Nowhere.
    Off,
}

/// How a push uses the machine, and what it may know beforehand.
#[derive(Clone)]
pub struct PushOptions<'a> {
    /// The number of threads that make layers; 0 counts as 1.
    pub jobs: usize,
    /// How many bytes of one layer wait in memory until its digest is known. A layer that outgrows it is sent while it
    /// is made, so that the registry cannot be asked first whether it has it, unless a record tells its digest. At
    /// most `2 * jobs` layers are in memory at once: `jobs` that are being made and as many that wait for the network.
    pub layer_memory_budget_bytes: u64,
    /// Where the compressed bytes of a large layer wait, in unlinked files, for a registry that takes a blob in a single
    /// request only. Without one, such a layer is made twice: once to learn its digest, once to send it.
    pub spool_dir: Option<PathBuf>,
    /// How many bytes wait there at most. A layer that finds no room is made twice, too.
    pub spool_budget_bytes: u64,
    /// What this machine remembers of layers.
    pub records: Option<&'a dyn RecordStore>,
    /// Images whose layers may be known and mounted.
    pub reuse_from: Vec<ImageReference>,
    /// The layer index.
    pub layer_index: LayerIndexPlace,
    /// Whether the tags that are pushed to are looked at for what is known of layers.
    pub read_tags: bool,
    /// Make every layer whose record is known and compare.
    pub verify_records: bool,
    /// Find out what would be done, and do nothing.
    pub dry_run: bool,
    /// Ends the push from outside.
    pub interrupt: Interrupt,
}

impl PushOptions<'_> {
    /// The default options for a number of threads.
    #[must_use]
    pub fn for_jobs(jobs: usize) -> Self {
        let jobs = jobs.max(1);
        let layers_in_memory = 2 * jobs as u64;
        Self {
            jobs,
            layer_memory_budget_bytes: (MEMORY_BYTES / layers_in_memory).max(SMALLEST_BUDGET_BYTES),
            spool_dir: None,
            spool_budget_bytes: SPOOL_BYTES,
            records: None,
            reuse_from: Vec::new(),
            layer_index: LayerIndexPlace::default(),
            read_tags: true,
            verify_records: false,
            dry_run: false,
            interrupt: Interrupt::default(),
        }
    }
}

impl fmt::Debug for PushOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushOptions")
            .field("jobs", &self.jobs)
            .field("layer_memory_budget_bytes", &self.layer_memory_budget_bytes)
            .field("reuse_from", &self.reuse_from)
            .field("layer_index", &self.layer_index)
            .field("read_tags", &self.read_tags)
            .field("verify_records", &self.verify_records)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_budgets_stay_within_the_memory_of_a_push() {
        for jobs in 0..=8 {
            let options = PushOptions::for_jobs(jobs);
            let layers_in_memory = 2 * options.jobs as u64;
            assert!(options.layer_memory_budget_bytes * layers_in_memory <= MEMORY_BYTES);
            assert!(options.layer_memory_budget_bytes >= SMALLEST_BUDGET_BYTES);
        }
    }
}
