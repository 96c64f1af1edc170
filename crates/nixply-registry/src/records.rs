//! What an earlier push left behind: the records of an image's layers.

use crate::read::Stored;
use crate::repository::Access;
use crate::{Client, RegistryError};
use nixply_oci::{
    ANNOTATION_LAYER_DIFF_ID, ANNOTATION_LAYER_KEY, Descriptor, ImageReference, LayerKey,
    LayerRecord, MediaType,
};
use std::collections::BTreeMap;

/// How many images of an index are looked at.
const INDEX_MAX_IMAGES: usize = 16;

/// The media types of the layers that nixply makes.
const MADE_MEDIA_TYPES: [MediaType; 3] = [
    MediaType::OciLayerTar,
    MediaType::OciLayerTarGzip,
    MediaType::OciLayerTarZstd,
];

/// Reads the records of the layers of an image, of all images of an index, without reading a layer.
///
/// `None` if there is no such image. Layers without both annotations, or of a media type that nixply does not make, are
/// left out: other tools made them. What the records say is what whoever wrote the manifest says.
pub fn read_records(
    client: &Client,
    reference: &ImageReference,
) -> Result<Option<BTreeMap<LayerKey, LayerRecord>>, RegistryError> {
    client.runtime().block_on(async {
        let repository = client.repository(reference, Access::Pull)?;
        let stored = match repository.stored(reference).await {
            Ok(stored) => stored,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut records = BTreeMap::new();
        match stored {
            Stored::Manifest(_, manifest) => records.extend(records_of(&manifest.layers)),
            Stored::Index(index) => {
                for entry in index.manifests.iter().take(INDEX_MAX_IMAGES) {
                    let image = reference.with_digest(entry.digest);
                    if let Stored::Manifest(_, manifest) = repository.stored(&image).await? {
                        records.extend(records_of(&manifest.layers));
                    }
                }
            }
        }
        Ok(Some(records))
    })
}

fn records_of(layers: &[Descriptor]) -> impl Iterator<Item = (LayerKey, LayerRecord)> {
    layers.iter().filter_map(|layer| {
        if !MADE_MEDIA_TYPES.contains(&layer.media_type) {
            return None;
        }
        let annotation = |name: &str| layer.annotations.get(name);
        let key = annotation(ANNOTATION_LAYER_KEY)?.parse().ok()?;
        let record = LayerRecord {
            diff_id: annotation(ANNOTATION_LAYER_DIFF_ID)?.parse().ok()?,
            digest: layer.digest.into(),
            size_bytes: layer.size_bytes,
            media_type: layer.media_type.clone(),
        };
        Some((key, record))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_oci::DiffId;

    #[test]
    fn a_layer_has_a_record_if_it_has_both_annotations() {
        let key = LayerKey::of(b"key");
        let diff_id = DiffId::of(b"tar");
        let layer = |annotations: &[(&str, String)]| Descriptor {
            annotations: annotations
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            ..Descriptor::of(MediaType::OciLayerTarZstd, b"blob")
        };
        let with_key = (ANNOTATION_LAYER_KEY, key.to_string());
        let with_diff_id = (ANNOTATION_LAYER_DIFF_ID, diff_id.to_string());
        let whole = layer(&[with_key.clone(), with_diff_id.clone()]);
        let layers = [
            layer(&[]),
            layer(std::slice::from_ref(&with_key)),
            layer(std::slice::from_ref(&with_diff_id)),
            layer(&[
                (ANNOTATION_LAYER_KEY, "sha256:1".to_owned()),
                with_diff_id.clone(),
            ]),
            Descriptor {
                media_type: MediaType::DockerLayerTarGzip,
                ..whole.clone()
            },
            Descriptor {
                media_type: MediaType::from("application/x"),
                ..whole.clone()
            },
            layer(&[with_key, (ANNOTATION_LAYER_DIFF_ID, "sha256:1".to_owned())]),
            whole.clone(),
        ];
        let expected = LayerRecord {
            diff_id,
            digest: whole.digest.into(),
            size_bytes: whole.size_bytes,
            media_type: MediaType::OciLayerTarZstd,
        };
        assert_eq!(records_of(&layers).collect::<Vec<_>>(), [(key, expected)]);
    }
}
