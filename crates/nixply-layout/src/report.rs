//! What a writer tells while it writes and when it is done.

use nixply_oci::{Digest, LayerRecord};

/// What became of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerOutcome {
    /// Its bytes were made and written.
    Written,
    /// The same blob was there already.
    AlreadyThere,
    /// A lower layer of the image has the same bytes, which stand there once.
    Repeated,
}

/// A layer of an image that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenLayer {
    /// The layer's own words.
    pub title: String,
    /// What the layer is.
    pub record: LayerRecord,
    /// What became of it.
    pub outcome: LayerOutcome,
}

/// An image that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteReport {
    /// The image's digest. A classic docker archive holds no manifest; there it is the digest that the image has anywhere
    /// else.
    pub manifest_digest: Digest,
    /// The digest of the config, which Docker calls the image ID.
    pub config_digest: Digest,
    /// The layers, bottom first.
    pub layers: Vec<WrittenLayer>,
}

/// Is told how writing goes on, from any thread.
pub trait WriteObserver: Sync {
    /// A layer's bytes are being made; `weight_bytes` is [`nixply_oci::Layer::weight_bytes`].
    fn layer_started(&self, layer_idx: usize, title: &str, weight_bytes: u64) {
        let _ = (layer_idx, title, weight_bytes);
    }

    /// So many more bytes of a layer were made.
    fn layer_bytes(&self, layer_idx: usize, n_bytes: u64) {
        let _ = (layer_idx, n_bytes);
    }

    /// A layer is where it has to be.
    fn layer_done(&self, layer_idx: usize, layer: &WrittenLayer) {
        let _ = (layer_idx, layer);
    }
}

/// Watches nothing.
impl WriteObserver for () {}
