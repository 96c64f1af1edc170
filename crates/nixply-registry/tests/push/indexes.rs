//! Image indexes of what was pushed before.

use crate::common::{anonymous, client, keyed_layer, options, reference, small_layer};
use nixply_oci::{
    Descriptor, Digest, FinishedImage, Image, ImageError, ImageIndex, ImageManifest,
    ImageReference, ImageSource as _, Layer, LayerRecord, MediaType, Platform, canonical_json,
};
use nixply_registry::{
    Credentials, IndexOptions, IndexReport, RegistryError, RegistryImage, SilentObserver,
    create_index, push,
};
use nixply_testkit::images::{TestImage, TestLayer};
use nixply_testkit::registry::{
    FaultProxy, Phase, RegistryKind, RegistryProcess, RegistrySetup, TEST_PASSWORD, TEST_USER,
    TokenRules, TokenServer,
};
use std::collections::BTreeMap;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn image(text: &str, layers: Vec<TestLayer>) -> TestImage {
    TestImage::new(layers).on(platform(text))
}

/// Pushes an image and gives it back by digest.
fn pushed(host: &str, rest: &str, image: &dyn Image) -> ImageReference {
    let target = reference(host, rest);
    let report = push(
        &anonymous(),
        image,
        std::slice::from_ref(&target),
        &options(),
        &SilentObserver,
    );
    target.with_digest(report.unwrap().manifest_digest.unwrap())
}

fn create(
    targets: &[ImageReference],
    parts: &[ImageReference],
) -> Result<IndexReport, RegistryError> {
    create_index(&anonymous(), targets, parts, &IndexOptions::default())
}

fn found(image: &ImageReference, wanted: &str) -> Digest {
    let image = RegistryImage::open(&anonymous(), image, Some(&platform(wanted))).unwrap();
    image.image().manifest_descriptor.digest
}

#[test]
fn every_kind_serves_an_image_for_each_platform() {
    for kind in RegistryKind::ALL {
        let Some(registry) = RegistrySetup::new(kind).start() else {
            continue;
        };
        let host = registry.host();
        let amd64 = pushed(host, "a/b", &image("linux/amd64", vec![small_layer(1)]));
        let arm64 = pushed(
            host,
            "a/b:arm",
            &image("linux/arm64/v8", vec![small_layer(2)]),
        );
        let targets = ["a/b:v1", "a/b:latest"].map(|rest| reference(host, rest));
        let by_tag = reference(host, "a/b:arm");
        let report = create(&targets, &[by_tag, amd64.clone()]).unwrap();
        assert!(!report.is_unchanged, "{kind:?}");
        assert_eq!(report.tags, ["v1", "latest"]);
        assert_eq!(report.descriptor.media_type, MediaType::OciIndex);
        let platforms: Vec<String> = report
            .parts
            .iter()
            .map(|part| part.descriptor.platform.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8"]);
        for target in &targets {
            assert_eq!(Some(found(target, "linux/amd64")), amd64.digest());
            assert_eq!(Some(found(target, "linux/arm64")), arm64.digest());
        }

        // The same parts in another order, and one of them twice: nothing is written.
        let proxy = FaultProxy::start(host, vec![]);
        let through = |reference: &ImageReference| -> ImageReference {
            reference
                .to_string()
                .replace(host, &proxy.host())
                .parse()
                .unwrap()
        };
        let parts = [&amd64, &arm64, &amd64].map(through);
        let again = create(&targets.each_ref().map(through), &parts).unwrap();
        assert!(again.is_unchanged, "{kind:?}");
        assert_eq!(again.descriptor, report.descriptor);
        assert_eq!(proxy.count(Phase::ManifestPut), 0);

        // A part that is an index stands for its images.
        let third = pushed(host, "a/b", &image("linux/riscv64", vec![small_layer(3)]));
        let target = [reference(host, "a/b:three")];
        let three = create(&target, &[targets[0].clone(), third.clone()]).unwrap();
        assert_eq!(three.parts.len(), 3);
        assert_eq!(Some(found(&target[0], "linux/riscv64")), third.digest());
        assert_eq!(Some(found(&target[0], "linux/arm64")), arm64.digest());
    }
}

#[test]
fn parts_of_another_repository_are_mounted() {
    for kind in RegistryKind::ALL {
        let Some(registry) = RegistrySetup::new(kind).start() else {
            continue;
        };
        let host = registry.host();
        let proxy = FaultProxy::start(host, vec![]);
        let parts = [
            pushed(
                &proxy.host(),
                "a/amd64",
                &image("linux/amd64", vec![small_layer(1), small_layer(2)]),
            ),
            pushed(
                &proxy.host(),
                "a/arm64",
                &image("linux/arm64", vec![small_layer(2), small_layer(3)]),
            ),
        ];
        proxy.forget();
        let targets = [reference(&proxy.host(), "a/all:v1")];
        let dry = IndexOptions {
            dry_run: true,
            ..IndexOptions::default()
        };
        let would = create_index(&anonymous(), &targets, &parts, &dry).unwrap();
        assert!(would.parts.iter().all(|part| part.is_brought));
        assert_eq!(
            proxy.count(Phase::ManifestPut) + proxy.count(Phase::Mount),
            0
        );

        let report = create(&targets, &parts).unwrap();
        assert_eq!(report.descriptor, would.descriptor, "{kind:?}");
        assert_eq!(proxy.count(Phase::UploadPut), 0, "nothing is sent");
        assert_eq!(Some(found(&targets[0], "linux/arm64")), parts[1].digest());
        let amd64 = RegistryImage::open(&anonymous(), &targets[0], Some(&platform("linux/amd64")));
        for layer_idx in 0..2 {
            let amd64 = amd64.as_ref().unwrap();
            let mut layer = amd64.open_layer(layer_idx).unwrap();
            std::io::copy(&mut layer, &mut std::io::sink()).unwrap();
        }
        assert!(create(&targets, &parts).unwrap().is_unchanged);
    }
}

#[test]
fn what_cannot_be_an_index_is_told() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let host = registry.host();
    let targets = [reference(host, "a:v1")];
    let one = pushed(host, "a", &image("linux/arm64", vec![keyed_layer(1)]));
    let other = pushed(host, "a", &image("linux/arm64/v8", vec![small_layer(2)]));
    let message = |parts: &[ImageReference]| create(&targets, parts).unwrap_err().to_string();
    assert_eq!(
        message(&[one.clone(), other.clone()]),
        format!("{one} and {other} are both for linux/arm64/v8")
    );
    let absent = targets[0].with_digest(Digest::of(b"absent"));
    assert_eq!(
        message(&[one.clone(), absent.clone()]),
        format!("there is no image {absent}")
    );
    let elsewhere: ImageReference = "127.0.0.1:1/a:x".parse().unwrap();
    assert!(
        message(&[one.clone(), elsewhere]).starts_with("127.0.0.1:1/a:x is not in the registry of")
    );
    let unnamed = message(&[reference(host, "a")]);
    assert!(
        unnamed.ends_with("has neither a tag nor a digest"),
        "{unnamed}"
    );
    assert!(matches!(create(&targets, &[]), Err(RegistryError::NoParts)));
    // The layer index of earlier pushes is no image.
    let layers = message(&[reference(host, "a:nixply-layers")]);
    assert!(
        layers.ends_with("is a layer index of nixply, not an image"),
        "{layers}"
    );
    assert!(registry.tag("a", "v1").is_none(), "no tag has moved");
}

