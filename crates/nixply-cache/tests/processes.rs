//! Several processes at once, and processes that are killed. Each test starts itself again as another process.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

use nixply_cache::LocalRecords;
use nixply_oci::{DiffId, LayerDigest, LayerKey, LayerRecord, MediaType, RepositoryName};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

/// The directory of the records, in a process that a test started.
const DIR: &str = "NIXPLY_CACHE_TEST_DIR";
/// Which numbers such a process writes: from this on.
const FIRST: &str = "NIXPLY_CACHE_TEST_FIRST";
/// How many records a process writes that is not killed.
const N_RECORDS: u32 = 200;

fn key(n: u32) -> LayerKey {
    LayerKey::of(&n.to_be_bytes())
}

fn record(n: u32) -> LayerRecord {
    LayerRecord {
        diff_id: DiffId::of(format!("tar {n}").as_bytes()),
        digest: LayerDigest::of(format!("blob {n}").as_bytes()),
        size_bytes: u64::from(n),
        media_type: MediaType::OciLayerTarGzip,
    }
}

fn repository() -> RepositoryName {
    "ghcr.io/acme/a".parse().unwrap()
}

/// Starts this test again as a process that writes.
fn writer(test: &str, dir: &Path, first: u32) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DIR, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// In a process that a test started: writes `n_records` and tells each that is kept. False in the test itself.
fn write_if_started(n_records: u32) -> bool {
    let Some(dir) = env::var_os(DIR) else {
        return false;
    };
    let first: u32 = env::var(FIRST).unwrap().parse().unwrap();
    let records = LocalRecords::open(Path::new(&dir)).unwrap();
    let trouble = records.trouble();
    for n in first..first.saturating_add(n_records) {
        records.remember(&[(key(n), record(n))]);
        records.remember_held(&[record(n).digest], &repository());
        assert_eq!(known(&records, n..n + 1), [n]);
        assert_eq!(records.trouble(), trouble);
        // Past the test harness; who does not read any more has killed this process.
        let _ = writeln!(std::io::stdout(), "\nkept {n}");
    }
    true
}

/// Which of the numbers are known; a record that is there is the right one.
fn known(records: &LocalRecords, numbers: std::ops::Range<u32>) -> Vec<u32> {
    let keys: Vec<LayerKey> = numbers.clone().map(key).collect();
    let found = numbers.zip(records.find(&keys));
    let known = found.filter_map(|(n, found)| {
        assert_eq!(found?.record, record(n));
        Some(n)
    });
    known.collect()
}

#[test]
fn processes_begin_and_write_at_once() {
    if write_if_started(N_RECORDS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // All of them find no file, or a damaged one that only one may set aside.
    for damaged in [false, true] {
        let dir = dir.path().join(damaged.to_string());
        if damaged {
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("records.sqlite"), "garbage").unwrap();
        }
        let writers: Vec<Child> = (0..6)
            .map(|i| writer("processes_begin_and_write_at_once", &dir, i * N_RECORDS))
            .collect();
        for writer in writers {
            let output = writer.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        let records = LocalRecords::open(&dir).unwrap();
        let all: Vec<u32> = (0..6 * N_RECORDS).collect();
        assert_eq!(known(&records, 0..6 * N_RECORDS), all);
        let summary = records.summary().unwrap();
        assert_eq!(summary.repositories[0].n_layers, u64::from(6 * N_RECORDS));
        assert_eq!(dir.join("records.sqlite.damaged").exists(), damaged);
    }
}

#[test]
fn killed_processes_leave_what_they_kept() {
    if write_if_started(u32::MAX) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 0..40_u32 {
        let first = round * 100_000;
        let mut child = writer("killed_processes_leave_what_they_kept", dir.path(), first);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The first rounds are killed while they open or make the file.
        thread::sleep(Duration::from_micros(u64::from(round * round) * 50));
        child.kill().unwrap();
        child.wait().unwrap();
        let last = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("kept ")?.parse::<u32>().ok())
            .last();
        let records = LocalRecords::open(dir.path()).unwrap();
        let kept: Vec<u32> = last
            .map(|last| (first..=last).collect())
            .unwrap_or_default();
        let end = last.map_or(first, |last| last + 1);
        assert_eq!(known(&records, first..end), kept, "round {round}");
        assert_eq!(records.trouble(), [""; 0], "round {round}");
    }
    let n_kept = LocalRecords::open(dir.path())
        .unwrap()
        .summary()
        .unwrap()
        .n_records;
    assert!(
        n_kept > 100,
        "only {n_kept} records before they were killed"
    );
}
