//! What records spare a push, and what becomes of wrong ones.

use crate::common::{
    Events, anonymous, keyed_layer, large_layer, options, reference, small_layer, uploads,
};
use crate::memory_records::MemoryRecords;
use nixply_oci::{
    DiffId, ImageReference, Layer as _, LayerDigest, LayerKey, LayerRecord, RepositoryName,
};
use nixply_registry::{
    LayerIndexPlace, LayerOutcome, PushOptions, PushReport, RecordSource, RecordStore as _,
    RegistryError, SilentObserver, push,
};
use nixply_testkit::images::{TestImage, TestLayer};
use nixply_testkit::registry::{Answer, RecordingRegistry, RegistryProcess, Request};
use std::sync::atomic::{AtomicBool, Ordering};

fn push_as(
    host: &str,
    name: &str,
    layers: &[TestLayer],
    options: &PushOptions<'_>,
) -> Result<PushReport, RegistryError> {
    let image = TestImage::new(layers.to_vec());
    let targets = [reference(host, name)];
    push(&anonymous(), &image, &targets, options, &SilentObserver)
}

fn keyed_layers(seeds: std::ops::Range<u64>) -> Vec<TestLayer> {
    seeds.map(keyed_layer).collect()
}

fn made(layers: &[TestLayer]) -> Vec<usize> {
    layers.iter().map(TestLayer::write_count).collect()
}

fn outcomes(report: &PushReport) -> Vec<&LayerOutcome> {
    report.layers.iter().map(|layer| &layer.outcome).collect()
}

#[test]
fn an_unchanged_image_costs_one_request() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..9);
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    registry.forget_requests();

    let report = push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    assert!(report.is_unchanged);
    assert_eq!(report.tags, ["one"]);
    assert_eq!(report.traffic.requests, 1);
    let lines: Vec<String> = registry.requests().iter().map(Request::line).collect();
    assert_eq!(lines, ["GET /v2/team/app/manifests/one"]);
    assert_eq!(made(&layers), [1; 8]);
    assert_eq!(report.store_bytes_read(), 0);
    let digest = report.manifest_digest.unwrap();
    assert_eq!(
        registry.manifest("one"),
        registry.manifest(&digest.to_string())
    );
}

#[test]
fn a_new_tag_on_a_fresh_machine_finds_every_layer_through_the_index() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..9);
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    registry.forget_requests();

    let report = push_as(&registry.host(), "team/app:two", &layers, &options()).unwrap();
    assert_eq!(made(&layers), [1; 8]);
    assert_eq!(outcomes(&report), [&LayerOutcome::Present; 8]);
    assert!(matches!(report.layers[0].source, RecordSource::Index(_)));
    let methods: Vec<String> = registry
        .requests()
        .iter()
        .map(|r| r.method.clone())
        .collect();
    // The tag, the index, its document, the image that has them all; then the tag.
    assert_eq!(methods, ["GET", "GET", "GET", "GET", "PUT"]);
    assert_eq!(registry.manifest("two"), registry.manifest("one"));
}

#[test]
fn without_records_every_layer_is_made_and_none_is_sent() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..4);
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    let none = PushOptions {
        read_tags: false,
        layer_index: LayerIndexPlace::Off,
        ..options()
    };
    let report = push_as(&registry.host(), "team/app:one", &layers, &none).unwrap();
    assert_eq!(made(&layers), [2; 3]);
    assert_eq!(uploads(&report), 0);
}

