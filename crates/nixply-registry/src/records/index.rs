//! The layer index: what a fleet knows of its layers, as a document.
//!
//! It lists images and, newest first, layers with the images that have them. An image is named by repository and digest,
//! so that one request tells whether all of its layers are still there: a registry keeps the blobs of a manifest that it
//! has. `docs/records.md` describes the form.

use nixply_oci::{Digest, LayerKey, LayerRecord, MediaType, RepositoryName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The form of the document.
const SCHEMA: &str = "nixply.layers/1";

/// How many layers an index knows: 40 projects of 100 layers each, in some 1.5 MB.
const LAYERS_MAX: usize = 4096;

/// How many images are named as having one layer, the newest first. One that can be mounted from is enough; the others
/// are for when it is gone, or may not be read.
const IMAGES_PER_LAYER_MAX: usize = 8;

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexedImage {
    /// The repository that it was pushed to.
    pub(crate) repository: RepositoryName,
    /// The digest of its manifest.
    pub(crate) digest: Digest,
}

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IndexedLayer {
    key: LayerKey,
    record: LayerRecord,
    /// Newest first; at most one of each repository.
    images: Vec<IndexedImage>,
}

/// The layers that a fleet has pushed, the one used last first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LayerIndex {
    layers: Vec<IndexedLayer>,
}

/// The document as it stands in a registry.
#[derive(Serialize, Deserialize)]
struct Document {
    schema: String,
    images: Vec<DocumentImage>,
    layers: Vec<DocumentLayer>,
}

#[derive(Serialize, Deserialize)]
struct DocumentImage {
    repository: String,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct DocumentLayer {
    key: LayerKey,
    diff_id: nixply_oci::DiffId,
    digest: nixply_oci::LayerDigest,
    size_bytes: u64,
    media_type: MediaType,
    /// Indices into `images`.
    images: Vec<usize>,
}

impl LayerIndex {
    /// Reads the document. Entries that make no sense are left out; another form is none at all.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(bytes)?;
        if document.schema != SCHEMA {
            let problem = format!("expected {SCHEMA}, found {}", document.schema);
            return Err(serde::de::Error::custom(problem));
        }
        let images: Vec<Option<IndexedImage>> = document
            .images
            .into_iter()
            .map(|image| {
                Some(IndexedImage {
                    repository: image.repository.parse().ok()?,
                    digest: image.digest,
                })
            })
            .collect();
        let mut seen = BTreeSet::new();
        let layers = document
            .layers
            .into_iter()
            .filter(|layer| seen.insert(layer.key))
            .take(LAYERS_MAX)
            .map(|layer| IndexedLayer {
                key: layer.key,
                record: LayerRecord {
                    diff_id: layer.diff_id,
                    digest: layer.digest,
                    size_bytes: layer.size_bytes,
                    media_type: layer.media_type,
                },
                images: layer
                    .images
                    .iter()
                    .filter_map(|&image| images.get(image)?.clone())
                    .take(IMAGES_PER_LAYER_MAX)
                    .collect(),
            })
            .collect();
        Ok(Self { layers })
    }

