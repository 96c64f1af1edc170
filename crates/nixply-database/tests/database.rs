//! The database as SQLite and as Nix read it.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use nixply_database::{DatabaseError, RegisteredPath, SCHEMA, write_database};
use nixply_store::{NarHash, StoreDir, StorePath};
use nixply_testkit::require_program;
use proptest::prelude::*;
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The NAR hash of a file with the text `hello\n`; the NAR has 120 bytes.
const HELLO_NAR_HASH: &str = "sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw";

fn names(count: usize) -> Vec<StorePath> {
    (0..count)
        .map(|n| {
            let digits: String = format!("{n:032}").replace(['e', 'o', 't', 'u'], "0");
            StorePath::new(&format!("{digits}-path-{n}")).unwrap()
        })
        .collect()
}

fn registered<'a>(paths: &'a [StorePath], references: &[&[usize]]) -> Vec<RegisteredPath<'a>> {
    (paths.iter().zip(references).enumerate())
        .map(|(n, (path, references))| RegisteredPath {
            path,
            nar_hash: NarHash::from_bytes([u8::try_from(n).unwrap(); 32]),
            nar_size_bytes: 1000 + n as u64,
            references: references.to_vec(),
        })
        .collect()
}

fn open(dir: &Path, bytes: &[u8]) -> Connection {
    let file = dir.join("db.sqlite");
    fs::write(&file, bytes).unwrap();
    Connection::open(file).unwrap()
}

#[test]
fn sqlite_finds_what_nix_looks_for() {
    let paths = names(3);
    let bytes = write_database(
        &StoreDir::default(),
        &registered(&paths, &[&[], &[0, 1], &[1, 0, 1]]),
    )
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path(), &bytes);
    let check: String = database
        .query_row("pragma integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let mut rows = database
        .prepare("select path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca from ValidPaths order by id")
        .unwrap();
    let rows: Vec<String> = rows
        .query_map([], |row| {
            let absent = |column| row.get::<_, Option<String>>(column);
            Ok(format!(
                "{} {} {} {:?} {} {:?} {:?} {:?}",
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
                absent(3)?,
                row.get::<_, i64>(4)?,
                absent(5)?,
                absent(6)?,
                absent(7)?
            ))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        rows[1],
        format!(
            "/nix/store/{} sha256:{} 1 None 1001 None None None",
            paths[1].base_name(),
            "01".repeat(32)
        )
    );
    let mut references = database
        .prepare("select referrer, reference from Refs order by referrer, reference")
        .unwrap();
    let references: Vec<(i64, i64)> = references
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(references, [(2, 1), (2, 2), (3, 1), (3, 2)]);
    // As Nix deletes: nothing while it is referred to, itself excepted.
    database.execute_batch("pragma foreign_keys = 1").unwrap();
    assert!(
        database
            .execute("delete from ValidPaths where id = 2", [])
            .is_err()
    );
    database
        .execute("delete from ValidPaths where id = 3", [])
        .unwrap();
    database
        .execute("delete from ValidPaths where id = 2", [])
        .unwrap();
}

#[test]
fn the_file_is_these_bytes() {
    let paths = names(40);
    let list = [&[][..]; 40];
    let bytes = write_database(&StoreDir::default(), &registered(&paths, &list)).unwrap();
    // Other bytes for the same paths change the digest of every image with a database.
    assert_eq!(
        (bytes.len(), fingerprint(&bytes).as_str()),
        (53_248, "f2138ce049fa1fa3")
    );
}

/// FNV-1a, enough to see that bytes are the same.
fn fingerprint(bytes: &[u8]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[test]
fn what_cannot_be_registered_is_named() {
    let paths = names(1);
    let twice = [registered(&paths, &[&[]]), registered(&paths, &[&[]])].concat();
    let error = write_database(&StoreDir::default(), &twice).unwrap_err();
    assert!(matches!(error, DatabaseError::Duplicate { path } if path == paths[0]));
    let error = write_database(&StoreDir::default(), &registered(&paths, &[&[7]])).unwrap_err();
    assert!(
        error.to_string().ends_with("refers to number 7 of 1 paths"),
        "{error}"
    );
    let mut large = registered(&paths, &[&[]]);
    large[0].nar_size_bytes = u64::MAX;
    let error = write_database(&StoreDir::default(), &large).unwrap_err();
    assert!(matches!(error, DatabaseError::NarSize { .. }));
}

#[test]
fn nix_believes_in_the_paths_and_verifies_them() {
    let Some(nix_store) = require_program("nix-store") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = (
        dir.path().join("nix/store"),
        dir.path().join("nix/var/nix/db"),
    );
    fs::create_dir_all(&store).unwrap();
    fs::create_dir_all(&db).unwrap();
    let paths = names(2);
    for path in &paths {
        fs::write(store.join(path.base_name()), "hello\n").unwrap();
    }
    let mut list = registered(&paths, &[&[], &[0, 1]]);
    for path in &mut list {
        path.nar_hash = HELLO_NAR_HASH.parse().unwrap();
        path.nar_size_bytes = 120;
    }
    fs::write(
        db.join("db.sqlite"),
        write_database(&StoreDir::default(), &list).unwrap(),
    )
    .unwrap();
    fs::write(db.join("schema"), SCHEMA).unwrap();
    // What Nix prints, and whether it is content.
    let nix = |arguments: &[&str]| {
        let output = Command::new(&nix_store)
            .args(arguments)
            .env("NIX_REMOTE", format!("local?root={}", dir.path().display()))
            .env("NIX_CONF_DIR", dir.path())
            .env("HOME", dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let printed = text(&output.stdout) + &text(&output.stderr);
        (printed, output.status.success())
    };
    let full = |path: &StorePath| format!("/nix/store/{}", path.base_name());
    let (references, _) = nix(&["--query", "--references", &full(&paths[1])]);
    assert_eq!(
        references,
        format!("{}\n{}\n", full(&paths[0]), full(&paths[1]))
    );
    let (told, is_content) = nix(&["--verify", "--check-contents"]);
    assert!(is_content && !told.contains("disappeared"), "{told}");

    // Nix looks at each path: one that changed is told.
    fs::write(store.join(paths[0].base_name()), "hallo\n").unwrap();
    let (told, is_content) = nix(&["--verify", "--check-contents"]);
    assert!(
        !is_content && told.contains("path-0' was modified"),
        "{told}"
    );

    // All of it is garbage without a root, and Nix can delete it.
    let (told, is_content) = nix(&["--gc"]);
    assert!(is_content, "{told}");
    assert!(!store.join(paths[1].base_name()).exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_order_of_the_list_does_not_show(shuffled in Just((0..30_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let paths = names(30);
        let all: Vec<Vec<usize>> = (0..30).map(|n| (0..n).filter(|m| (n + m) % 3 == 0).collect()).collect();
        let list: Vec<&[usize]> = all.iter().map(Vec::as_slice).collect();
        let sorted = registered(&paths, &list);
        let at = |old: &usize| shuffled.iter().position(|other| other == old).unwrap();
        let other: Vec<RegisteredPath<'_>> = shuffled
            .iter()
            .map(|&n| RegisteredPath { references: sorted[n].references.iter().map(at).collect(), ..sorted[n].clone() })
            .collect();
        let store_dir = StoreDir::default();
        prop_assert_eq!(write_database(&store_dir, &sorted).unwrap(), write_database(&store_dir, &other).unwrap());
    }
}
