//! Records that the manifest of an image carries.

use nixply_oci::{
    ANNOTATION_LAYER_DIFF_ID, ANNOTATION_LAYER_KEY, Descriptor, LayerKey, LayerRecord, MediaType,
};

/// The records of layers that nixply made.
///
/// Layers without both annotations, or of a media type that nixply does not make, are left out: other tools made them.
/// Docker's gzip layers are the same bytes as OCI's and are told as those.
pub(crate) fn records_of(layers: &[Descriptor]) -> impl Iterator<Item = (LayerKey, LayerRecord)> {
    layers.iter().filter_map(|layer| {
        let media_type = match &layer.media_type {
            MediaType::DockerLayerTarGzip => MediaType::OciLayerTarGzip,
            made @ (MediaType::OciLayerTar
            | MediaType::OciLayerTarGzip
            | MediaType::OciLayerTarZstd) => made.clone(),
            _ => return None,
        };
        let annotation = |name: &str| layer.annotations.get(name);
        let key = annotation(ANNOTATION_LAYER_KEY)?.parse().ok()?;
        let record = LayerRecord {
            diff_id: annotation(ANNOTATION_LAYER_DIFF_ID)?.parse().ok()?,
            digest: layer.digest.into(),
            size_bytes: layer.size_bytes,
            media_type,
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
            ..Descriptor::of(MediaType::OciLayerTarGzip, b"blob")
        };
        let with_key = (ANNOTATION_LAYER_KEY, key.to_string());
        let with_diff_id = (ANNOTATION_LAYER_DIFF_ID, diff_id.to_string());
        let whole = layer(&[with_key.clone(), with_diff_id.clone()]);
        let of_docker = Descriptor {
            media_type: MediaType::DockerLayerTarGzip,
            ..whole.clone()
        };
        let layers = [
            layer(&[]),
            layer(std::slice::from_ref(&with_key)),
            layer(std::slice::from_ref(&with_diff_id)),
            layer(&[
                (ANNOTATION_LAYER_KEY, "sha256:1".to_owned()),
                with_diff_id.clone(),
            ]),
            Descriptor {
                media_type: MediaType::from("application/x"),
                ..whole.clone()
            },
            layer(&[with_key, (ANNOTATION_LAYER_DIFF_ID, "sha256:1".to_owned())]),
            whole.clone(),
            of_docker,
        ];
        let expected = LayerRecord {
            diff_id,
            digest: whole.digest.into(),
            size_bytes: whole.size_bytes,
            media_type: MediaType::OciLayerTarGzip,
        };
        let found: Vec<_> = records_of(&layers).collect();
        assert_eq!(found, [(key, expected.clone()), (key, expected)]);
    }
}