#[test]
fn project_b_mounts_the_layers_of_project_a() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let index: ImageReference = reference(registry.host(), "fleet/layers");
    let fleet = PushOptions {
        layer_index: LayerIndexPlace::At(index),
        ..options()
    };
    let shared = keyed_layers(1..6);
    push_as(registry.host(), "team/a:x", &shared, &fleet).unwrap();
    let mut of_b = shared.clone();
    of_b.push(keyed_layer(77));

    let report = push_as(registry.host(), "team/b:x", &of_b, &fleet).unwrap();
    assert_eq!(made(&of_b), [1; 6], "only B's own layer was made for B");
    let a = RepositoryName::from(&reference(registry.host(), "team/a"));
    let mounted = LayerOutcome::Mounted { from: a };
    assert_eq!(outcomes(&report)[..5], [&mounted; 5]);
    assert!(matches!(outcomes(&report)[5], LayerOutcome::Uploaded { bytes } if *bytes > 0));
    assert_eq!(report.layer_bytes_sent(), of_b[5].record().size_bytes);

    // A third project learns of A's layers by name, without an index.
    let named = PushOptions {
        layer_index: LayerIndexPlace::Off,
        reuse_from: vec![reference(registry.host(), "team/a:x")],
        ..options()
    };
    let report = push_as(registry.host(), "team/c:x", &shared, &named).unwrap();
    assert_eq!(outcomes(&report), [&mounted; 5]);
    assert_eq!(made(&shared), [1; 5]);
}

#[test]
fn the_index_of_a_fleet_is_not_told_what_a_tag_says() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let alone = PushOptions {
        layer_index: LayerIndexPlace::Off,
        ..options()
    };
    let fleet = PushOptions {
        layer_index: LayerIndexPlace::At(reference(registry.host(), "fleet/layers")),
        ..options()
    };
    // Whoever may write to A's tag could have said anything there of the first two.
    let mut layers = keyed_layers(1..3);
    push_as(registry.host(), "team/a:x", &layers, &alone).unwrap();
    layers.push(keyed_layer(3));
    push_as(registry.host(), "team/a:x", &layers, &fleet).unwrap();
    assert_eq!(made(&layers), [1, 1, 1]);
    let report = push_as(registry.host(), "team/b:x", &layers, &fleet).unwrap();
    assert_eq!(
        made(&layers),
        [2, 2, 1],
        "only what was made for the index is believed"
    );
    assert!(matches!(outcomes(&report)[2], LayerOutcome::Mounted { .. }));
}

#[test]
fn the_index_leaves_alone_what_is_none() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..3);
    push_as(
        &registry.host(),
        "team/app:nixply-layers",
        &layers,
        &options(),
    )
    .unwrap();
    let before = registry.manifest("nixply-layers").unwrap();

    let events = Events::default();
    let image = TestImage::new(keyed_layers(5..7));
    let targets = [reference(&registry.host(), "team/app:one")];
    push(&anonymous(), &image, &targets, &options(), &events).unwrap();
    assert_eq!(registry.manifest("nixply-layers").unwrap(), before);
    assert!(events.lines().contains(&"records failed".to_owned()));
}

#[test]
fn a_dry_run_changes_nothing_and_tells_everything() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..3);
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    registry.forget_requests();
    let mut more = layers.clone();
    more.push(keyed_layer(9));
    let dry = PushOptions {
        dry_run: true,
        ..options()
    };
    let report = push_as(&registry.host(), "team/app:two", &more, &dry).unwrap();
    assert_eq!(report.manifest_digest, None);
    assert_eq!(report.layers[2].record, None);
    let would_send = LayerOutcome::Uploaded { bytes: 0 };
    let there = LayerOutcome::Present;
    assert_eq!(outcomes(&report), [&there, &there, &would_send]);
    assert_eq!(made(&more), [1, 1, 0]);
    let changes = ["PUT", "POST", "PATCH"].map(|method| registry.count(method));
    assert_eq!(changes, [0; 3]);
    assert_eq!(registry.manifest("two"), None);
}

#[test]
fn a_local_record_makes_an_interrupted_push_cheap() {
    let registry = RecordingRegistry::start();
    let records = MemoryRecords::default();
    let remembering = PushOptions {
        records: Some(&records),
        layer_index: LayerIndexPlace::Off,
        ..options()
    };
    let mut layers = keyed_layers(1..5);
    layers.push(large_layer(6).with_key(LayerKey::of(b"large")));
    let mut broken = layers.clone();
    broken.push(small_layer(7).weighing(1).failing_after(3));
    push_as(&registry.host(), "team/app:one", &broken, &remembering).unwrap_err();
    assert_eq!(registry.manifest("one"), None);
    let were_sent = made(&layers);

    let report = push_as(&registry.host(), "team/app:one", &layers, &remembering).unwrap();
    let host = registry.host();
    for (layer, before) in layers.iter().zip(were_sent) {
        let digest = layer.record().digest.to_string();
        assert_eq!(registry.blob(&digest).unwrap(), layer.blob());
        if before == 1 && layer.write_count() == 1 {
            let digest = layer.record().digest;
            let pushed = report
                .layers
                .iter()
                .find(|pushed| pushed.record.as_ref().unwrap().digest == digest);
            assert_eq!(pushed.unwrap().outcome, LayerOutcome::Present);
            assert_eq!(pushed.unwrap().source, RecordSource::Local);
        }
    }
    let held = records.find(&[layers[0].key().unwrap()]);
    let held = &held[0].as_ref().unwrap().held_by;
    assert_eq!(
        held[..],
        [RepositoryName::from(&reference(&host, "team/app"))]
    );
}

