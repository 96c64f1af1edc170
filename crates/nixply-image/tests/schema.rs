//! `docs/image.schema.json` says what the reader of image specifications takes, no more and no less.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

use nixply_image::{
    DirectorySpec, FileSpec, GroupSpec, ImageSpec, PermsRule, RootFileSpec, RootSpec, UserSpec,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::error::Error as _;

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/image.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn keys(properties: &Value) -> BTreeSet<String> {
    properties.as_object().unwrap().keys().cloned().collect()
}

/// serde lists the fields that it would have taken: "expected one of `a`, `b`".
fn fields(message: &str) -> BTreeSet<String> {
    let list = message.split("expected one of ").nth(1).unwrap();
    list.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_specification_has_the_schemas_fields() {
    let error = ImageSpec::from_json(br#"{"schema":"nixply.image/1","?":0}"#).unwrap_err();
    let found = fields(&error.source().unwrap().to_string());
    assert_eq!(found, keys(&schema()["properties"]));
}

#[test]
fn root_files_have_the_schemas_fields() {
    let all = r#"{"path":"a","type":"file","mode":"1","uid":1,"gid":1,"content":"","source":"s","sha256":"",
        "size_bytes":1,"target":"t","capabilities":"cap_kill+ep"}"#;
    let file: RootFileSpec = serde_json::from_str(all).unwrap();
    assert!(file.unknown.is_empty(), "{:?}", file.unknown);
    let found = keys(&serde_json::to_value(&file).unwrap());
    assert_eq!(found, keys(&schema()["$defs"]["file"]["properties"]));
}

#[test]
fn the_packers_of_the_schema_are_the_packers() {
    let names = schema()["properties"]["packer"]["enum"]
        .as_array()
        .unwrap()
        .clone();
    for name in &names {
        nixply_pack::Packer::resolve(name.as_str().unwrap(), true).unwrap();
    }
    assert_eq!(
        names.len(),
        nixply_pack::Packer::ALL.len() + 1,
        "all of them, and `auto`"
    );
}

/// The fields that a type takes: one that it does not know makes it list them.
fn fields_of<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
    fields(
        &serde_json::from_str::<T>(r#"{"?":0}"#)
            .unwrap_err()
            .to_string(),
    )
}

#[test]
fn the_parts_of_root_have_the_schemas_fields() {
    let defined = |name: &str| keys(&schema()["$defs"][name]["properties"]);
    assert_eq!(fields_of::<RootSpec>(), defined("root"));
    assert_eq!(fields_of::<UserSpec>(), defined("user"));
    assert_eq!(fields_of::<FileSpec>(), defined("named_file"));
    assert_eq!(fields_of::<DirectorySpec>(), defined("named_directory"));
    assert_eq!(fields_of::<PermsRule>(), defined("perms_rule"));
    // Of two fields serde says "expected `a` or `b`".
    assert_eq!(
        defined("group"),
        BTreeSet::from(["gid".to_owned(), "members".to_owned()])
    );
    serde_json::from_str::<GroupSpec>(r#"{"gid":1,"members":[]}"#).unwrap();
}
