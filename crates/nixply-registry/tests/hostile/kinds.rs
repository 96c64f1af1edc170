//! Every kind of registry: what is pushed comes back, and is not sent again.

use crate::common::{OBSERVER, anonymous, assert_stored, push_to, reference};
use nixply_oci::ImageSource as _;
use nixply_registry::RegistryImage;
use nixply_testkit::images::{TestLayer, tar_of_files};
use nixply_testkit::registry::{FaultProxy, Phase, RegistryKind, RegistrySetup};
use nixply_testkit::require_program;
use std::fs;
use std::process::Command;

/// Held in memory, streamed, streamed in more than one chunk of 4 MiB, compressed, empty.
fn layers() -> Vec<TestLayer> {
    vec![
        TestLayer::noise(1, 30_000),
        TestLayer::noise(2, 1 << 20),
        TestLayer::noise(3, (9 << 20) + 3),
        TestLayer::gzip(&[5; 100_000]),
        TestLayer::zstd(&[6; 100_000]),
        TestLayer::plain(b""),
    ]
}

#[test]
fn an_image_comes_back_and_is_not_sent_twice() {
    for kind in RegistryKind::ALL {
        let Some(mut registry) = RegistrySetup::new(kind).start() else {
            continue;
        };
        let proxy = FaultProxy::start(registry.host(), vec![]);
        let layers = layers();
        push_to(&proxy.host(), "team/app:one", &layers).unwrap();
        let blob_bytes: usize = layers.iter().map(|layer| layer.blob().len()).sum();
        let sent: u64 = proxy
            .log()
            .iter()
            .filter(|passed| passed.phase != Phase::ManifestPut)
            .map(|passed| passed.sent_bytes)
            .sum();
        let config_bytes = 2000;
        let expected = blob_bytes as u64..blob_bytes as u64 + config_bytes;
        assert!(
            expected.contains(&sent),
            "{kind:?}: {sent} and not {expected:?}"
        );

        proxy.forget();
        let known: Vec<TestLayer> = layers
            .iter()
            .cloned()
            .map(TestLayer::known_beforehand)
            .collect();
        push_to(&proxy.host(), "team/app:two", &known).unwrap();
        for phase in [Phase::UploadStart, Phase::UploadPatch, Phase::UploadPut] {
            assert_eq!(proxy.count(phase), 0, "{kind:?}: {phase:?}");
        }
        if kind != RegistryKind::Crane {
            registry.restart();
        }
        for tag in ["team/app:one", "team/app:two"] {
            assert_stored(&OBSERVER, registry.host(), tag, &layers);
        }
        assert_skopeo_copies(registry.host(), "team/app:one", &layers);
        assert_crane_validates(registry.host(), "team/tars:x");
    }
}

/// skopeo writes each blob into a file that is named by its digest.
fn assert_skopeo_copies(host: &str, name: &str, layers: &[TestLayer]) {
    let Some(skopeo) = require_program("skopeo") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let copy = Command::new(skopeo)
        .args(["copy", "--quiet", "--src-tls-verify=false"])
        .arg("--insecure-policy")
        .arg(format!("docker://{host}/{name}"))
        .arg(format!("dir:{}", dir.path().display()))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&copy.stderr);
    assert!(copy.status.success(), "{stderr}");
    for layer in layers {
        let file = dir.path().join(layer.record().digest.hex());
        assert!(
            fs::read(&file).unwrap() == layer.blob(),
            "{}",
            file.display()
        );
    }
    let stored = RegistryImage::open(&anonymous(), &reference(host, name), None).unwrap();
    let manifest = fs::read(dir.path().join("manifest.json")).unwrap();
    let digest = nixply_oci::Digest::of(&manifest);
    assert_eq!(digest, stored.image().manifest_descriptor.digest);
}

/// crane reads every which has to be a tar, and holds it against manifest and config.
fn assert_crane_validates(host: &str, name: &str) {
    let Some(crane) = require_program("crane") else {
        return;
    };
    let large = vec![7; 1 << 20];
    let tars = [("etc/motd", &b"hello"[..]), ("etc/large", &large)];
    let layers = tars.map(|file| TestLayer::gzip(&tar_of_files(&[file])));
    push_to(host, name, &layers).unwrap();
    let validate = Command::new(crane)
        .args(["validate", "--insecure", "--remote"])
        .arg(format!("{host}/{name}"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&validate.stderr);
    assert!(validate.status.success(), "{stderr}");
}