#[test]
fn whoever_may_not_read_the_tag_hears_it_before_a_layer_is_made() {
    let registry = RecordingRegistry::start_with(|_| {
        let answer = Answer::refusal(401, "UNAUTHORIZED", "authentication required");
        Some(answer.with_header("WWW-Authenticate", "Basic realm=\"test\""))
    });
    for dry_run in [false, true] {
        let options = PushOptions {
            dry_run,
            ..options()
        };
        let layers = keyed_layers(1..3);
        let error = push_as(&registry.host(), "team/app:one", &layers, &options).unwrap_err();
        assert!(error.to_string().contains("team/app:one"), "{error}");
        assert!(error.is_unauthorized(), "{error}");
        assert_eq!(made(&layers), [0; 2]);
    }
}

#[test]
fn records_that_are_verified_cost_the_layers() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..3);
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    let checking = PushOptions {
        verify_records: true,
        ..options()
    };
    let report = push_as(&registry.host(), "team/app:one", &layers, &checking).unwrap();
    assert!(report.is_unchanged);
    assert_eq!(made(&layers), [2; 2]);
    let size = |layer: &TestLayer| layer.weight_bytes();
    assert_eq!(
        report.store_bytes_read(),
        layers.iter().map(size).sum::<u64>()
    );
}

#[test]
fn what_others_say_is_not_remembered_as_ones_own() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..3);
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    let records = MemoryRecords::default();
    let remembering = PushOptions {
        records: Some(&records),
        ..options()
    };
    for tag in ["team/app:one", "team/app:two"] {
        let report = push_as(&registry.host(), tag, &layers, &remembering).unwrap();
        assert_eq!(uploads(&report), 0);
        let keys: Vec<LayerKey> = layers.iter().map(|layer| layer.key().unwrap()).collect();
        assert_eq!(records.find(&keys), [None, None], "{tag}");
    }
}

#[test]
fn a_wrong_record_is_told_and_not_used() {
    let registry = RecordingRegistry::start();
    // More than what waits between a maker and the network.
    let large = TestLayer::noise(2, 4 << 20).with_key(LayerKey::of(b"l"));
    let large_bytes = large.record().size_bytes;
    for (seed, layer, size_bytes) in [
        (1, keyed_layer(1), 100),
        (2, large.clone(), large_bytes),
        (3, large.clone(), 100_000),
        (4, large, large_bytes + 400_000),
    ] {
        let records = MemoryRecords::default();
        let wrong = LayerRecord {
            diff_id: DiffId::of(b"another"),
            digest: LayerDigest::of(b"nothing has this"),
            size_bytes,
            ..layer.record().clone()
        };
        records.remember(&[(layer.key().unwrap(), wrong.clone())]);
        let remembering = PushOptions {
            records: Some(&records),
            layer_index: LayerIndexPlace::Off,
            ..options()
        };
        let events = Events::default();
        let image = TestImage::new(vec![layer.clone()]);
        let targets = [reference(&registry.host(), &format!("team/{seed}:x"))];
        let report = push(&anonymous(), &image, &targets, &remembering, &events)
            .unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!(report.layers[0].record.as_ref(), Some(layer.record()));
        assert_eq!(report.layers[0].source, RecordSource::Made);
        assert!(
            events.lines().contains(&"record wrong 0".to_owned()),
            "{seed}"
        );
        let digest = layer.record().digest.to_string();
        assert_eq!(registry.blob(&digest).unwrap(), layer.blob());

        let kept = records.find(&[layer.key().unwrap()]);
        assert_eq!(kept[0].as_ref().unwrap().record, *layer.record());

        let checking = PushOptions {
            verify_records: true,
            ..remembering
        };
        records.remember(&[(layer.key().unwrap(), wrong.clone())]);
        let other = TestImage::new(vec![layer.clone()]).with_label("a", "b");
        let error = push(&anonymous(), &other, &targets, &checking, &SilentObserver).unwrap_err();
        assert!(
            matches!(error, RegistryError::LayerDiffers { .. }),
            "{error}"
        );
    }
}

