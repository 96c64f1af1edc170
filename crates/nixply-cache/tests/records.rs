//! What the store keeps, for how long, and what it does with files that are not as they should be.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

use nixply_cache::{Bounds, CacheError, FoundRecord, HeldBy, LocalRecords};
use nixply_oci::{DiffId, LayerDigest, LayerKey, LayerRecord, MediaType, RepositoryName};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn key(n: u32) -> LayerKey {
    LayerKey::of(&n.to_be_bytes())
}

fn record(n: u32) -> LayerRecord {
    LayerRecord {
        diff_id: DiffId::of(format!("tar {n}").as_bytes()),
        digest: LayerDigest::of(format!("blob {n}").as_bytes()),
        size_bytes: u64::from(n) + 7,
        media_type: MediaType::OciLayerTarZstd,
    }
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// Which of the numbers are known.
fn found(records: &LocalRecords, numbers: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let numbers: Vec<u32> = numbers.into_iter().collect();
    let keys: Vec<LayerKey> = numbers.iter().map(|n| key(*n)).collect();
    let found = records.find(&keys);
    assert_eq!(found.len(), keys.len());
    let known = numbers.into_iter().zip(found).filter_map(|(n, found)| {
        let known = found?;
        assert_eq!(known.record, record(n), "a record is right or not there");
        Some(n)
    });
    known.collect()
}

#[test]
fn what_is_kept_is_found_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let records = LocalRecords::open(dir.path()).unwrap();
    assert_eq!(records.find(&[key(1)]), [None]);
    records.remember(&[(key(1), record(2))]);
    records.remember(&[(key(1), record(1))]);
    records.remember(&[(key(2), record(2))]);
    records.remember_held(&[record(1).digest], &name("ghcr.io/acme/a"));
    records.remember_held(&[record(1).digest], &name("localhost:5000/b"));
    records.remember_upload_method("ghcr.io", "streamed");
    records.remember_upload_method("ghcr.io", "chunked");
    drop(records);

    let records = LocalRecords::open(dir.path()).unwrap();
    assert_eq!(records.upload_method("ghcr.io").unwrap(), "chunked");
    assert_eq!(records.upload_method("quay.io"), None);
    let expected = FoundRecord {
        record: record(1),
        held_by: vec![name("localhost:5000/b"), name("ghcr.io/acme/a")],
    };
    assert_eq!(records.find(&[key(3), key(1)]), [None, Some(expected)]);
    records.remember_held(&[record(1).digest], &name("ghcr.io/acme/a"));
    records.forget_held(record(1).digest, &name("localhost:5000/b"));
    assert_eq!(
        records.find(&[key(1)])[0].as_ref().unwrap().held_by,
        [name("ghcr.io/acme/a")]
    );
    records.forget(key(1));
    assert_eq!(found(&records, [1, 2]), [2]);
    assert_eq!(records.trouble(), [""; 0]);
}

#[test]
fn the_summary_counts_and_clearing_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let records = LocalRecords::open(dir.path()).unwrap();
    for n in 0..300 {
        records.remember(&[(key(n), record(n))]);
        records.remember_held(&[record(n).digest], &name("ghcr.io/acme/a"));
    }
    records.remember_held(&[record(0).digest], &name("ghcr.io/acme/b"));
    records.remember_upload_method("ghcr.io", "chunked");
    let full = records.summary().unwrap();
    assert_eq!(full.n_records, 300);
    let held = |repository, n_layers| HeldBy {
        repository: name(repository),
        n_layers,
    };
    assert_eq!(
        full.repositories,
        [held("ghcr.io/acme/a", 300), held("ghcr.io/acme/b", 1)]
    );
    assert_eq!(
        full.upload_methods,
        [("ghcr.io".to_owned(), "chunked".to_owned())]
    );
    fs::write(dir.path().join("records.sqlite.damaged"), "x").unwrap();
    let other = LocalRecords::open(dir.path()).unwrap();
    records.clear().unwrap();
    assert!(!dir.path().join("records.sqlite.damaged").exists());
    assert!(found(&other, 0..300).is_empty());
    drop(other);
    let empty = LocalRecords::open(dir.path()).unwrap().summary().unwrap();
    assert_eq!((empty.n_records, empty.repositories.len()), (0, 0));
    records.clear().unwrap();
    let empty = records.summary().unwrap();
    assert!(
        empty.size_bytes < full.size_bytes,
        "{empty:?} is no smaller than {full:?}"
    );
}

