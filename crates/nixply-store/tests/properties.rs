//! Properties over random closures and random bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixtures;
mod writers;

use fixtures::fixture;
use nixply_store::{
    Closure, ClosureForm, NarHash, PathInfo, StoreDir, StorePath, read_attrs_graphs, read_closure,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::collections::BTreeSet;
use writers::{Record, WRITERS};

/// Records of a random DAG: a path refers only to paths before it, and perhaps to itself.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let path = (
        "[0-9a-df-np-sv-z]{32}-[a-z+._?=][a-zA-Z0-9+._?=-]{0,20}",
        any::<[u8; 32]>(),
    );
    let node = (
        path,
        0..u64::from(u32::MAX),
        any::<Option<u32>>(),
        vec(any::<Index>(), 0..6),
    );
    vec(node, 1..25).prop_map(|nodes| {
        let mut records: Vec<Record> = Vec::new();
        let mut seen = BTreeSet::new();
        for ((name, hash), size, time, picks) in nodes {
            let Ok(path) = StorePath::new(&name) else {
                continue; // The names `.` and `..`.
            };
            if !seen.insert(path.clone()) {
                continue;
            }
            let references = picks
                .iter()
                .map(|pick| match records.get(pick.index(records.len() + 1)) {
                    Some((info, _)) => info.path.clone(),
                    None => path.clone(),
                })
                .collect();
            let info = PathInfo {
                path,
                nar_hash: NarHash::from_bytes(hash),
                nar_size_bytes: size,
                ca: time.map(|_| "text:sha256:x".to_owned()),
                deriver: records.last().map(|(info, _)| info.path.clone()),
                signatures: vec!["key-1:AAAA".to_owned()],
                registration_time_secs: time.map(u64::from),
            };
            records.push((info, references));
        }
        records
    })
}

fn store_dir() -> impl Strategy<Value = StoreDir> {
    select(vec!["/nix/store", "/gnu/store", "/home/a b/s"])
        .prop_map(|dir| StoreDir::new(dir).unwrap())
}

/// A real file of any form, and other texts that begin like one.
fn sample() -> impl Strategy<Value = Vec<u8>> {
    select(vec![
        "same/nix-2.3.7.path-info.json",
        "same/nix-2.34.8-format-1.path-info.json",
        "same/nix-2.34.8-format-2.path-info.json",
        "same/nix-2025-11-structured-base16.derived.path-info.json",
        "other/nix-2.34.8.two-graphs.attrs.json",
        "other/format-3-of-one-path.path-info.json",
        "other/plain-references-graph.txt",
        "same/nix-2.8.0.dump-db.txt",
        "same/closure-info.derived.registration",
        "invalid/nix-2.34.8-format-2.path-info.json",
    ])
    .prop_map(fixture)
}

/// Reads in every way; only that nothing panics counts, messages included.
fn read(bytes: &[u8]) {
    for result in [
        read_closure(bytes).map(drop),
        read_attrs_graphs(bytes).map(drop),
        ClosureForm::detect(bytes).map(drop),
    ] {
        if let Err(error) = result {
            assert!(!error.to_string().is_empty());
            assert_ne!(error.hint().as_deref(), Some(""));
        }
    }
}

proptest! {
    // Each case is written and read 27 times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_form_reads_back_equal(records in records(), shuffled in any::<u64>(), dir in store_dir()) {
        prop_assume!(!records.is_empty());
        let closure = Closure::new(dir.clone(), records.clone()).unwrap();
        let mut other_order = records.clone();
        other_order.sort_by_key(|(info, _)| {
            info.path.base_name().bytes().fold(shuffled, |h, b| h.rotate_left(5).wrapping_mul(31) ^ u64::from(b))
        });
        for (_, references) in &mut other_order {
            references.reverse();
        }
        for (name, write) in WRITERS {
            for records in [&records, &other_order] {
                let text = write(&dir, records);
                let read = read_closure(text.as_bytes());
                prop_assert_eq!(read.as_ref(), Ok(&closure), "{}: {}", name, text);
            }
        }
        // Formats of path-info keep all metadata.
        for (name, write) in &WRITERS[..7] {
            let read = read_closure(write(&dir, &other_order).as_bytes()).unwrap();
            prop_assert_eq!(read.paths(), closure.paths(), "{}", name);
        }
    }
}

proptest! {
    #[test]
    fn the_order_of_records_does_not_matter(records in records(), dir in store_dir()) {
        prop_assume!(!records.is_empty());
        let mut reversed = records.clone();
        reversed.reverse();
        let one = Closure::new(dir.clone(), records).unwrap();
        let other = Closure::new(dir, reversed).unwrap();
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.topological_order(), other.topological_order());
    }

    #[test]
    fn orders_and_parts_keep_their_word(records in records(), picks in vec(any::<Index>(), 1..4)) {
        prop_assume!(!records.is_empty());
        let closure = Closure::new(StoreDir::default(), records).unwrap();
        let order = closure.topological_order();
        let mut position = vec![usize::MAX; closure.paths().len()];
        for (n, idx) in order.iter().enumerate() {
            position[idx.as_usize()] = n;
        }
        prop_assert!(!position.contains(&usize::MAX));
        for idx in closure.indices() {
            prop_assert_eq!(closure.find(&closure.info(idx).path), Some(idx));
            let references: Vec<_> = closure.references(idx).collect();
            prop_assert!(references.is_sorted() && !references.contains(&idx));
            for to in references {
                prop_assert!(position[to.as_usize()] < position[idx.as_usize()]);
                prop_assert!(closure.referrers(to).any(|from| from == idx));
            }
            prop_assert!(closure.referrers(idx).is_sorted());
        }
        // The roots reach everything, and a part holds what its roots reach and nothing else.
        prop_assert_eq!(closure.reachable_from(&closure.roots()).len(), closure.paths().len());
        let roots: Vec<StorePath> =
            picks.iter().map(|pick| pick.get(closure.paths()).path.clone()).collect();
        let part = closure.restrict(&roots).unwrap();
        for root in part.roots() {
            prop_assert!(roots.contains(&part.info(root).path));
        }
        for idx in part.indices() {
            let whole = closure.find(&part.info(idx).path).unwrap();
            prop_assert_eq!(part.info(idx), closure.info(whole));
            let of_part: Vec<_> = part.references(idx).map(|to| &part.info(to).path).collect();
            let of_whole: Vec<_> = closure.references(whole).map(|to| &closure.info(to).path).collect();
            prop_assert_eq!(of_part, of_whole);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        read(&bytes);
    }

    #[test]
    fn random_json_never_panics(
        text in "[\\[{][\\[{\\]}:,\"0-9a-z/\\\\ \n.-]{0,200}",
        key in select(vec!["/nix/store/a", "info", "version", "path", "closure"]),
    ) {
        read(text.as_bytes());
        read(format!("{{\"{key}\":{text}").as_bytes());
        read(format!("[{{\"{key}\":{text}}}]").as_bytes());
    }

    #[test]
    fn damaged_samples_never_panic(
        bytes in sample(),
        edits in vec((any::<Index>(), 0..5_u8, any::<u8>()), 1..8),
    ) {
        let mut bytes = bytes;
        for (place, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = place.index(bytes.len());
            match kind {
                0 => bytes.truncate(at),
                1 => bytes[at] = byte,
                2 => bytes.insert(at, byte),
                3 => {
                    bytes.remove(at);
                }
                _ => {
                    let copy = bytes[at..].to_vec();
                    bytes.extend(copy);
                }
            }
        }
        read(&bytes);
    }
}