#[test]
fn what_others_say_of_a_layer_is_not_kept_on_this_machine() {
    let registry = RecordingRegistry::start();
    let layers = keyed_layers(1..3);
    let keys: Vec<LayerKey> = layers.iter().filter_map(TestLayer::key).collect();
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    let records = MemoryRecords::default();
    let remembering = PushOptions {
        records: Some(&records),
        ..options()
    };
    let two = push_as(&registry.host(), "team/app:two", &layers, &remembering).unwrap();
    assert!(matches!(two.layers[0].source, RecordSource::Index(_)));
    let reusing = PushOptions {
        reuse_from: vec![reference(&registry.host(), "team/app:one")],
        ..remembering.clone()
    };
    let three = push_as(&registry.host(), "team/app:three", &layers, &reusing).unwrap();
    assert!(matches!(three.layers[0].source, RecordSource::Manifest(_)));
    assert_eq!(records.find(&keys), [None, None]);

    let alone = PushOptions {
        layer_index: LayerIndexPlace::Off,
        ..remembering
    };
    let other = RecordingRegistry::start();
    push_as(&other.host(), "team/app:one", &layers, &alone).unwrap();
    assert!(records.find(&keys).iter().all(Option::is_some));
}

#[test]
fn what_a_registry_lost_is_sent_after_all() {
    static HEAD_LIES: AtomicBool = AtomicBool::new(false);
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let layers = keyed_layers(1..4);
    let lost = layers[1].record().digest.to_string();
    let body = format!(
        r#"{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown","detail":{{"digest":"{lost}"}}}}]}}"#
    );
    let registry = RecordingRegistry::start_with(move |request| {
        if !HEAD_LIES.load(Ordering::SeqCst) {
            return None;
        }
        let is_manifest = request.path.contains("/manifests/");
        if request.method == "PUT" && is_manifest && !REFUSED.swap(true, Ordering::SeqCst) {
            return Some(Answer::status(400).with_body(body.clone().into_bytes()));
        }
        None
    });
    push_as(&registry.host(), "team/app:one", &layers, &options()).unwrap();
    HEAD_LIES.store(true, Ordering::SeqCst);
    registry.forget_requests();
    let image = TestImage::new(layers.clone()).with_label("a", "b");
    let targets = [reference(&registry.host(), "team/app:one")];
    let report = push(&anonymous(), &image, &targets, &options(), &SilentObserver).unwrap();
    assert!(REFUSED.load(Ordering::SeqCst));
    assert_eq!(made(&layers), [1, 2, 1]);
    assert_eq!(uploads(&report), 1);
}