#[test]
fn the_oldest_unused_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Bounds {
        records: 10,
        held: 10,
        hosts: 2,
    };
    let records = LocalRecords::open_bounded(dir.path(), bounds).unwrap();
    for n in 0..10 {
        records.remember(&[(key(n), record(n))]);
    }
    assert_eq!(found(&records, [0, 3]), [0, 3], "these are used once more");
    for n in 10..15 {
        records.remember(&[(key(n), record(n))]);
    }
    assert_eq!(
        found(&records, 0..15),
        [0, 3, 7, 8, 9, 10, 11, 12, 13, 14],
        "1, 2, 4, 5, 6 were used before all others"
    );
    for n in 0..30 {
        records.remember_held(&[record(n).digest], &name(&format!("ghcr.io/acme/r{n}")));
        records.remember_upload_method(&format!("host{n}"), "whole");
    }
    let summary = records.summary().unwrap();
    let methods: Vec<&str> = summary
        .upload_methods
        .iter()
        .map(|(host, _)| host.as_str())
        .collect();
    assert_eq!(methods, ["host28", "host29"]);
    let held: u64 = summary.repositories.iter().map(|held| held.n_layers).sum();
    assert_eq!(held, 10);
    assert_eq!(
        summary.repositories.len(),
        10,
        "repositories that hold nothing are gone"
    );
}

#[test]
fn a_layer_has_few_repositories_of_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let records = LocalRecords::open(dir.path()).unwrap();
    records.remember(&[(key(1), record(1))]);
    records.remember_held(&[record(1).digest], &name("quay.io/acme/a"));
    for n in 0..20 {
        records.remember_held(&[record(1).digest], &name(&format!("ghcr.io/acme/r{n}")));
    }
    let known = records.find(&[key(1)]);
    let names: Vec<String> = known[0]
        .as_ref()
        .unwrap()
        .held_by
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names.len(), 9, "{names:?}");
    assert_eq!(names[0], "ghcr.io/acme/r19");
    assert_eq!(names[7..], ["ghcr.io/acme/r12", "quay.io/acme/a"]);
}

#[test]
fn only_the_user_may_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("home/.cache/nixply");
    let records = LocalRecords::open(&cache).unwrap();
    records.remember(&[(key(1), record(1))]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache), 0o700);
    let mut names: Vec<String> = fs::read_dir(&cache)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
            entry.file_name().into_string().unwrap()
        })
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "records.lock",
            "records.sqlite",
            "records.sqlite-shm",
            "records.sqlite-wal"
        ]
    );
}

#[test]
fn a_directory_that_cannot_be_is_an_error_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = LocalRecords::open(&file.join("nixply")).unwrap_err();
    assert!(matches!(error, CacheError::File { .. }), "{error}");
    let database = dir.path().join("records.sqlite");
    fs::create_dir(&database).unwrap();
    let error = LocalRecords::open(dir.path()).unwrap_err();
    assert!(matches!(error, CacheError::Database { .. }), "{error}");
    assert!(database.is_dir());
}

#[test]
fn newer_and_foreign_files_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records.sqlite");
    drop(LocalRecords::open(dir.path()).unwrap());
    // The version stands at byte 60, the program at byte 68 (SQLite's "Database File Format", section 1.3).
    let own = fs::read(&path).unwrap();
    let mut newer = own.clone();
    newer[60..64].copy_from_slice(&7_u32.to_be_bytes());
    let mut foreign = own;
    foreign[68..72].copy_from_slice(b"else");
    for content in [newer, foreign] {
        fs::write(&path, &content).unwrap();
        let error = LocalRecords::open(dir.path()).unwrap_err();
        match error {
            CacheError::NewerVersion { found, known, .. } => assert_eq!((found, known), (7, 1)),
            CacheError::Foreign { .. } => assert_eq!(content[68..72], *b"else"),
            error => panic!("{error}"),
        }
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert!(!dir.path().join("records.sqlite.damaged").exists());
}