/// The same image under a manifest of Docker's form.
#[derive(Debug)]
struct Dockers(TestImage);

impl Image for Dockers {
    fn layers(&self) -> &[Box<dyn Layer>] {
        self.0.layers()
    }

    fn platform(&self) -> &Platform {
        self.0.platform()
    }

    fn finish(&self, records: &[LayerRecord]) -> Result<FinishedImage, ImageError> {
        let mut finished = self.0.finish(records)?;
        let mut manifest: ImageManifest = serde_json::from_slice(&finished.manifest).unwrap();
        manifest.media_type = Some(MediaType::DockerManifest);
        manifest.config.media_type = MediaType::DockerConfig;
        for layer in &mut manifest.layers {
            layer.media_type = MediaType::DockerLayerTarGzip;
        }
        finished.manifest = canonical_json(&manifest).unwrap();
        finished.manifest_descriptor =
            Descriptor::of(MediaType::DockerManifest, &finished.manifest);
        Ok(finished)
    }
}

#[test]
fn images_of_dockers_form_make_dockers_list_unless_annotated() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let host = registry.host();
    let layers = || vec![TestLayer::gzip(b"tar")];
    let parts = ["linux/amd64", "linux/arm64"]
        .map(|platform| pushed(host, "a", &Dockers(image(platform, layers()))));
    let targets = [reference(host, "a:v1")];
    let list = create(&targets, &parts).unwrap();
    assert_eq!(list.descriptor.media_type, MediaType::DockerManifestList);
    assert_eq!(Some(found(&targets[0], "linux/arm64")), parts[1].digest());

    let annotated = IndexOptions {
        annotations: BTreeMap::from([("org.opencontainers.image.version".into(), "1".into())]),
        ..IndexOptions::default()
    };
    let index = create_index(&anonymous(), &targets, &parts, &annotated).unwrap();
    assert_eq!(index.descriptor.media_type, MediaType::OciIndex);
    let digest = index.descriptor.digest;
    assert_eq!(registry.tag("a", "v1"), Some(digest.to_string()));
    let bytes = std::fs::read(registry.blob_file(&digest.hex())).unwrap();
    let stored: ImageIndex = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(stored.annotations, annotated.annotations);
}

#[test]
fn one_token_reads_and_writes_and_a_mount_asks_for_both() {
    let tokens = TokenServer::start(TokenRules::default());
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.with_tokens(&tokens).start() else {
        return;
    };
    let host = registry.host();
    let client = client(&Credentials::Basic {
        username: TEST_USER.to_owned(),
        password: TEST_PASSWORD.to_owned(),
    });
    let target = |rest| reference(host, rest);
    let mut parts = Vec::new();
    for (rest, on) in [("a/one:x", "linux/amd64"), ("a/two:x", "linux/arm64")] {
        let image = image(on, vec![small_layer(1)]);
        push(
            &client,
            &image,
            &[target(rest)],
            &options(),
            &SilentObserver,
        )
        .unwrap();
        parts.push(target(rest));
    }
    let report = create_index(
        &client,
        &[target("a/one:all")],
        &parts,
        &IndexOptions::default(),
    )
    .unwrap();
    let brought: Vec<bool> = report.parts.iter().map(|part| part.is_brought).collect();
    assert_eq!(brought, [false, true]);
}
