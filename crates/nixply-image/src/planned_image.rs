//! A plan joined to a store: an image that any sink can take.

use crate::finish::{ManifestFormat, finish};
use crate::{Plan, PlanError};
use nixply_layer::{Compression, CompressionPool, MadeLayer, StoreRoot};
use nixply_oci::{FinishedImage, Image, ImageError, Layer, LayerRecord, Platform};

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
    /// Layers are compressed on `pool`.
    pub fn new(plan: Plan, store: &StoreRoot, pool: &CompressionPool) -> Result<Self, PlanError> {
        let layers = plan
            .layer_specs()?
            .into_iter()
            .map(|spec| {
                Box::new(MadeLayer::new(spec, store.clone(), pool.clone())) as Box<dyn Layer>
            })
            .collect();
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
        if format == ManifestFormat::Docker && !matches!(compression, Compression::Gzip { .. }) {
            return Err(PlanError::NotForDocker { compression });
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
