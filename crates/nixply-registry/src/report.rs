//! What a push is told, what it tells while it runs, and what it was.

use nixply_oci::{Digest, LayerRecord};

/// Bytes of finished or half-finished layers that a push holds in memory at most, by default.
///
/// Half of the 128 MiB that a whole push may take, so that the compressors and the HTTP client have the other half.
const MEMORY_BYTES: u64 = 64 << 20;

/// Below this a layer is not worth an own upload session of unknown length, whatever the number of threads.
const SMALLEST_BUDGET_BYTES: u64 = 4 << 20;

/// How many requests run at once by default: enough to hide a round trip, below what registries call abuse.
const CONNECTIONS: usize = 8;

/// How a push uses the machine and the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushOptions {
    /// The number of threads that make layers; 0 counts as 1.
    pub jobs: usize,
    /// The number of requests that run at once; 0 counts as 1.
    pub connections: usize,
    /// How many bytes of one layer wait in memory until its digest is known. A layer that outgrows it is sent while it
    /// is made, so that the registry cannot be asked first whether it has it. At most `2 * jobs` layers are in
    /// memory at once: `jobs` that are being made and as many that wait for the network.
    pub layer_memory_budget_bytes: u64,
}

impl PushOptions {
    /// The default options for a number of threads.
    #[must_use]
    pub fn for_jobs(jobs: usize) -> Self {
        let jobs = jobs.max(1);
        let layers_in_memory = 2 * jobs as u64;
        Self {
            jobs,
            connections: CONNECTIONS,
            layer_memory_budget_bytes: (MEMORY_BYTES / layers_in_memory).max(SMALLEST_BUDGET_BYTES),
        }
    }
}

impl Default for PushOptions {
    /// [`PushOptions::for_jobs`] with a thread for every processor.
    fn default() -> Self {
        Self::for_jobs(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// What happens while a push runs. `layer_idx` counts the image's layers from the bottom, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushEvent<'a> {
    /// A layer's bytes are being made.
    LayerStarted {
        /// Which layer.
        layer_idx: usize,
        /// What the layer is.
        title: &'a str,
        /// About how many bytes are read for it.
        weight_bytes: u64,
    },
    /// Bytes of a layer went to the network.
    BytesSent {
        /// Which layer.
        layer_idx: usize,
        /// How many since the last such event of this layer.
        bytes: u64,
    },
    /// The registry has a layer already; nothing was sent.
    LayerAlreadyThere {
        /// Which layer.
        layer_idx: usize,
        /// What the layer is.
        title: &'a str,
        /// What it turned out to be.
        record: &'a LayerRecord,
    },
    /// A layer was sent and the registry has taken it.
    LayerUploaded {
        /// Which layer.
        layer_idx: usize,
        /// What the layer is.
        title: &'a str,
        /// What it turned out to be.
        record: &'a LayerRecord,
    },
    /// The registry has the config.
    ConfigDone {
        /// The config's digest.
        digest: Digest,
        /// False if the registry had it already.
        uploaded: bool,
    },
    /// The registry has the manifest, under its digest.
    ManifestDone {
        /// The manifest's digest.
        digest: Digest,
    },
    /// A tag names the manifest now.
    TagDone {
        /// The tag.
        tag: &'a str,
    },
}

/// Hears what happens while a push runs, from several threads at once.
pub trait PushObserver: Sync {
    /// Something happened. The push waits until this returns.
    fn event(&self, event: &PushEvent<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentObserver;

impl PushObserver for SilentObserver {
    fn event(&self, _event: &PushEvent<'_>) {}
}

/// How a layer came to be in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerOutcome {
    /// The registry had it, or another layer of this push with the same digest put it there.
    AlreadyThere,
    /// It was sent.
    Uploaded {
        /// How many bytes went to the network.
        bytes: u64,
    },
}

/// A layer of an image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedLayer {
    /// What the layer is.
    pub title: String,
    /// What it turned out to be.
    pub record: LayerRecord,
    /// How it came to be in the registry.
    pub outcome: LayerOutcome,
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushReport {
    /// The manifest's digest: the image's digest.
    pub manifest_digest: Digest,
    /// The number of the manifest's bytes.
    pub manifest_size_bytes: u64,
    /// The config's digest.
    pub config_digest: Digest,
    /// The number of the config's bytes.
    pub config_size_bytes: u64,
    /// False if the registry had the config already.
    pub config_uploaded: bool,
    /// The layers, bottom first.
    pub layers: Vec<PushedLayer>,
    /// The tags that name the manifest now, in the order given.
    pub tags: Vec<String>,
}

impl PushReport {
    /// How many bytes of layers were sent; [`u64::MAX`] if they are more.
    #[must_use]
    pub fn layer_bytes_sent(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| match layer.outcome {
                LayerOutcome::Uploaded { bytes } => bytes,
                LayerOutcome::AlreadyThere => 0,
            })
            .fold(0, u64::saturating_add)
    }

    /// How many bytes of layers were in the registry already; [`u64::MAX`] if they are more. The sizes may be what a
    /// manifest of someone else says.
    #[must_use]
    pub fn layer_bytes_already_there(&self) -> u64 {
        self.layers
            .iter()
            .filter(|layer| layer.outcome == LayerOutcome::AlreadyThere)
            .map(|layer| layer.record.size_bytes)
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_oci::{DiffId, LayerDigest, MediaType};

    #[test]
    fn sums_of_claimed_sizes_stop_at_the_largest_number() {
        let layer = |outcome| PushedLayer {
            title: String::new(),
            record: LayerRecord {
                diff_id: DiffId::of(b""),
                digest: LayerDigest::of(b""),
                size_bytes: u64::MAX,
                media_type: MediaType::OciLayerTar,
            },
            outcome,
        };
        let sent = || layer(LayerOutcome::Uploaded { bytes: u64::MAX });
        let there = || layer(LayerOutcome::AlreadyThere);
        let report = PushReport {
            manifest_digest: Digest::of(b""),
            manifest_size_bytes: 0,
            config_digest: Digest::of(b""),
            config_size_bytes: 0,
            config_uploaded: false,
            layers: vec![sent(), there(), sent(), there()],
            tags: Vec::new(),
        };
        assert_eq!(report.layer_bytes_sent(), u64::MAX);
        assert_eq!(report.layer_bytes_already_there(), u64::MAX);
    }

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
