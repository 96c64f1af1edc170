//! What is settled at once: the layers of an image that are made from the same things.

use crate::{LayerOutcome, RecordSource};
use nixply_oci::{Image, LayerKey, LayerRecord, MediaType};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Layers of an image that have the same key: made once, sent once.
#[derive(Debug)]
pub(crate) struct Group {
    /// The layers, by index; never empty.
    pub(crate) layers: Vec<usize>,
    weight_bytes: u64,
}

impl Group {
    /// The layer that is made for all of them.
    pub(crate) fn first(&self) -> usize {
        self.layers[0]
    }

    /// Groups an image's layers, biggest first, and by index where sizes are the same.
    pub(crate) fn of_image(image: &dyn Image) -> Vec<Self> {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum Same {
            Key(LayerKey, MediaType),
            Nothing(usize),
        }
        let mut groups: BTreeMap<Same, Self> = BTreeMap::new();
        for (layer_idx, layer) in image.layers().iter().enumerate() {
            let same = match layer.key() {
                Some(key) => Same::Key(key, layer.media_type()),
                None => Same::Nothing(layer_idx),
            };
            let group = groups.entry(same).or_insert_with(|| Self {
                layers: Vec::new(),
                weight_bytes: layer.weight_bytes(),
            });
            group.layers.push(layer_idx);
        }
        let mut groups: Vec<Self> = groups.into_values().collect();
        groups.sort_by_key(|group| (Reverse(group.weight_bytes), group.first()));
        groups
    }
}

/// What became of a group.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// What its layers are; `None` only in a dry run.
    pub(crate) record: Option<LayerRecord>,
    pub(crate) outcome: LayerOutcome,
    pub(crate) source: RecordSource,
    pub(crate) times_made: u32,
}

impl Settled {
    /// The outcome of the layer at a position of the group: only the first one's bytes went over the wire.
    pub(crate) fn outcome_at(&self, position: usize) -> &LayerOutcome {
        match (position, &self.outcome) {
            (1.., LayerOutcome::Uploaded { .. }) => &LayerOutcome::Present,
            (_, outcome) => outcome,
        }
    }
}
