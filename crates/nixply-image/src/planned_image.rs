//! A plan joined to a store: an image that any sink can take.

use crate::finish::finish;
use crate::{Plan, PlanError};
use nixply_layer::{MadeLayer, StoreRoot};
use nixply_oci::{FinishedImage, Image, ImageError, Layer, LayerKey, LayerRecord, Platform};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An image whose layers are made from a store when a sink asks for them.
#[derive(Debug)]
pub struct PlannedImage {
    plan: Plan,
    layers: Vec<Box<dyn Layer>>,
}

impl PlannedImage {
    /// Joins a plan to the place of its store directory.
    ///
    /// Layers are compressed on `pool`. `records` tells what layers are by their keys; a layer that it knows is not
    /// made by a sink that has it already.
    pub fn new(
        plan: Plan,
        store: &StoreRoot,
        pool: &Arc<rayon::ThreadPool>,
        records: &BTreeMap<LayerKey, LayerRecord>,
    ) -> Result<Self, PlanError> {
        let layers = plan
            .layer_specs()?
            .into_iter()
            .map(|spec| {
                let known = records.get(&spec.key()).cloned();
                let layer = MadeLayer::new(spec, store.clone(), Arc::clone(pool), known);
                Box::new(layer) as Box<dyn Layer>
            })
            .collect();
        Ok(Self { plan, layers })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
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
        finish(&self.plan, records)
    }
}
