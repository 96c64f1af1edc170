//! The layer records of this machine, as `nixply cache` shows them.

use crate::support::Sandbox;
use nixply_cache::LocalRecords;
use nixply_oci::{DiffId, LayerDigest, LayerKey, LayerRecord, MediaType};
use std::fs;

/// Records of three layers, two of them in a repository.
fn fill(sandbox: &Sandbox) {
    let records = LocalRecords::open(&sandbox.path("cache/nixply")).unwrap();
    let mut digests = Vec::new();
    for n in [b"1", b"2", b"3"] {
        let record = LayerRecord {
            diff_id: DiffId::of(n),
            digest: LayerDigest::of(n),
            size_bytes: 7,
            media_type: MediaType::OciLayerTarGzip,
        };
        digests.push(record.digest);
        records.remember(&[(LayerKey::of(n), record)]);
    }
    records.remember_held(&digests[..2], &"ghcr.io/acme/app".parse().unwrap());
    records.remember_upload_method("ghcr.io", "chunked");
}

fn show(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox
        .command(arguments)
        .env("XDG_CACHE_HOME", sandbox.path("cache"))
        .output()
        .unwrap();
    without_size(&sandbox.shown(arguments, &output))
}

/// How many pages SQLite needs is its own affair.
fn without_size(text: &str) -> String {
    text.lines()
        .map(|line| {
            if let Some((before, _)) = line.split_once(" layers, ") {
                format!("{before} layers, [SIZE]\n")
            } else if let Some((before, _)) = line.split_once("\"size_bytes\": ") {
                format!("{before}\"size_bytes\": [SIZE],\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

#[test]
fn records_are_shown_and_cleared() {
    let sandbox = Sandbox::new();
    let mut text = show(&sandbox, &["cache", "show"]);
    assert!(!sandbox.path("cache").exists(), "asking makes nothing");
    fill(&sandbox);
    for arguments in [
        &["cache", "show"][..],
        &["cache", "show", "--json"],
        &["cache", "clear"],
        &["cache", "show", "--json"],
    ] {
        text.push('\n');
        text.push_str(&show(&sandbox, arguments));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_directory_is_found_or_named() {
    let sandbox = Sandbox::new();
    let none = sandbox.run(&["cache", "show"]);
    assert_eq!(none.status.code(), Some(1));
    let stderr = String::from_utf8(none.stderr).unwrap();
    assert!(
        stderr.contains("hint: set HOME, XDG_CACHE_HOME or NIXPLY_CACHE_DIR"),
        "{stderr}"
    );
    for (variable, value, found) in [
        ("HOME", sandbox.path("home"), "home/.cache/nixply"),
        ("XDG_CACHE_HOME", sandbox.path("xdg"), "xdg/nixply"),
        ("NIXPLY_CACHE_DIR", sandbox.path("own"), "own"),
    ] {
        let output = sandbox
            .command(&["cache", "show"])
            .env(variable, value)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let line = format!("directory  {}\n", sandbox.path(found).display());
        assert!(stdout.starts_with(&line), "{stdout}");
    }
}

#[test]
fn damaged_records_are_told_and_begun_anew() {
    let sandbox = Sandbox::new();
    fill(&sandbox);
    fs::write(
        sandbox.path("cache/nixply/records.sqlite"),
        "x".repeat(5000),
    )
    .unwrap();
    let text = show(&sandbox, &["cache", "show"]);
    assert!(
        text.contains("warning: layer records in `[DIR]/cache/nixply/records.sqlite` were damaged"),
        "{text}"
    );
    assert!(text.contains("records    0 layers"), "{text}");
}
