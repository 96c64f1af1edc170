//! A plan joined to a store: an image that any sink can take.

use crate::base::BaseLayer;
use crate::finish::{ManifestFormat, finish};
use crate::{Plan, PlanError, PlannedLayer};
use nixply_layer::{Compression, CompressionPool, MadeLayer, StoreRoot};
use nixply_oci::{
    FinishedImage, Image, ImageError, Layer, LayerRecord, LayerSource, MediaType, Platform,
};
use std::sync::Arc;

/// An image whose layers are made from a store when a sink asks for them.
#[derive(Debug)]
pub struct PlannedImage {
    plan: Plan,
    layers: Vec<Box<dyn Layer>>,
    manifest_format: ManifestFormat,
}

impl PlannedImage {
    /// Joins a plan to the place of its store directory.
    ///
    /// Layers are compressed on `pool`. The layers of a base image are out of reach: it can be pushed to where they are
    /// already, and that is all.
    pub fn new(plan: Plan, store: &StoreRoot, pool: &CompressionPool) -> Result<Self, PlanError> {
        Self::join(plan, store, pool, None)
    }

    /// Joins a plan to the place of its store directory, and to what gives the layers of its base image.
    pub fn over_base(
        plan: Plan,
        store: &StoreRoot,
        pool: &CompressionPool,
        base_layers: &Arc<dyn LayerSource>,
    ) -> Result<Self, PlanError> {
        Self::join(plan, store, pool, Some(base_layers))
    }

    fn join(
        plan: Plan,
        store: &StoreRoot,
        pool: &CompressionPool,
        base_layers: Option<&Arc<dyn LayerSource>>,
    ) -> Result<Self, PlanError> {
        let specs = plan.layer_specs()?;
        let mut layers: Vec<Box<dyn Layer>> = Vec::with_capacity(specs.len());
        for (layer, spec) in plan.layers.iter().zip(specs) {
            if let Some(spec) = spec {
                layers.push(Box::new(MadeLayer::new(spec, store.clone(), pool.clone())));
            } else if let PlannedLayer::Base(base) = layer {
                layers.push(Box::new(BaseLayer::new(
                    base.clone(),
                    plan.compression,
                    pool.clone(),
                    base_layers.cloned(),
                )));
            }
        }
        Ok(Self {
            plan,
            layers,
            manifest_format: ManifestFormat::default(),
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The same image with its manifest in another form.
    ///
    /// # Errors
    /// [`PlanError::NotForDocker`] where the layers are compressed in a way that the form has no media type for.
    pub fn with_manifest_format(mut self, format: ManifestFormat) -> Result<Self, PlanError> {
        let compression = self.plan.compression;
        if format == ManifestFormat::Docker {
            if !matches!(compression, Compression::Gzip { .. }) {
                return Err(PlanError::NotForDocker { compression });
            }
            let mut media_types = self.layers.iter().map(|layer| layer.media_type());
            if media_types.any(|media_type| media_type == MediaType::OciLayerTarZstd) {
                return Err(PlanError::BaseNotForDocker);
            }
        }
        self.manifest_format = format;
        Ok(self)
    }
}

impl Image for PlannedImage {
    fn layers(&self) -> &[Box<dyn Layer>] {
        &self.layers
    }

    fn platform(&self) -> &Platform {
        &self.plan.platform
    }

    fn finish(&self, records: &[LayerRecord]) -> Result<FinishedImage, ImageError> {
        finish(&self.plan, records, self.manifest_format)
    }
}
