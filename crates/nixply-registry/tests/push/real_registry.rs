//! Against Debian's `docker-registry` (distribution 2.8).

use crate::common::{
    Events, anonymous, client, large_layer, options, reference, small_layer, uploads,
};
use nixply_oci::{DiffId, ImageSource, LayerError};
use nixply_registry::{
    Credentials, LayerOutcome, RegistryError, RegistryImage, SilentObserver, push,
};
use nixply_testkit::images::{TestImage, TestLayer};
use nixply_testkit::registry::{RegistryProcess, TEST_PASSWORD, TEST_USER};
use std::fs;
use std::io::Read;

fn open(registry: &RegistryProcess, rest: &str) -> Result<RegistryImage, RegistryError> {
    let reference = reference(registry.host(), rest);
    RegistryImage::open(&anonymous(), &reference, None)
}

fn layer_bytes(image: &RegistryImage, layer_idx: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image
        .open_layer(layer_idx)
        .unwrap()
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn an_image_comes_back_as_it_was_pushed() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let layers = [
        small_layer(1),
        large_layer(2),
        TestLayer::gzip(b"tar"),
        TestLayer::plain(b""),
    ];
    let image = TestImage::new(layers.to_vec());
    let events = Events::default();
    let targets = ["a/b:one", "a/b:two"].map(|rest| reference(registry.host(), rest));
    let report = push(&anonymous(), &image, &targets, &options(), &events).unwrap();

    assert_eq!(uploads(&report), 4);
    assert!(report.config_uploaded);
    assert_eq!(report.tags, ["one", "two"]);
    let blob_bytes: usize = layers.iter().map(|layer| layer.blob().len()).sum();
    assert_eq!(report.layer_bytes_sent(), blob_bytes as u64);
    let lines = events.lines();
    assert_eq!(
        lines[lines.len() - 4..],
        ["config true", "manifest", "tag one", "tag two"]
    );
    let told: usize = lines
        .iter()
        .filter_map(|line| line.strip_prefix("bytes 1 "))
        .map(|bytes| bytes.parse::<usize>().unwrap())
        .sum();
    assert_eq!(told, layers[1].blob().len());

    for rest in ["a/b:one", "a/b:two"] {
        let stored = open(&registry, rest).unwrap();
        assert_eq!(
            Some(stored.image().manifest_descriptor.digest),
            report.manifest_digest
        );
        let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.record().diff_id).collect();
        assert_eq!(stored.image().config.rootfs.diff_ids, diff_ids);
        for (layer_idx, layer) in layers.iter().enumerate() {
            assert!(layer_bytes(&stored, layer_idx).unwrap() == layer.blob());
        }
        assert!(stored.open_layer(4).is_err());
    }
}

#[test]
fn a_second_push_sends_nothing_and_makes_nothing_it_knows() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let targets = [reference(registry.host(), "a:x")];
    let layers: Vec<TestLayer> = (1..=9).map(small_layer).collect();
    let pushed = |layers: Vec<TestLayer>| {
        push(
            &anonymous(),
            &TestImage::new(layers),
            &targets,
            &options(),
            &SilentObserver,
        )
        .unwrap()
    };
    let first = pushed(layers.clone());
    assert_eq!(uploads(&first), 9);

    let known = layers.iter().cloned().map(TestLayer::known_beforehand);
    let second = pushed(known.collect());
    assert_eq!(uploads(&second), 0);
    assert!(!second.config_uploaded);
    assert_eq!(second.manifest_digest, first.manifest_digest);
    assert!(layers.iter().all(|layer| layer.write_count() == 1));

    let third = pushed(layers.clone());
    assert_eq!(uploads(&third), 0);
    assert_eq!(third.layer_bytes_not_sent(), first.layer_bytes_sent());
    assert!(layers.iter().all(|layer| layer.write_count() == 2));
}

