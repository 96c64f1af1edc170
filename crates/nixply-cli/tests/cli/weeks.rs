//! Two weekly pins of a small project, as closures and as images.

use crate::support::Sandbox;
use nixply_oci::Digest;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A hash part, a name, a NAR size and the names of the references.
type Record = (&'static str, &'static str, u64, &'static [&'static str]);

/// `glibc`, `openssl` and `cacert` are about to change.
const WEEK_1: &[Record] = &[
    (
        "a1",
        "glibc-2.39-52",
        30_612_480,
        &["libidn2-2.3.7", "xgcc-13.2.0-libgcc"],
    ),
    ("a2", "libidn2-2.3.7", 361_024, &["libunistring-1.1"]),
    ("a3", "libunistring-1.1", 1_813_904, &[]),
    ("a4", "xgcc-13.2.0-libgcc", 159_304, &[]),
    ("a5", "gcc-13.2.0-lib", 9_023_112, &["glibc-2.39-52"]),
    ("a6", "bash-5.2p26", 1_654_288, &["glibc-2.39-52"]),
    ("a7", "ncurses-6.4", 4_318_760, &["glibc-2.39-52"]),
    (
        "a8",
        "readline-8.2p10",
        480_112,
        &["glibc-2.39-52", "ncurses-6.4"],
    ),
    ("a9", "zlib-1.3.1", 129_240, &["glibc-2.39-52"]),
    ("b1", "openssl-3.0.13", 6_371_808, &["glibc-2.39-52"]),
    (
        "b2",
        "openssl-3.0.13-bin",
        807_880,
        &["glibc-2.39-52", "openssl-3.0.13"],
    ),
    (
        "b3",
        "sqlite-3.45.3",
        1_646_000,
        &["glibc-2.39-52", "zlib-1.3.1"],
    ),
    ("b4", "tzdata-2024a", 2_086_864, &[]),
    ("b5", "mailcap-2.1.54", 115_672, &[]),
    ("b6", "nss-cacert-3.98", 489_616, &[]),
    (
        "b7",
        "python3-3.11.9",
        123_904_512,
        &[
            "glibc-2.39-52",
            "gcc-13.2.0-lib",
            "bash-5.2p26",
            "readline-8.2p10",
            "zlib-1.3.1",
            "openssl-3.0.13",
            "sqlite-3.45.3",
            "tzdata-2024a",
            "mailcap-2.1.54",
        ],
    ),
    (
        "b8",
        "python3.11-requests-2.31.0",
        538_424,
        &["python3-3.11.9", "nss-cacert-3.98"],
    ),
    (
        "b9",
        "python3.11-pyyaml-6.0.1",
        1_103_344,
        &["python3-3.11.9"],
    ),
    (
        "c1",
        "python3-3.11.9-env",
        1_042_168,
        &[
            "python3-3.11.9",
            "python3.11-requests-2.31.0",
            "python3.11-pyyaml-6.0.1",
        ],
    ),
    (
        "c2",
        "app-1.4.0",
        2_214_400,
        &["python3-3.11.9-env", "openssl-3.0.13-bin", "bash-5.2p26"],
    ),
];

/// The same a week later: `pyyaml` is no longer used, and a new dependency of the application is.
const WEEK_2: &[Record] = &[
    (
        "d1",
        "glibc-2.40-36",
        31_004_672,
        &["libidn2-2.3.7", "xgcc-13.2.0-libgcc"],
    ),
    ("a2", "libidn2-2.3.7", 361_024, &["libunistring-1.1"]),
    ("a3", "libunistring-1.1", 1_813_904, &[]),
    ("a4", "xgcc-13.2.0-libgcc", 159_304, &[]),
    ("d5", "gcc-13.2.0-lib", 9_023_112, &["glibc-2.40-36"]),
    ("d6", "bash-5.2p26", 1_654_288, &["glibc-2.40-36"]),
    ("d7", "ncurses-6.4", 4_318_760, &["glibc-2.40-36"]),
    (
        "d8",
        "readline-8.2p10",
        480_112,
        &["glibc-2.40-36", "ncurses-6.4"],
    ),
    ("d9", "zlib-1.3.1", 129_240, &["glibc-2.40-36"]),
    ("g1", "openssl-3.0.14", 6_372_104, &["glibc-2.40-36"]),
    (
        "g2",
        "openssl-3.0.14-bin",
        807_880,
        &["glibc-2.40-36", "openssl-3.0.14"],
    ),
    (
        "g3",
        "sqlite-3.45.3",
        1_646_000,
        &["glibc-2.40-36", "zlib-1.3.1"],
    ),
    ("b4", "tzdata-2024a", 2_086_864, &[]),
    ("g5", "mailcap-2.1.54", 115_672, &[]),
    ("g6", "nss-cacert-3.101", 492_008, &[]),
    (
        "g7",
        "python3-3.11.9",
        123_904_512,
        &[
            "glibc-2.40-36",
            "gcc-13.2.0-lib",
            "bash-5.2p26",
            "readline-8.2p10",
            "zlib-1.3.1",
            "openssl-3.0.14",
            "sqlite-3.45.3",
            "tzdata-2024a",
            "mailcap-2.1.54",
        ],
    ),
    (
        "g8",
        "python3.11-requests-2.31.0",
        538_424,
        &["python3-3.11.9", "nss-cacert-3.101"],
    ),
    ("f3", "libyaml-0.2.5", 180_216, &["glibc-2.40-36"]),
    (
        "f1",
        "python3-3.11.9-env",
        1_042_168,
        &["python3-3.11.9", "python3.11-requests-2.31.0"],
    ),
    (
        "f2",
        "app-1.5.0",
        2_214_944,
        &[
            "python3-3.11.9-env",
            "openssl-3.0.14-bin",
            "bash-5.2p26",
            "libyaml-0.2.5",
        ],
    ),
];