/// A database of records 0 to 299, nothing of it in the log.
fn healthy(dir: &Path) -> Vec<u8> {
    let records = LocalRecords::open(dir).unwrap();
    for n in 0..300 {
        records.remember(&[(key(n), record(n))]);
        records.remember_held(&[record(n).digest], &name("ghcr.io/acme/a"));
    }
    drop(records);
    assert!(!dir.join("records.sqlite-wal").exists());
    fs::read(dir.join("records.sqlite")).unwrap()
}

/// SQLite takes a shorter file for an empty database: nothing was lost that anybody could miss.
const SMALLEST_BYTES: usize = 512;

/// The store works whatever stands in its file, and what it finds is right.
fn survives(dir: &Path, content: &[u8], what: &str) -> usize {
    fs::write(dir.join("records.sqlite"), content).unwrap();
    let records = match LocalRecords::open(dir) {
        Ok(records) => records,
        // A flipped bit in the header makes the file another program's, or a newer one.
        Err(CacheError::Foreign { .. } | CacheError::NewerVersion { .. }) => return 0,
        Err(error) => panic!("{what}: {error}"),
    };
    let n_known = found(&records, 0..300).len();
    // Damage that shows late takes with it what was kept just before.
    for _ in 0..2 {
        records.remember(&[(key(1000), record(1000))]);
        records.remember_held(&[record(1000).digest], &name("ghcr.io/acme/z"));
    }
    // Half a page of zeros can look like a page with fewer records: no harm, and nothing to notice.
    assert!(
        n_known > 0 || !records.trouble().is_empty() || content.len() < SMALLEST_BYTES,
        "{what}: all records are lost, and nobody says why",
    );
    drop(records);
    let records = LocalRecords::open(dir).unwrap();
    assert_eq!(
        found(&records, [1000]),
        [1000],
        "{what}: {:?}",
        records.trouble()
    );
    n_known
}

#[test]
fn a_damaged_file_is_set_aside_and_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let content = healthy(dir.path());
    let damaged = dir.path().join("records.sqlite.damaged");
    assert_eq!(survives(dir.path(), &content, "healthy"), 300);
    assert!(!damaged.exists());
    for garbage in [
        &b"x"[..],
        b"SQLite format 3\0",
        &[0; 5000],
        &vec![b'x'; 100_000],
    ] {
        let what = format!("{} bytes of garbage", garbage.len());
        assert_eq!(survives(dir.path(), garbage, &what), 0);
        if garbage.len() >= SMALLEST_BYTES {
            assert_eq!(fs::read(&damaged).unwrap(), garbage, "{what}");
        }
    }
    assert_eq!(survives(dir.path(), b"", "an empty file"), 0);
}

#[test]
fn every_page_may_be_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let content = healthy(dir.path());
    let mut n_lost = 0;
    for length in (0..content.len()).step_by(content.len() / 20) {
        let known = survives(dir.path(), &content[..length], &format!("{length} bytes"));
        n_lost += usize::from(known < 300);
    }
    for position in (0..content.len()).step_by(content.len() / 60) {
        let mut damaged = content.clone();
        for byte in &mut damaged[position..(position + 32).min(content.len())] {
            *byte ^= 0x55;
        }
        let known = survives(dir.path(), &damaged, &format!("damage at {position}"));
        n_lost += usize::from(known < 300);
    }
    assert!(n_lost > 20, "only {n_lost} files were really damaged");
}

#[test]
fn a_flipped_bit_in_a_value_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = healthy(dir.path());
    let diff_id = *record(7).diff_id.as_bytes();
    let position = content
        .windows(diff_id.len())
        .position(|window| window == diff_id)
        .unwrap();
    content[position] ^= 1;
    fs::write(dir.path().join("records.sqlite"), content).unwrap();
    let records = LocalRecords::open(dir.path()).unwrap();
    assert_eq!(records.trouble(), [""; 0]);
    assert_eq!(records.find(&[key(7)]), [None]);
    let [trouble] = &records.trouble()[..] else {
        panic!("{:?}", records.trouble());
    };
    assert!(trouble.contains("check sum"), "{trouble}");
}