#[test]
fn only_what_another_image_has_not_is_sent() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let pushed = |tag: &str, layers: Vec<TestLayer>| {
        push(
            &anonymous(),
            &TestImage::new(layers),
            &[reference(registry.host(), tag)],
            &options(),
            &SilentObserver,
        )
        .unwrap()
    };
    pushed("a:x", vec![small_layer(1), small_layer(2)]);
    let claimed_but_absent = small_layer(3).known_beforehand();
    let report = pushed(
        "a:y",
        vec![
            small_layer(2),
            claimed_but_absent.clone(),
            large_layer(4),
            large_layer(5).known_beforehand(),
        ],
    );
    let outcomes: Vec<bool> = report
        .layers
        .iter()
        .map(|layer| layer.outcome == LayerOutcome::Present)
        .collect();
    assert_eq!(outcomes, [true, false, false, false]);
    assert_eq!(claimed_but_absent.write_count(), 1);
    assert!(layer_bytes(&open(&registry, "a:y").unwrap(), 1).unwrap() == claimed_but_absent.blob());
}

#[test]
fn a_failing_layer_leaves_the_tag_where_it_was() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let pushed = |layers: Vec<TestLayer>| {
        push(
            &anonymous(),
            &TestImage::new(layers),
            &[reference(registry.host(), "a:x")],
            &options(),
            &SilentObserver,
        )
    };
    let before = pushed(vec![small_layer(1)]).unwrap();
    for failing in [
        small_layer(2).failing_after(5000),
        large_layer(3).failing_after(2_500_000),
        large_layer(4).known_beforehand().failing_after(2_500_000),
    ] {
        let others = (10..30).map(small_layer);
        let layers = others.chain([failing.with_title("the failing one")]);
        let error = pushed(layers.collect()).unwrap_err();
        assert!(
            matches!(
                &error,
                RegistryError::Layer { title, source: LayerError::Make(_) } if title == "the failing one"
            ),
            "{error:?}"
        );
        assert!(!error.is_network_or_registry());
        let stored = open(&registry, "a:x").unwrap();
        assert_eq!(
            Some(stored.image().manifest_descriptor.digest),
            before.manifest_digest
        );
    }
}

#[test]
fn a_password_is_wanted_and_taken() {
    let Some(registry) = RegistryProcess::start_with_user() else {
        return;
    };
    let image = TestImage::new(vec![small_layer(1), large_layer(2)]);
    let target = reference(registry.host(), "a:x");
    let push_as = |credentials: &Credentials| {
        let targets = std::slice::from_ref(&target);
        push(
            &client(credentials),
            &image,
            targets,
            &options(),
            &SilentObserver,
        )
    };
    let user = |password: &str| Credentials::Basic {
        username: TEST_USER.to_owned(),
        password: password.to_owned(),
    };
    for wrong in [Credentials::Anonymous, user("open barley")] {
        let error = push_as(&wrong).unwrap_err();
        assert!(
            matches!(&error, RegistryError::Refused(refusal) if refusal.status == Some(401)),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("log in"));
        assert!(!format!("{error:?} {error}").contains("barley"));
    }
    let right = user(TEST_PASSWORD);
    let report = push_as(&right).unwrap();
    let stored = RegistryImage::open(&client(&right), &target, None).unwrap();
    assert_eq!(
        Some(stored.image().manifest_descriptor.digest),
        report.manifest_digest
    );
    assert!(RegistryImage::open(&anonymous(), &target, None).is_err());
}

#[test]
fn damaged_blobs_are_noticed() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let layers = [small_layer(1), small_layer(2), small_layer(3)];
    push(
        &anonymous(),
        &TestImage::new(layers.to_vec()),
        &[reference(registry.host(), "a:x")],
        &options(),
        &SilentObserver,
    )
    .unwrap();
    let file = |layer: &TestLayer| registry.blob_file(&layer.record().digest.hex());
    let mut flipped = layers[0].blob().to_vec();
    flipped[5000] ^= 1;
    fs::write(file(&layers[0]), flipped).unwrap();
    fs::write(file(&layers[1]), &layers[1].blob()[1..]).unwrap();
    fs::write(file(&layers[2]), [layers[2].blob(), b"x"].concat()).unwrap();

    let image = open(&registry, "a:x").unwrap();
    for layer_idx in 0..3 {
        let error = layer_bytes(&image, layer_idx).unwrap_err();
        let inner = error.into_inner().unwrap();
        let error = inner.downcast::<RegistryError>().unwrap();
        assert!(
            matches!(
                *error,
                RegistryError::ContentDiffers { .. } | RegistryError::SizeDiffers { .. }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
