//! What a push tells while it runs, and what it was.

use crate::{RegistryError, Traffic};
use nixply_oci::{Digest, ImageReference, LayerRecord, RepositoryName};
use std::fmt;

/// How it is known what a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordSource {
    /// The image says it by itself.
    Image,
    /// This machine's records.
    Local,
    /// The manifest of an image in a registry.
    Manifest(ImageReference),
    /// The layer index.
    Index(ImageReference),
    /// The layer was made.
    Made,
}

impl fmt::Display for RecordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("the image itself"),
            Self::Local => f.write_str("this machine's records"),
            Self::Manifest(image) => write!(f, "the image {image}"),
            Self::Index(index) => write!(f, "the layer index {index}"),
            Self::Made => f.write_str("the layer, which was made"),
        }
    }
}

/// How a layer came to be in the repository; in a dry run, how it would.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerOutcome {
    /// The repository had it, or another layer of this push with the same digest put it there.
    Present,
    /// The registry took it from another of its repositories.
    Mounted {
        /// Which.
        from: RepositoryName,
    },
    /// It was sent.
    Uploaded {
        /// How many bytes went to the network, those of attempts that failed included. In a dry run the record's size,
        /// or 0 where there is no record.
        bytes: u64,
    },
}

/// What happens while a push runs. `layer_idx` counts the image's layers from the bottom, from 0.
#[derive(Debug)]
#[non_exhaustive]
pub enum PushEvent<'a> {
    /// A source of records was read.
    RecordsFound {
        /// Which source.
        source: &'a RecordSource,
        /// How many layers of the image it knew that no earlier source did.
        layers: usize,
    },
    /// A source of records could not be read, or the layer index not be written; the push goes on without.
    RecordsFailed {
        /// Which source.
        source: &'a RecordSource,
        /// Why.
        error: &'a RegistryError,
    },
    /// A record proved to be wrong; the layer is made and sent as it really is.
    RecordWrong {
        /// Which layer.
        layer_idx: usize,
        /// What the layer is.
        title: &'a str,
        /// Where the record came from.
        source: &'a RecordSource,
    },
    /// A layer's bytes are being made. May come again where an upload broke off.
    LayerStarted {
        /// Which layer.
        layer_idx: usize,
        /// What the layer is.
        title: &'a str,
        /// About how many bytes are read for it.
        weight_bytes: u64,
    },
    /// Bytes of a layer were made, as many as are sent for them.
    BytesMade {
        /// Which layer.
        layer_idx: usize,
        /// How many since the last such event of this layer. The last few are told by [`PushEvent::LayerMade`] alone.
        bytes: u64,
    },
    /// A layer was made and waits for the network or goes out meanwhile.
    LayerMade {
        /// Which layer.
        layer_idx: usize,
        /// How many bytes the layer has on the wire.
        size_bytes: u64,
    },
    /// Bytes of a layer went to the network.
    BytesSent {
        /// Which layer.
        layer_idx: usize,
        /// How many since the last such event of this layer.
        bytes: u64,
    },
    /// An upload broke off and the layer is made again; `resumed_at_bytes` of it need not be sent again.
    LayerRestarted {
        /// Which layer.
        layer_idx: usize,
        /// What the layer is.
        title: &'a str,
        /// Where the upload goes on.
        resumed_at_bytes: u64,
        /// Why it broke off.
        error: &'a RegistryError,
    },
    /// A layer is in the repository.
    LayerDone {
        /// Which layer.
        layer_idx: usize,
        /// What the layer is.
        title: &'a str,
        /// What it turned out to be.
        record: &'a LayerRecord,
        /// How it came there.
        outcome: &'a LayerOutcome,
        /// How it is known what it is.
        source: &'a RecordSource,
    },
    /// The repository has the config.
    ConfigDone {
        /// The config's digest.
        digest: Digest,
        /// False if it had it already.
        uploaded: bool,
    },
    /// The repository has the manifest, under its digest.
    ManifestDone {
        /// The manifest's digest.
        digest: Digest,
    },
    /// A tag names the manifest now.
    TagDone {
        /// The tag.
        tag: &'a str,
        /// False if it named it before.
        moved: bool,
    },
    /// The layer index knows the image's layers now.
    LayerIndexDone {
        /// Where it is.
        index: &'a ImageReference,
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

/// A layer of an image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedLayer {
    /// What the layer is.
    pub title: String,
    /// About how many bytes had to be read to make it once.
    pub weight_bytes: u64,
    /// How often it was made.
    pub times_made: u32,
    /// What it turned out to be; `None` only in a dry run, where nothing told.
    pub record: Option<LayerRecord>,
    /// How it came to be in the repository.
    pub outcome: LayerOutcome,
    /// How it is known what it is.
    pub source: RecordSource,
}

