//! Writers of every form, for tests: what Nix would write of the same records.

use data_encoding::{BASE64, HEXLOWER};
use nixply_store::{NarHash, PathInfo, StoreDir, StorePath};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// A path's record with its references, in any order.
pub(crate) type Record = (PathInfo, Vec<StorePath>);

/// Writes records in one form.
pub(crate) type Writer = fn(&StoreDir, &[Record]) -> String;

/// All writers, with a name for messages.
pub(crate) const WRITERS: [(&str, Writer); 10] = [
    ("array", |dir, records| {
        let entries: Vec<Value> = records.iter().map(|r| full(dir, r, sri)).collect();
        json!(entries).to_string()
    }),
    ("array of Nix 2.3", |dir, records| {
        let entries: Vec<Value> = records.iter().map(|r| full(dir, r, hex)).collect();
        json!(entries).to_string()
    }),
    ("by path", |dir, records| {
        let member = |r: &Record| (dir.display(&r.0.path), full(dir, r, sri));
        Value::Object(records.iter().map(member).collect()).to_string()
    }),
    ("format 1, indented", |dir, records| {
        let member = |r: &Record| {
            let mut value = full(dir, r, sri);
            value["storeDir"] = json!(dir.as_str());
            value["version"] = json!(1);
            (dir.display(&r.0.path), value)
        };
        let members: Map<String, Value> = records.iter().map(member).collect();
        serde_json::to_string_pretty(&members).unwrap()
    }),
    ("format 2", |dir, records| {
        versioned(dir, records, 2, |h| json!(sri(h)))
    }),
    ("format 3", |dir, records| {
        versioned(dir, records, 3, |h| json!(sri(h)))
    }),
    ("structured hashes", |dir, records| {
        versioned(
            dir,
            records,
            2,
            |hash| json!({"algorithm": "sha256", "format": "base64", "hash": BASE64.encode(hash.as_bytes())}),
        )
    }),
    ("attributes", |dir, records| {
        let graph: Vec<Value> = records.iter().map(|r| full(dir, r, hex)).collect();
        json!({
            "builder": "/bin/sh", "args": ["-c", [1, null]], "graph": graph, "name": "x",
            "outputs": {"out": "/nix/store/x"}, "info": {"a": 1}, "version": "1.0",
        })
        .to_string()
    }),
    ("dump-db", |dir, records| {
        registration(dir, records, |hash| HEXLOWER.encode(hash.as_bytes()))
    }),
    ("registration", |dir, records| {
        registration(dir, records, sri)
    }),
];

fn sri(hash: &NarHash) -> String {
    hash.to_string()
}

fn hex(hash: &NarHash) -> String {
    format!("sha256:{}", HEXLOWER.encode(hash.as_bytes()))
}

/// A record with absolute paths.
fn full(dir: &StoreDir, (info, references): &Record, hash: fn(&NarHash) -> String) -> Value {
    let references: Vec<String> = references.iter().map(|path| dir.display(path)).collect();
    json!({
        "path": dir.display(&info.path), "narHash": hash(&info.nar_hash), "narSize": info.nar_size_bytes,
        "references": references, "closureSize": 1, "ca": info.ca, "unknown": {"x": [1.5, true]},
        "deriver": info.deriver.as_ref().map(|path| dir.display(path)),
        "signatures": info.signatures, "registrationTime": info.registration_time_secs,
    })
}

fn versioned(
    dir: &StoreDir,
    records: &[Record],
    version: u64,
    hash: fn(&NarHash) -> Value,
) -> String {
    let member = |(info, references): &Record| {
        let references: Vec<&str> = references.iter().map(StorePath::base_name).collect();
        let signature = |text: &String| match text.split_once(':') {
            Some((key, sig)) if version == 3 => json!({"keyName": key, "sig": sig}),
            _ => json!(text),
        };
        let value = json!({
            "narHash": hash(&info.nar_hash), "narSize": info.nar_size_bytes, "references": references,
            "ca": info.ca, "deriver": info.deriver.as_ref().map(StorePath::base_name),
            "signatures": info.signatures.iter().map(signature).collect::<Vec<_>>(),
            "registrationTime": info.registration_time_secs, "storeDir": dir.as_str(), "version": version,
        });
        (info.path.base_name().to_owned(), value)
    };
    let info: Map<String, Value> = records.iter().map(member).collect();
    json!({"version": version, "storeDir": dir.as_str(), "info": info}).to_string()
}

fn registration(dir: &StoreDir, records: &[Record], hash: fn(&NarHash) -> String) -> String {
    let mut text = String::new();
    for (info, references) in records {
        let deriver = info
            .deriver
            .as_ref()
            .map_or(String::new(), |path| dir.display(path));
        let (path, hash, size) = (
            dir.display(&info.path),
            hash(&info.nar_hash),
            info.nar_size_bytes,
        );
        writeln!(
            text,
            "{path}\n{hash}\n{size}\n{deriver}\n{}",
            references.len()
        )
        .unwrap();
        for reference in references {
            writeln!(text, "{}", dir.display(reference)).unwrap();
        }
    }
    text
}
