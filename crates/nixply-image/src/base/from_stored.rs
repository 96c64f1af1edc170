//! A base from an image that exists already.

use super::{BaseDatabase, BaseError, BaseImage, BaseTree, PlannedBaseLayer};
use crate::nix_database::database_file;
use crate::{HeldPath, ImageContents, LayerHolds, PlannedLayer};
use nixply_layer::{Compression, FinishedTar, LayerContents, LayerFormat, LayerSpec, TarPlacement};
use nixply_oci::{
    Descriptor, DiffId, Digest, History, LayerKey, LayerPlace, MediaType, StoredImage,
};

use std::path::PathBuf;

impl BaseImage {
    /// Takes an image's layers as a base. `place` tells where a layer's bytes are; `tree` is what they were found to hold,
    /// where somebody has looked.
    ///
    /// Layers that are compressed are taken as they are. Those that are not are compressed with `compression`, where one is
    /// given, else taken as they are, too: what lies in a registry is not fetched for that.
    pub fn of_stored(
        image: &StoredImage,
        tree: Option<BaseTree>,
        compression: Option<Compression>,
        place: impl Fn(usize) -> LayerPlace,
    ) -> Result<Self, BaseError> {
        let descriptors = &image.manifest.layers;
        let diff_ids = &image.config.rootfs.diff_ids;
        if descriptors.len() != diff_ids.len() {
            return Err(BaseError::LayerCount {
                layers: descriptors.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let told = ImageContents::of_stored(image);
        let database = match &tree {
            Some(tree) => !tree.nix_database.is_empty(),
            None => tells_database(&told),
        };
        let mut layers = Vec::with_capacity(descriptors.len());
        for (layer_idx, (descriptor, diff_id)) in descriptors.iter().zip(diff_ids).enumerate() {
            let paths = if let Some(tree) = &tree {
                tree.store_paths_of(layer_idx)
            } else {
                let paths = told.layers[layer_idx].paths().iter();
                let text = |held: &HeldPath| told.store_dir.display(&held.path);
                paths.map(text).collect()
            };
            layers.push(PlannedLayer::Base(PlannedBaseLayer {
                paths,
                ..planned(
                    layer_idx,
                    descriptor,
                    *diff_id,
                    compression,
                    place(layer_idx),
                )?
            }));
        }
        Ok(Self {
            name: None,
            digest: Some(image.manifest_descriptor.digest),
            platform: image.config.platform.clone(),
            config: image.config.config.clone().unwrap_or_default(),
            history: whole_history(&image.config.history, diff_ids),
            layers,
            database: BaseDatabase::in_layers(database),
            tree,
        })
    }
}

/// Whether the history names Nix's database, as nixply writes it.
fn tells_database(told: &ImageContents) -> bool {
    let database = database_file(&told.store_dir);
    told.layers.iter().any(|layer| match &layer.holds {
        LayerHolds::RootFiles(files) => files.contains(&database),
        _ => false,
    })
}

fn planned(
    layer_idx: usize,
    descriptor: &Descriptor,
    diff_id: DiffId,
    compression: Option<Compression>,
    source: LayerPlace,
) -> Result<PlannedBaseLayer, BaseError> {
    let media_type = match &descriptor.media_type {
        MediaType::DockerLayerTar => MediaType::OciLayerTar,
        MediaType::DockerLayerTarGzip => MediaType::OciLayerTarGzip,
        known @ (MediaType::OciLayerTar
        | MediaType::OciLayerTarGzip
        | MediaType::OciLayerTarZstd) => known.clone(),
        other => {
            return Err(BaseError::MediaType {
                layer_idx,
                media_type: other.clone(),
            });
        }
    };
    let compression = compression.filter(|compression| {
        media_type == MediaType::OciLayerTar && *compression != Compression::None
    });
    Ok(match compression {
        Some(compression) => PlannedBaseLayer {
            descriptor: None,
            key: Some(tar_key(diff_id, compression)),
            size_bytes: Some(descriptor.size_bytes),
            diff_id,
            source,
            paths: Vec::new(),
        },
        None => PlannedBaseLayer {
            descriptor: Some(Descriptor {
                media_type,
                platform: None,
                ..descriptor.clone()
            }),
            key: None,
            size_bytes: None,
            diff_id,
            source,
            paths: Vec::new(),
        },
    })
}

/// The key of a tar that exists already and is compressed here: its diff ID and the compression.
pub(crate) fn tar_key(diff_id: DiffId, compression: Compression) -> LayerKey {
    let tar = FinishedTar {
        path: PathBuf::new(),
        diff_id,
        size_bytes: 0,
        placement: TarPlacement::default(),
    };
    LayerSpec {
        contents: LayerContents::Tar(tar),
        format: LayerFormat::Nixply,
        compression,
    }
    .key()
}

/// The history, where it has an entry for each layer; else one that does. Tools count.
fn whole_history(history: &[History], diff_ids: &[DiffId]) -> Vec<History> {
    let with_layer = history.iter().filter(|entry| !entry.empty_layer).count();
    if with_layer == diff_ids.len() {
        return history.to_vec();
    }
    let entry = |diff_id: &DiffId| History {
        comment: Some(format!(
            "layer {} of the base image",
            Digest::from_bytes(*diff_id.as_bytes())
        )),
        ..History::default()
    };
    diff_ids.iter().map(entry).collect()
}