/// The base name of one of the paths.
pub(crate) fn base_name(week: usize, name: &str) -> String {
    let records = [WEEK_1, WEEK_2][week - 1];
    let (hash, ..) = records
        .iter()
        .find(|(_, other, ..)| *other == name)
        .unwrap();
    format!("{}-{name}", hash.repeat(16))
}

/// A sandbox with `week1.json` and `week2.json`, and every path of both in its store, as a small directory.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (week, records) in [(1, WEEK_1), (2, WEEK_2)] {
        let closure: Vec<Value> = records
            .iter()
            .map(|(hash, name, nar_size_bytes, references)| {
                let path = |name: &str| format!("/nix/store/{}", base_name(week, name));
                let dir = sandbox.store().join(base_name(week, name));
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join("content"), format!("{hash} {name}\n").repeat(200)).unwrap();
                let nar_hash = Digest::of(path(name).as_bytes()).hex();
                json!({
                    "path": path(name),
                    "narHash": format!("sha256:{nar_hash}"),
                    "narSize": nar_size_bytes,
                    "references": references.iter().map(|name| path(name)).collect::<Vec<_>>(),
                })
            })
            .collect();
        sandbox.write(
            &format!("week{week}.json"),
            &Value::from(closure).to_string(),
        );
    }
    sandbox
}

/// Makes an image of a week in an OCI layout, and then changes its config and manifest.
pub(crate) fn export(
    sandbox: &Sandbox,
    week: &str,
    layout: &str,
    change: fn(&mut Value, &mut Value),
) {
    sandbox.stdout(&[
        "export",
        week,
        "--format",
        "oci-dir",
        "-o",
        layout,
        "--platform",
        "linux/amd64",
        "--physical-store",
        "store",
        "-q",
    ]);
    let dir = sandbox.path(layout);
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        dir.join("blobs/sha256").join(&digest["sha256:".len()..])
    };
    let write = |descriptor: &mut Value, content: &Value| {
        let bytes = content.to_string().into_bytes();
        descriptor["digest"] = Value::from(Digest::of(&bytes).to_string());
        descriptor["size"] = Value::from(bytes.len());
        fs::write(blob(descriptor), bytes).unwrap();
    };
    let mut index = read(&dir.join("index.json"));
    let mut manifest = read(&blob(&index["manifests"][0]));
    let mut config = read(&blob(&manifest["config"]));
    change(&mut config, &mut manifest);
    write(&mut manifest["config"], &config);
    write(&mut index["manifests"][0], &manifest);
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
}

/// An image as nixply makes it.
pub(crate) fn unchanged(_: &mut Value, _: &mut Value) {}

/// An image as nixpkgs' dockerTools describes its own: no layer keys, and history with lists as Python prints them.
pub(crate) fn like_dockertools(config: &mut Value, manifest: &mut Value) {
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer.as_object_mut().unwrap().remove("annotations");
    }
    for entry in config["history"].as_array_mut().unwrap() {
        let comment = entry["comment"].as_str().unwrap();
        let comment = comment
            .replace("\",\"", "', '")
            .replace("[\"", "['")
            .replace("\"]", "']");
        *entry = json!({"created": "1970-01-01T00:00:01Z", "comment": comment});
    }
}

/// An image as nix2container describes its own: nothing says what the layers hold.
pub(crate) fn like_nix2container(config: &mut Value, manifest: &mut Value) {
    like_dockertools(config, manifest);
    for entry in config["history"].as_array_mut().unwrap() {
        *entry = json!({"created_by": "nix2container"});
    }
}
