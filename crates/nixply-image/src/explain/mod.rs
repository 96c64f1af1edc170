//! Why an image is as it is: what put paths together into layers, and what a path is there for.
//!
//! # Duty
//!
//! [`explain_layers`] gives each layer a reason: the one that the plan records, else what its structure tells.
//! [`ImageGraph`] answers why a path is in the image at all: by the shortest chains of references from the roots.
//! [`find_path`] reads what people call a path. Nothing here reads a layer or asks Nix.

mod find;
mod graph;

pub use find::{MIN_HASH_DIGITS, PathQuery, find_path};
pub use graph::{ImageGraph, Users};

use crate::contents::{ImageContents, LayerHolds, LayerOutline};
use crate::{LayerReasonRecord, Plan, PlannedLayer};
use nixply_store::StorePath;

/// Why a layer holds what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerWhy {
    /// One path.
    Alone,
    /// A path, and others that came into its layer because of it: small dependencies of one that change no more often.
    Riders,
    /// Paths that come and go together: the same package sets hold all of them.
    Together,
    /// Everything in it is a dependency, direct or not, of one path in it. Told by structure.
    Headed,
    /// Small groups that share a layer because each of its own would cost more than it saves.
    Small,
    /// Groups that are too small for a layer of their own.
    Rest,
    /// What the image itself asks for and has no layer of its own, where it is not known what changes with every version.
    AskedFor,
    /// A layer of the prior image, as it was.
    Prior,
    /// The roots and what else is with them. Told by structure.
    Roots,
    /// Several paths, and neither the plan nor their structure tells why. Told by structure.
    Grouped,
    /// New in every version of the image.
    Volatile,
    /// Files outside the store.
    RootFiles,
    /// Nobody says what it holds.
    Unknown,
}

/// A layer's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerExplanation {
    /// The reason.
    pub why: LayerWhy,
    /// True where the plan records it; false where structure tells it.
    pub recorded: bool,
    /// The path that the others are there for.
    pub head: Option<StorePath>,
    /// Paths and what each rides on, in the order of the layer's paths.
    pub riders: Vec<(StorePath, StorePath)>,
    /// The package sets that hold every path of the layer, by name, where they are few.
    pub sets: Vec<String>,
    /// How many package sets hold every path of the layer; none without a catalog.
    pub set_count: Option<usize>,
}

impl LayerExplanation {
    fn of(why: LayerWhy) -> Self {
        Self {
            why,
            recorded: false,
            head: None,
            riders: Vec::new(),
            sets: Vec::new(),
            set_count: None,
        }
    }
}

/// Explains every layer, bottom first. Without a plan, or one that gives reasons, structure tells what it can; without
/// references that is little.
#[must_use]
pub fn explain_layers(
    contents: &ImageContents,
    plan: Option<&Plan>,
    graph: Option<&ImageGraph<'_>>,
) -> Vec<LayerExplanation> {
    contents
        .layers
        .iter()
        .enumerate()
        .map(|(idx, layer)| {
            let planned = plan.and_then(|plan| plan.layers.get(idx));
            planned
                .and_then(|planned| recorded(contents, planned))
                .unwrap_or_else(|| by_structure(layer, graph))
        })
        .collect()
}

fn recorded(contents: &ImageContents, planned: &PlannedLayer) -> Option<LayerExplanation> {
    let PlannedLayer::Store {
        reason,
        head,
        sets,
        set_count,
        paths,
        ..
    } = planned
    else {
        return None;
    };
    let parse = |text: &String| contents.store_dir.parse(text).ok();
    let riders: Vec<(StorePath, StorePath)> = paths
        .iter()
        .filter_map(|planned| Some((parse(&planned.path)?, parse(planned.rides_on.as_ref()?)?)))
        .collect();
    let why = match reason.as_ref()? {
        LayerReasonRecord::Group if paths.len() == 1 => LayerWhy::Alone,
        LayerReasonRecord::Group if riders.is_empty() => LayerWhy::Together,
        LayerReasonRecord::Group => LayerWhy::Riders,
        LayerReasonRecord::Small => LayerWhy::Small,
        LayerReasonRecord::Rest => LayerWhy::Rest,
        LayerReasonRecord::AskedFor => LayerWhy::AskedFor,
        LayerReasonRecord::Volatile => LayerWhy::Volatile,
        LayerReasonRecord::Prior => LayerWhy::Prior,
        LayerReasonRecord::Unknown => return None,
    };
    Some(LayerExplanation {
        recorded: true,
        head: head.as_ref().and_then(parse),
        riders,
        sets: sets.clone(),
        set_count: *set_count,
        ..LayerExplanation::of(why)
    })
}

fn by_structure(layer: &LayerOutline, graph: Option<&ImageGraph<'_>>) -> LayerExplanation {
    let paths = match &layer.holds {
        LayerHolds::RootFiles(_) => return LayerExplanation::of(LayerWhy::RootFiles),
        LayerHolds::Unknown(_) => return LayerExplanation::of(LayerWhy::Unknown),
        LayerHolds::StorePaths(paths) => paths,
    };
    if let [only] = paths.as_slice() {
        return LayerExplanation {
            head: Some(only.path.clone()),
            ..LayerExplanation::of(LayerWhy::Alone)
        };
    }
    let Some(graph) = graph else {
        return LayerExplanation::of(LayerWhy::Grouped);
    };
    let members: Vec<&StorePath> = paths.iter().map(|held| &held.path).collect();
    match graph.head_of(&members) {
        Some(head) => LayerExplanation {
            head: Some(head),
            ..LayerExplanation::of(LayerWhy::Headed)
        },
        None if members.iter().any(|path| graph.is_root(path)) => {
            LayerExplanation::of(LayerWhy::Roots)
        }
        None => LayerExplanation::of(LayerWhy::Grouped),
    }
}

#[cfg(test)]
mod tests;
