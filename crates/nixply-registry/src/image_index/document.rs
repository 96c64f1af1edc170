//! The index itself: what it names, in which order, in whose form.

use super::parts::FoundPart;
use crate::RegistryError;
use nixply_oci::{
    Descriptor, ImageError, ImageIndex, MediaType, Platform, SCHEMA_VERSION, canonical_json,
};
use std::collections::BTreeMap;

/// An index that is decided.
#[derive(Debug)]
pub(super) struct Document {
    /// What it is.
    pub(super) descriptor: Descriptor,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// What it names, in its order.
    pub(super) parts: Vec<FoundPart>,
}

impl Document {
    /// Decides an index. Images come in the order of their platforms, then what is attached to them, by digest.
    pub(super) fn new(
        mut parts: Vec<FoundPart>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, RegistryError> {
        parts.sort_by(|a, b| order(a).cmp(&order(b)));
        check_platforms(&parts)?;
        let is_dockers = |part: &FoundPart| part.descriptor.media_type == MediaType::DockerManifest;
        let media_type = if annotations.is_empty() && parts.iter().all(is_dockers) {
            MediaType::DockerManifestList
        } else {
            MediaType::OciIndex
        };
        let index = ImageIndex {
            schema_version: SCHEMA_VERSION,
            media_type: Some(media_type.clone()),
            manifests: parts.iter().map(|part| part.descriptor.clone()).collect(),
            annotations: annotations.clone(),
        };
        let bytes = canonical_json(&index).map_err(|source| ImageError::Json {
            what: "index",
            source,
        })?;
        Ok(Self {
            descriptor: Descriptor::of(media_type, &bytes),
            bytes,
            parts,
        })
    }
}

fn order(part: &FoundPart) -> (bool, Option<&Platform>, String) {
    let Descriptor {
        platform, digest, ..
    } = &part.descriptor;
    (!part.is_image(), platform.as_ref(), digest.to_string())
}

/// Whoever asks an index for a platform must find one image and not two.
fn check_platforms(parts: &[FoundPart]) -> Result<(), RegistryError> {
    let images: Vec<(&FoundPart, &Platform)> = parts
        .iter()
        .filter(|part| part.is_image())
        .filter_map(|part| Some((part, part.descriptor.platform.as_ref()?)))
        .collect();
    if images.is_empty() {
        return Err(RegistryError::NoParts);
    }
    for (position, (first, platform)) in images.iter().enumerate() {
        let same = images[..position]
            .iter()
            .find(|(_, other)| other.serves(platform));
        if let Some((other, _)) = same {
            return Err(RegistryError::SamePlatform {
                platform: (*platform).clone(),
                first: Box::new(other.from.clone()),
                second: Box::new(first.from.clone()),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn part(platform: &str, media_type: MediaType) -> FoundPart {
        let bytes = Bytes::from(format!("manifest for {platform}"));
        let mut descriptor = Descriptor::of(media_type, &bytes);
        descriptor.platform = Some(platform.parse().unwrap());
        let repository: nixply_oci::ImageReference = "h.example/a".parse().unwrap();
        FoundPart {
            from: repository.with_digest(descriptor.digest),
            descriptor,
            bytes,
        }
    }

    fn document(parts: Vec<FoundPart>) -> Result<Document, RegistryError> {
        Document::new(parts, &BTreeMap::new())
    }

    #[test]
    fn the_index_is_these_bytes() {
        let parts = vec![
            part("linux/arm64/v8", MediaType::OciManifest),
            part("linux/amd64", MediaType::OciManifest),
        ];
        let annotations = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let document = Document::new(parts, &annotations).unwrap();
        assert_eq!(
            String::from_utf8(document.bytes).unwrap(),
            concat!(
                r#"{"annotations":{"k":"v"},"manifests":["#,
                r#"{"digest":"sha256:53c85a65c62a208dae48fc5db97a9d6a9f1098577977bc7ebdd7e1e4d7c95c3b","#,
                r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""platform":{"architecture":"amd64","os":"linux"},"size":24},"#,
                r#"{"digest":"sha256:c8d80a9efda1050e2b1e46f8737622633222a4097888d44108c52a19ffab07bd","#,
                r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""platform":{"architecture":"arm64","os":"linux","variant":"v8"},"size":27}],"#,
                r#""mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#,
            )
        );
    }

    #[test]
    fn dockers_parts_make_dockers_list() {
        let docker = || part("linux/amd64", MediaType::DockerManifest);
        let list = document(vec![docker()]).unwrap();
        assert_eq!(list.descriptor.media_type, MediaType::DockerManifestList);
        let mixed = document(vec![docker(), part("linux/arm64", MediaType::OciManifest)]);
        assert_eq!(mixed.unwrap().descriptor.media_type, MediaType::OciIndex);
        let annotated = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let annotated = Document::new(vec![docker()], &annotated).unwrap();
        assert_eq!(annotated.descriptor.media_type, MediaType::OciIndex);
    }

    #[test]
    fn two_images_for_one_platform_are_refused() {
        let oci = |platform| part(platform, MediaType::OciManifest);
        for (one, other) in [
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/amd64", "linux/amd64/v1"),
        ] {
            let error = document(vec![oci(one), oci("linux/386"), oci(other)]).unwrap_err();
            let RegistryError::SamePlatform { first, second, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(first.digest(), Some(oci(one).descriptor.digest));
            assert_eq!(second.digest(), Some(oci(other).descriptor.digest));
        }
        document(vec![oci("linux/arm/v6"), oci("linux/arm/v7")]).unwrap();
        let attached = document(vec![oci("unknown/unknown")]);
        assert!(matches!(attached, Err(RegistryError::NoParts)));
        let with_attached = document(vec![oci("unknown/unknown"), oci("linux/amd64")]).unwrap();
        assert!(with_attached.parts[0].is_image());
    }

    proptest! {
        #[test]
        fn the_order_of_parts_does_not_show(
            platforms in Just(vec!["linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7", "unknown/unknown"]).prop_shuffle()
        ) {
            let parts = |platforms: &[&str]| {
                platforms.iter().map(|platform| part(platform, MediaType::OciManifest)).collect::<Vec<_>>()
            };
            let mut sorted = platforms.clone();
            sorted.sort_unstable();
            prop_assert_eq!(
                document(parts(&platforms)).unwrap().bytes,
                document(parts(&sorted)).unwrap().bytes
            );
        }
    }
}