#[test]
fn a_mount_that_was_none_is_not_tried_again() {
    static IS_MOUNTED: AtomicBool = AtomicBool::new(false);
    static IS_SENT: AtomicBool = AtomicBool::new(false);
    let layer = keyed_layer(1);
    let digest = layer.record().digest.to_string();
    let size = layer.blob().len();
    let registry = RecordingRegistry::start_with(move |request| {
        let is_b = request.path.contains("/team/b/");
        let is_layer = request.path.ends_with(&digest);
        let is_manifest = request.path.contains("/manifests/");
        match request.method.as_str() {
            "POST" if request.query.contains("mount=") => {
                IS_MOUNTED.store(true, Ordering::SeqCst);
                Some(Answer::status(201))
            }
            "HEAD" if is_b && is_layer && IS_MOUNTED.load(Ordering::SeqCst) => {
                Some(Answer::status(200).with_body(vec![0; size]))
            }
            "HEAD" if is_b && is_layer => Some(Answer::status(404)),
            "PUT" if is_b && request.body.len() == size => {
                IS_SENT.store(true, Ordering::SeqCst);
                None
            }
            "PUT" if is_b && is_manifest && !IS_SENT.load(Ordering::SeqCst) => {
                let body = format!(
                    r#"{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","detail":{{"digest":"{digest}"}}}}]}}"#
                );
                Some(Answer::status(400).with_body(body.into_bytes()))
            }
            _ => None,
        }
    });
    let host = registry.host();
    let layers = std::slice::from_ref(&layer);
    push_as(&host, "team/a:x", layers, &options()).unwrap();
    let named = PushOptions {
        layer_index: LayerIndexPlace::Off,
        reuse_from: vec![reference(&host, "team/a:x")],
        ..options()
    };
    push_as(&host, "team/b:y", layers, &named).unwrap();
    let mounts = registry.requests();
    let mounts = mounts
        .iter()
        .filter(|request| request.query.contains("mount="));
    assert_eq!(mounts.count(), 1);
    assert!(IS_SENT.load(Ordering::SeqCst));
    assert_eq!(layer.write_count(), 2);
}

#[test]
fn tags_move_all_or_none() {
    static REFUSES: AtomicBool = AtomicBool::new(false);
    let registry = RecordingRegistry::start_with(|request| {
        let is_third = request.method == "PUT" && request.path.ends_with("/manifests/three");
        (is_third && REFUSES.load(Ordering::SeqCst))
            .then(|| Answer::refusal(403, "DENIED", "this tag is immutable"))
    });
    let tags = ["one", "two", "three"];
    let targets = tags.map(|tag| reference(&registry.host(), &format!("team/app:{tag}")));
    let image = TestImage::new(keyed_layers(1..3));
    push(&anonymous(), &image, &targets, &options(), &SilentObserver).unwrap();
    let before = tags.map(|tag| registry.manifest(tag));
    REFUSES.store(true, Ordering::SeqCst);
    for read_tags in [true, false] {
        let options = PushOptions {
            read_tags,
            ..options()
        };
        let other = TestImage::new(keyed_layers(1..3)).with_label("a", "b");
        let error = push(&anonymous(), &other, &targets, &options, &SilentObserver).unwrap_err();
        assert!(error.to_string().contains("three"), "{error}");
        assert_eq!(tags.map(|tag| registry.manifest(tag)), before);
    }
}

#[test]
fn a_registry_that_takes_whole_blobs_only_gets_large_layers_from_a_file_or_made_twice() {
    for (spool_budget_bytes, times_made) in [(u64::MAX, 2), (1 << 20, 3)] {
        let registry = RecordingRegistry::start_with(|request| {
            (request.method == "PATCH").then(|| Answer::refusal(405, "UNSUPPORTED", "no chunks"))
        });
        let spooling = PushOptions {
            spool_dir: Some(std::env::temp_dir()),
            spool_budget_bytes,
            ..options()
        };
        let layer = large_layer(3);
        let report = push_as(
            &registry.host(),
            "team/app:one",
            std::slice::from_ref(&layer),
            &spooling,
        )
        .unwrap();
        let digest = layer.record().digest.to_string();
        assert_eq!(registry.blob(&digest).unwrap(), layer.blob());
        assert_eq!(uploads(&report), 1);
        assert!(
            layer.write_count() >= times_made && layer.write_count() <= times_made + 1,
            "one for each way that is tried: {}",
            layer.write_count()
        );
    }
}

#[test]
fn an_interrupt_ends_a_push_and_moves_no_tag() {
    let switch = nixply_registry::Interrupt::default();
    let thrower = switch.clone();
    let registry = RecordingRegistry::start_with(move |request| {
        if request.method == "PUT" {
            thrower.throw();
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        None
    });
    let interruptible = PushOptions {
        interrupt: switch,
        ..options()
    };
    let layers = [small_layer(1), large_layer(2), large_layer(3)];
    let error = push_as(&registry.host(), "team/app:one", &layers, &interruptible).unwrap_err();
    assert!(matches!(error, RegistryError::Interrupted), "{error}");
    assert_eq!(registry.manifest("one"), None);
}