/// What a push did, or in a dry run would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushReport {
    /// The manifest's digest: the image's digest. `None` only in a dry run, where a layer is unknown.
    pub manifest_digest: Option<Digest>,
    /// True if every tag named this very image before.
    pub is_unchanged: bool,
    /// False if the repository had the config already.
    pub config_uploaded: bool,
    /// The layers, bottom first.
    pub layers: Vec<PushedLayer>,
    /// The tags that name the manifest now, in the order given.
    pub tags: Vec<String>,
    /// What went over the network, from the start of the client.
    pub traffic: Traffic,
}

impl PushReport {
    /// How many bytes of layers were sent; [`u64::MAX`] if they are more.
    #[must_use]
    pub fn layer_bytes_sent(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| match layer.outcome {
                LayerOutcome::Uploaded { bytes } => bytes,
                _ => 0,
            })
            .fold(0, u64::saturating_add)
    }

    /// How many bytes of layers need not be sent; [`u64::MAX`] if they are more. The sizes may be what a manifest of
    /// someone else says.
    #[must_use]
    pub fn layer_bytes_not_sent(&self) -> u64 {
        self.layers
            .iter()
            .filter(|layer| !matches!(layer.outcome, LayerOutcome::Uploaded { .. }))
            .filter_map(|layer| layer.record.as_ref())
            .map(|record| record.size_bytes)
            .fold(0, u64::saturating_add)
    }

    /// About how many bytes of the store were read to make layers; [`u64::MAX`] if they are more.
    #[must_use]
    pub fn store_bytes_read(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| layer.weight_bytes.saturating_mul(layer.times_made.into()))
            .fold(0, u64::saturating_add)
    }

    /// About how many bytes of the store did not have to be read; [`u64::MAX`] if they are more.
    #[must_use]
    pub fn store_bytes_not_read(&self) -> u64 {
        self.layers
            .iter()
            .filter(|layer| layer.times_made == 0)
            .map(|layer| layer.weight_bytes)
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_oci::{DiffId, LayerDigest, MediaType};

    #[test]
    fn sums_of_claimed_sizes_stop_at_the_largest_number() {
        let layer = |outcome, times_made| PushedLayer {
            title: String::new(),
            weight_bytes: u64::MAX,
            times_made,
            record: Some(LayerRecord {
                diff_id: DiffId::of(b""),
                digest: LayerDigest::of(b""),
                size_bytes: u64::MAX,
                media_type: MediaType::OciLayerTar,
            }),
            outcome,
            source: RecordSource::Made,
        };
        let sent = || layer(LayerOutcome::Uploaded { bytes: u64::MAX }, 2);
        let there = || layer(LayerOutcome::Present, 0);
        let report = PushReport {
            manifest_digest: None,
            is_unchanged: false,
            config_uploaded: false,
            layers: vec![sent(), there(), sent(), there()],
            tags: Vec::new(),
            traffic: Traffic::default(),
        };
        assert_eq!(report.layer_bytes_sent(), u64::MAX);
        assert_eq!(report.layer_bytes_not_sent(), u64::MAX);
        assert_eq!(report.store_bytes_read(), u64::MAX);
        assert_eq!(report.store_bytes_not_read(), u64::MAX);
    }
}