    /// Writes the document.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut positions: BTreeMap<&IndexedImage, usize> = BTreeMap::new();
        let mut images = Vec::new();
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let mut of_layer = Vec::with_capacity(layer.images.len());
            for image in &layer.images {
                let position = *positions.entry(image).or_insert_with(|| {
                    images.push(DocumentImage {
                        repository: image.repository.to_string(),
                        digest: image.digest,
                    });
                    images.len() - 1
                });
                of_layer.push(position);
            }
            layers.push(DocumentLayer {
                key: layer.key,
                diff_id: layer.record.diff_id,
                digest: layer.record.digest,
                size_bytes: layer.record.size_bytes,
                media_type: layer.record.media_type.clone(),
                images: of_layer,
            });
        }
        serde_json::to_vec(&Document {
            schema: SCHEMA.to_owned(),
            images,
            layers,
        })
    }

    /// What is known of a layer, and the images that have it, newest first.
    pub(crate) fn find(&self, key: LayerKey) -> Option<(&LayerRecord, &[IndexedImage])> {
        let layer = self.layers.iter().find(|layer| layer.key == key)?;
        Some((&layer.record, &layer.images))
    }

    /// Notes that an image was pushed. Its layers come first; those that were not used for longest fall out.
    ///
    /// Returns false if the index says all of that already, and not only in its older half.
    pub(crate) fn note(
        &mut self,
        image: &IndexedImage,
        layers: &[(LayerKey, LayerRecord)],
    ) -> bool {
        let young = LAYERS_MAX / 2;
        let says_so = |(key, record): &(LayerKey, LayerRecord)| {
            self.layers.iter().take(young).any(|layer| {
                layer.key == *key && layer.record == *record && layer.images.contains(image)
            })
        };
        if layers.iter().all(says_so) {
            return false;
        }
        let mut old: BTreeMap<LayerKey, Vec<IndexedImage>> = BTreeMap::new();
        let keys: BTreeSet<LayerKey> = layers.iter().map(|(key, _)| *key).collect();
        self.layers.retain(|layer| {
            let is_noted = keys.contains(&layer.key);
            if is_noted {
                old.insert(layer.key, layer.images.clone());
            }
            !is_noted
        });
        let mut seen = BTreeSet::new();
        let mut noted: Vec<IndexedLayer> = Vec::with_capacity(layers.len());
        for (key, record) in layers {
            if !seen.insert(*key) {
                continue;
            }
            let others = old.remove(key).unwrap_or_default();
            let others = others
                .into_iter()
                .filter(|other| other.repository != image.repository);
            noted.push(IndexedLayer {
                key: *key,
                record: record.clone(),
                images: std::iter::once(image.clone())
                    .chain(others)
                    .take(IMAGES_PER_LAYER_MAX)
                    .collect(),
            });
        }
        noted.append(&mut self.layers);
        noted.truncate(LAYERS_MAX);
        self.layers = noted;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_oci::{DiffId, LayerDigest};
    use proptest::prelude::*;

    fn image(repository: &str, n: usize) -> IndexedImage {
        IndexedImage {
            repository: format!("h.example/{repository}").parse().unwrap(),
            digest: Digest::of(format!("image {n}").as_bytes()),
        }
    }

    fn layer(n: usize) -> (LayerKey, LayerRecord) {
        let bytes = format!("layer {n}");
        let record = LayerRecord {
            diff_id: DiffId::of(bytes.as_bytes()),
            digest: LayerDigest::of(format!("{bytes} compressed").as_bytes()),
            size_bytes: n as u64,
            media_type: MediaType::OciLayerTarGzip,
        };
        (LayerKey::of(bytes.as_bytes()), record)
    }

    #[test]
    fn the_document_is_this() {
        let mut index = LayerIndex::default();
        assert!(index.note(&image("a", 1), &[layer(1), layer(2)]));
        assert!(index.note(&image("b", 2), &[layer(2)]));
        let value: serde_json::Value = serde_json::from_slice(&index.to_json().unwrap()).unwrap();
        let (key, record) = layer(2);
        assert_eq!(
            value,
            serde_json::json!({
                "schema": "nixply.layers/1",
                "images": [
                    {"repository": "h.example/b", "digest": image("b", 2).digest.to_string()},
                    {"repository": "h.example/a", "digest": image("a", 1).digest.to_string()},
                ],
                "layers": [
                    {
                        "key": key.to_string(),
                        "diff_id": record.diff_id.to_string(),
                        "digest": record.digest.to_string(),
                        "size_bytes": 2,
                        "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "images": [0, 1],
                    },
                    {
                        "key": layer(1).0.to_string(),
                        "diff_id": layer(1).1.diff_id.to_string(),
                        "digest": layer(1).1.digest.to_string(),
                        "size_bytes": 1,
                        "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
                        "images": [1],
                    },
                ],
            })
        );
    }

    #[test]
    fn projects_that_share_layers_do_not_write_by_turns() {
        let mut index = LayerIndex::default();
        assert!(index.note(&image("a", 1), &[layer(1), layer(2)]));
        assert!(index.note(&image("b", 2), &[layer(2), layer(3)]));
        assert!(!index.note(&image("a", 1), &[layer(1), layer(2)]));
        assert!(!index.note(&image("b", 2), &[layer(2), layer(3)]));
    }

    #[test]
    fn a_newer_image_of_a_repository_takes_the_place_of_the_older() {
        let mut index = LayerIndex::default();
        index.note(&image("a", 1), &[layer(1), layer(2)]);
        index.note(&image("a", 2), &[layer(2)]);
        assert_eq!(index.find(layer(2).0).unwrap().1, [image("a", 2)]);
        assert_eq!(index.find(layer(1).0).unwrap().1, [image("a", 1)]);
        assert_eq!(index.find(layer(3).0), None);
    }

    #[test]
    fn what_was_not_used_for_longest_falls_out() {
        let mut index = LayerIndex::default();
        let n = LAYERS_MAX;
        let all: Vec<_> = (0..n).map(layer).collect();
        index.note(&image("a", 1), &all);
        index.note(&image("a", 2), &[layer(n - 1)]);
        index.note(&image("a", 3), &[layer(n), layer(n + 1)]);
        assert_eq!(index.layers.len(), LAYERS_MAX);
        assert!(index.find(layer(n - 1).0).is_some());
        assert!(index.find(layer(n - 2).0).is_none());
        assert!(index.find(layer(n - 4).0).is_some());
        assert!(index.to_json().unwrap().len() < 2 << 20);
    }

    #[test]
    fn another_form_is_refused_and_senseless_entries_are_left_out() {
        assert!(LayerIndex::from_json(b"{}").is_err());
        let other = br#"{"schema":"nixply.layers/2","images":[],"layers":[]}"#;
        let error = LayerIndex::from_json(other).unwrap_err().to_string();
        assert!(error.contains("expected nixply.layers/1"), "{error}");

        let mut index = LayerIndex::default();
        index.note(&image("a", 1), &[layer(1)]);
        let mut value: serde_json::Value =
            serde_json::from_slice(&index.to_json().unwrap()).unwrap();
        value["layers"][0]["images"] = serde_json::json!([7, 0]);
        value["images"][0]["repository"] = serde_json::json!("NO");
        let found = LayerIndex::from_json(value.to_string().as_bytes()).unwrap();
        assert_eq!(found.find(layer(1).0).unwrap().1, []);
    }

    proptest! {
        #[test]
        fn notes_survive_the_document(
            pushes in prop::collection::vec((0usize..4, 0usize..3, prop::collection::vec(0usize..9, 1..6)), 1..8)
        ) {
            let mut index = LayerIndex::default();
            for (repository, n, layers) in &pushes {
                let name = ["a", "b", "c", "d"][*repository];
                let layers: Vec<_> = layers.iter().map(|&n| layer(n)).collect();
                index.note(&image(name, *n), &layers);
                prop_assert!(!index.note(&image(name, *n), &layers), "noted already");
                for (key, record) in &layers {
                    let (found, images) = index.find(*key).unwrap();
                    prop_assert_eq!(found, record);
                    prop_assert!(images.contains(&image(name, *n)));
                }
            }
            let read = LayerIndex::from_json(&index.to_json().unwrap()).unwrap();
            prop_assert_eq!(read, index);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = LayerIndex::from_json(&bytes);
        }
    }
}
