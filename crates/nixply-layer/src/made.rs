//! A layer that is made from the store when a sink asks for it.

use crate::compression_pool::CompressionPool;
use crate::error::WriteLayerError;
use crate::spec::{LayerSpec, StoreRoot};
use crate::write::write_layer;
use nixply_oci::{Layer, LayerError, LayerKey, LayerRecord, MediaType};
use std::io::Write;

/// A layer of a spec and the store that holds its contents.
#[derive(Debug, Clone)]
pub struct MadeLayer {
    spec: LayerSpec,
    store: StoreRoot,
    pool: CompressionPool,
    key: LayerKey,
}

impl MadeLayer {
    /// Joins a spec and a store. `pool` compresses.
    #[must_use]
    pub fn new(spec: LayerSpec, store: StoreRoot, pool: CompressionPool) -> Self {
        Self {
            key: spec.key(),
            spec,
            store,
            pool,
        }
    }
}

impl Layer for MadeLayer {
    fn key(&self) -> Option<LayerKey> {
        Some(self.key)
    }

    fn known(&self) -> Option<LayerRecord> {
        None
    }

    fn media_type(&self) -> MediaType {
        self.spec.compression.media_type()
    }

    fn weight_bytes(&self) -> u64 {
        self.spec.weight_bytes()
    }

    fn title(&self) -> String {
        self.spec.title()
    }

    fn write_blob(&self, out: &mut dyn Write) -> Result<LayerRecord, LayerError> {
        write_layer(&self.spec, &self.store, &self.pool, out).map_err(|error| match error {
            WriteLayerError::Sink(source) => LayerError::Sink(source),
            other => LayerError::Make(Box::new(other)),
        })
    }
}
