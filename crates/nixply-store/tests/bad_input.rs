//! What is no closure is refused with a message that says why.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixtures;

use fixtures::fixture;
use nixply_store::{ClosureError, ClosureForm, OtherList, ReadError, StorePath, read_closure};

const A: &str = "/nix/store/0000000000000000000000000000000a-a";
const B: &str = "/nix/store/0000000000000000000000000000000b-b";
const C: &str = "/nix/store/0000000000000000000000000000000c-c";
const HASH: &str = "sha256:0000000000000000000000000000000000000000000000000000";

fn refused(bytes: impl AsRef<[u8]>) -> ReadError {
    read_closure(bytes.as_ref()).unwrap_err()
}

fn path(absolute: &str) -> StorePath {
    StorePath::new(&absolute["/nix/store/".len()..]).unwrap()
}

/// A record in the array form; `more` may override fields, of which the last counts.
fn record(path: &str, references: &[&str], more: &str) -> String {
    format!(
        r#"{{"path":"{path}","narHash":"{HASH}","narSize":1,"references":{references:?}{more}}}"#
    )
}

fn array(records: &[String]) -> String {
    format!("[{}]", records.join(","))
}

#[test]
fn input_without_content() {
    for bytes in ["", " ", "\n\n\t"] {
        assert_eq!(refused(bytes), ReadError::EmptyInput);
    }
    assert!(ReadError::EmptyInput.hint().is_some());
}

#[test]
fn closures_without_paths() {
    for text in [
        "[]",
        "{}",
        r#"{"version":2,"storeDir":"/nix/store","info":{}}"#,
        r#"{"info":{},"storeDir":"/nix/store","version":3}"#,
    ] {
        assert_eq!(
            refused(text),
            ReadError::Closure(ClosureError::Empty),
            "{text}"
        );
    }
}

#[test]
fn other_things_than_closures_are_named() {
    for (bytes, found) in [
        (&b"null"[..], "text that starts with `null`"),
        (b"\"x\"", "text that starts with `\"x\"`"),
        (b"3", "text that starts with `3`"),
        (
            b"error: path '/nix/store/x' is not valid\nmore",
            "text that starts with `error: path '/nix/store/x' is not valid`",
        ),
        (b"/etc/passwd\n", "text that starts with `/etc/passwd`"),
        (b"\x1f\x8b\x08\x00", "binary data"),
        (b"\x7fELF\x02\x01\x01\0", "binary data"),
        (b"\xff\xfe[\0", "binary data"),
        (b"[1]", "a JSON array with a number in it"),
        (b"[null]", "a JSON array with null in it"),
        (b"[[]]", "a JSON array with an array in it"),
        (b"[{\"a\":1}]", "a JSON array of objects without `path`"),
        (
            br#"{"schema":"nixply.plan/1","layers":[{"paths":[]}]}"#,
            "a JSON object with `schema`, `layers`",
        ),
        (
            br#"{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}"#,
            "a JSON object with `a`, `b`, `c`, `d`, `e`, …",
        ),
        (
            b"[\n{\"path\":\"\xff\"}]",
            "a byte that is not UTF-8 at line 2 column 10",
        ),
    ] {
        let error = refused(bytes);
        let expected = ReadError::NotAClosure {
            found: found.to_owned(),
        };
        assert_eq!(error, expected);
        assert!(error.hint().is_some());
        assert_eq!(ClosureForm::detect(bytes), Err(error));
    }
}

#[test]
fn invalid_paths_are_all_named() {
    let nope = "/nix/store/00000000000000000000000000000000-nope";
    for version in [
        "2.3.7",
        "2.8.0",
        "2.26.3",
        "2.34.8",
        "2.34.8-format-1",
        "2.34.8-format-2",
    ] {
        let error = refused(fixture(&format!("invalid/nix-{version}.path-info.json")));
        let expected = ReadError::InvalidPaths {
            paths: vec![nope.to_owned()],
        };
        assert_eq!(error, expected, "{version}");
        assert_eq!(
            error.hint(),
            Some(format!("build or fetch: `nix-store -r {nope}`"))
        );
    }
    let error = refused(format!(r#"{{"{A}":null,"{B}":null}}"#));
    assert_eq!(
        error.to_string(),
        format!("2 store paths are not in the Nix store: `{A}`, `{B}`")
    );
    assert_eq!(
        error.hint(),
        Some(format!("build or fetch: `nix-store -r {A} {B}`"))
    );
}

#[test]
fn missing_references_name_their_referrer() {
    let error = refused(fixture("other/format-3-of-one-path.path-info.json"));
    let ReadError::Closure(ClosureError::MissingReferences { references, count }) = &error else {
        panic!("{error}");
    };
    assert_eq!(*count, 2);
    assert_eq!(
        references[1].missing.base_name(),
        "llhi00h4cpxwi4k795s1hyni74lxfzdi-tree"
    );
    assert_eq!(
        error.to_string(),
        "2 references are not in the closure: \
         `2ghd44zjwcj12y25spf9cv9wbxsn69hi-c` refers to `l7d26khg1fdzawpr3yj97p0cplm42nvs-b`, \
         `2ghd44zjwcj12y25spf9cv9wbxsn69hi-c` refers to `llhi00h4cpxwi4k795s1hyni74lxfzdi-tree`"
    );
    assert!(error.hint().unwrap().contains("nix path-info --json -r"));
}

#[test]
fn a_circle_is_printed() {
    let error = refused(array(&[
        record(A, &[B], ""),
        record(C, &[B], ""),
        record(B, &[C], ""),
    ]));
    assert_eq!(
        error,
        ReadError::Closure(ClosureError::Cycle {
            cycle: vec![path(B), path(C), path(B)]
        })
    );
}

#[test]
fn duplicates_must_agree() {
    let agreeing = [
        record(A, &[], r#","deriver":null"#),
        record(A, &[A], r#","registrationTime":7"#),
    ];
    let closure = read_closure(array(&agreeing).as_bytes()).unwrap();
    assert_eq!(closure.paths().len(), 1);
    assert_eq!(closure.paths()[0].registration_time_secs, Some(7));
    for (more, field) in [
        (
            r#","narHash":"sha256-JECzUaM4XGrA8slVtUCqdyVIq56PCccH1wVWia1M8gg=""#.to_owned(),
            "narHash",
        ),
        (r#","narSize":2"#.to_owned(), "narSize"),
        (format!(r#","references":["{B}"]"#), "references"),
    ] {
        let text = array(&[
            record(A, &[], ""),
            record(B, &[], ""),
            record(A, &[], &more),
        ]);
        assert_eq!(
            refused(text),
            ReadError::Closure(ClosureError::Disagree {
                path: path(A),
                field
            })
        );
    }
    let by_path = format!(
        r#"{{"{A}":{a},"{A}":{b}}}"#,
        a = record(A, &[], ""),
        b = record(A, &[], r#","narSize":2"#)
    );
    assert!(matches!(
        refused(by_path),
        ReadError::Closure(ClosureError::Disagree {
            field: "narSize",
            ..
        })
    ));
}

#[test]
fn truncated_json_is_told_with_its_place() {
    let text = "[\n{\"path\":\"/nix/store/0000";
    let error = refused(text);
    assert_eq!(
        error,
        ReadError::TruncatedJson {
            line: 2,
            column: 24
        }
    );
    assert_eq!(
        error.to_string(),
        "the JSON ends early, at line 2 column 24"
    );
    for name in [
        "same/nix-2.3.7.path-info.json",
        "same/nix-2.34.8-format-1.path-info.json",
        "same/nix-2.34.8-format-2.path-info.json",
        "same/nix-2.34.8.derived.attrs.json",
    ] {
        let bytes = fixture(name);
        for end in 1..bytes.trim_ascii_end().len() {
            let error = refused(&bytes[..end]);
            let is_end =
                matches!(&error, ReadError::TruncatedJson { line: 1, column } if *column == end);
            assert!(is_end, "{name} {end}: {error:?}");
        }
    }
}

#[test]
fn malformed_json_is_told_with_its_place() {
    assert_eq!(
        refused(format!("{{\"{A}\":\n{{\"narSize\" 3}}}}")),
        ReadError::Json {
            line: 2,
            column: 12,
            message: "expected `:`".to_owned()
        }
    );
    assert!(matches!(
        refused(array(&[record(A, &[], "")]) + "x"),
        ReadError::Json { line: 1, .. }
    ));
}

#[test]
fn wrong_types_name_field_and_path() {
    let cases = [
        (r#""narSize":"544""#, "narSize", "a string"),
        (r#""narSize":-1"#, "narSize", "a number outside 0 to 2^64-1"),
        (
            r#""narSize":1.5"#,
            "narSize",
            "a number outside 0 to 2^64-1",
        ),
        (r#""narSize":null"#, "narSize", "null"),
        (r#""narHash":3"#, "narHash", "a number"),
        (r#""narHash":{"hash":"x"}"#, "narHash", "an object"),
        (r#""references":"x""#, "references", "a string"),
        (
            r#""references":[1]"#,
            "references",
            "an array with a number in it",
        ),
        (r#""ca":[]"#, "ca", "an array"),
        (r#""ca":{"method":"nar"}"#, "ca", "an object"),
        (
            r#""ca":{"method":"nar","hash":"sha256-x"}"#,
            "ca",
            "an object",
        ),
        (r#""deriver":true"#, "deriver", "a boolean"),
        (r#""signatures":{}"#, "signatures", "an object"),
        (
            r#""signatures":[null]"#,
            "signatures",
            "an array with null in it",
        ),
        (
            r#""signatures":[{"keyName":"k"}]"#,
            "signatures",
            "an array with an object in it",
        ),
        (
            r#""registrationTime":"now""#,
            "registrationTime",
            "a string",
        ),
        (r#""valid":0"#, "valid", "a number"),
        (r#""storeDir":1"#, "storeDir", "a number"),
    ];
    for (more, field, found) in cases {
        let text = array(&[record(A, &[], ""), record(B, &[], &format!(",{more}"))]);
        let error = refused(text);
        let ReadError::FieldType {
            entry,
            field: told_field,
            found: told,
            ..
        } = &error
        else {
            panic!("{more}: {error:?}");
        };
        assert_eq!(
            (entry, *told_field, &**told),
            (&format!("`{B}`"), field, found),
            "{more}"
        );
    }
    assert_eq!(
        refused(array(&[record(A, &[], r#","narSize":"1""#)])).to_string(),
        format!("`narSize` of `{A}` is a string: expected a whole number of bytes")
    );
}

#[test]
fn records_that_are_none_are_named() {
    let first = record(A, &[], "");
    assert_eq!(
        refused(format!("[{first},7]")).to_string(),
        "the record of entry 2 is a number: expected an object"
    );
    assert_eq!(
        refused(format!(r#"{{"{A}":[]}}"#)).to_string(),
        format!("the record of `{A}` is an array: expected an object")
    );
    assert_eq!(
        refused(format!(r#"[{first},{{"narSize":1}}]"#)).to_string(),
        "the record of entry 2 has no `path`"
    );
    assert_eq!(
        refused(format!(r#"[{first},{{"path":1}}]"#)).to_string(),
        "`path` of entry 2 is a number: expected a string"
    );
    for field in ["narHash", "narSize", "references"] {
        let without = first.replacen(field, "other", 1);
        assert_eq!(
            refused(format!("[{without}]")).to_string(),
            format!("the record of `{A}` has no `{field}`")
        );
    }
    assert_eq!(
        refused(r#"{"version":2,"storeDir":"/nix/store","info":[]}"#).to_string(),
        "`info` of the document is an array: expected an object"
    );
}

#[test]
fn names_outside_the_rules_of_nix_are_refused() {
    let base = "/nix/store/0000000000000000000000000000000a-";
    for name in ["", ".", "..-x", "a b", "ü", "a/bin"] {
        let error = refused(array(&[record(&format!("{base}{name}"), &[], "")]));
        assert!(
            matches!(&error, ReadError::StorePath { field: "path", .. }),
            "{name}: {error:?}"
        );
        let error = refused(array(&[record(A, &[&format!("{base}{name}")], "")]));
        assert!(
            matches!(&error, ReadError::Closure(ClosureError::ReferenceName { referrer, .. }) if *referrer == path(A)),
            "{name}: {error:?}"
        );
    }
    assert_eq!(
        refused(array(&[record(A, &[], r#","deriver":"x.drv""#)])).to_string(),
        format!("`deriver` of `{A}`: `x.drv` does not begin with 32 base-32 digits and a `-`")
    );
    let elsewhere = "/gnu/store/0000000000000000000000000000000b-b";
    assert_eq!(
        refused(array(&[record(A, &[elsewhere], "")])).to_string(),
        format!("`references` of `{A}`: `{elsewhere}` does not lie directly in `/nix/store`")
    );
    assert_eq!(
        refused(array(&[record(A, &[], ""), record(elsewhere, &[], "")])).to_string(),
        format!("`path` of `{elsewhere}`: `{elsewhere}` does not lie directly in `/nix/store`")
    );
}

#[test]
fn store_directories_must_be_known_and_agree() {
    let relative = &A["/nix/store/".len()..];
    assert_eq!(
        refused(array(&[record(relative, &[], "")])),
        ReadError::NoStoreDir
    );
    assert!(matches!(
        refused(array(&[record(A, &[], r#","storeDir":"nix""#)])),
        ReadError::StoreDir(_)
    ));
    assert_eq!(
        refused(array(&[
            record(A, &[], r#","storeDir":"/nix/store""#),
            record(B, &[], r#","storeDir":"/gnu/store""#)
        ]))
        .to_string(),
        format!("`storeDir` of `{B}` is `/gnu/store`: expected `/nix/store` as before")
    );
}

#[test]
fn hashes_that_are_none_are_refused() {
    for hash in ["x", "sha256-AAAA", "sha512:0000", ""] {
        let error = refused(array(&[record(A, &[], &format!(r#","narHash":"{hash}""#))]));
        assert!(
            matches!(&error, ReadError::NarHash { entry, error } if *entry == format!("`{A}`") && error.text == hash),
            "{hash}: {error:?}"
        );
    }
    let md5 = r#","narHash":{"algorithm":"md5","format":"base16","hash":"00"}"#;
    assert!(matches!(
        refused(array(&[record(A, &[], md5)])),
        ReadError::NarHash { .. }
    ));
}

#[test]
fn unknown_versions_are_refused() {
    let text = String::from_utf8(fixture("same/nix-2.34.8-format-2.path-info.json")).unwrap();
    let newer = text.replace(r#""storeDir":"/nix/store","version":2}"#, r#""version":4}"#);
    let error = refused(newer);
    assert_eq!(
        error,
        ReadError::UnknownVersion {
            found: "4".to_owned()
        }
    );
    assert!(error.hint().unwrap().contains("--json-format 2"));
}

#[test]
fn nesting_neither_overflows_nor_takes_long() {
    const MEGABYTES: usize = 200_000_000;
    let deep = |prefix: &str, unit: &str| {
        let mut text = prefix.to_owned();
        text.push_str(&unit.repeat((MEGABYTES - prefix.len()) / unit.len()));
        text
    };
    for (prefix, unit) in [
        (String::new(), "["),
        (String::new(), "{\"a\":"),
        (format!("[{{\"path\":\"{A}\",\"x\":"), "["),
        (format!("{{\"{A}\":{{\"narHash\":"), "["),
        (format!("[{},", record(A, &[], "")), "["),
        ("{\"info\":{\"x\":".to_owned(), "{\"a\":"),
    ] {
        let error = refused(deep(&prefix, unit));
        assert!(
            matches!(error, ReadError::TooDeep { line: 1, column } if column < 1000),
            "{prefix}{unit}: {error:?}"
        );
    }
}

#[test]
fn derivations_without_a_closure_are_told() {
    let error = refused(
        r#"{"builder":"/bin/sh","closure":[],"name":"x","outputs":{"out":"/nix/store/x"},"system":"s"}"#,
    );
    assert_eq!(error, ReadError::NoGraph);
    assert!(error.hint().unwrap().contains("exportReferencesGraph"));
}

#[test]
fn lists_that_look_like_a_registration_are_told() {
    for (name, instead) in [
        ("other/store-paths", OtherList::StorePaths),
        (
            "other/plain-references-graph.txt",
            OtherList::PlainReferencesGraph,
        ),
    ] {
        let error = refused(fixture(name));
        assert!(
            matches!(&error, ReadError::Registration { line: 2, instead: Some(told), .. } if *told == instead),
            "{name}: {error:?}"
        );
        assert!(error.hint().is_some());
    }
    let error = refused(format!("{A}\n"));
    assert!(error.hint().unwrap().contains("list of store paths"));
}

#[test]
fn registrations_are_told_by_line() {
    let hash = "0".repeat(64);
    for (text, message) in [
        (
            format!("{A}\n{hash}\n"),
            "line 3: expected a NAR size in bytes, found the end of the input",
        ),
        (
            format!("{A}\n{hash}\n+1\n\n0\n"),
            "line 3: expected a NAR size in bytes, found `+1`",
        ),
        (
            format!("{A}\n{hash}\n\n\n0\n"),
            "line 3: expected a NAR size in bytes, found an empty line",
        ),
        (
            format!("{A}\n{hash}\n99999999999999999999\n\n0\n"),
            "line 3: expected a NAR size in bytes, found `99999999999999999999`",
        ),
        (
            format!("{A}\n{hash}\n1\n\nx\n"),
            "line 5: expected the number of references, found `x`",
        ),
        (
            format!("{A}\n{hash}\n1\n\n18446744073709551615\n{A}\n"),
            "line 7: expected a reference, found the end of the input",
        ),
        (
            format!("{A}\n{hash}\n1\n\n0\n{A}\nzz\n"),
            "line 7: expected a NAR hash, found `zz`",
        ),
        (
            format!("{A}\n{hash}\n1\n\n0\n\n{B}\n"),
            "line 6: expected a store path, found an empty line",
        ),
    ] {
        assert_eq!(refused(&text).to_string(), message, "{text}");
    }
}

#[test]
fn long_and_strange_strings_do_not_flood_messages() {
    let long = "x".repeat(10_000_000);
    for text in [
        array(&[record(&format!("/nix/store/{long}"), &[], "")]),
        array(&[record(A, &[&long], "")]),
        array(&[record(A, &[], &format!(r#","narHash":"{long}""#))]),
        format!(r#"{{"{long}":1}}"#),
        format!("{A}\n{long}\n"),
        long.clone(),
    ] {
        let message = refused(text).to_string();
        assert!(message.len() < 2000, "{}", message.len());
    }
    let message = refused(array(&[record("\\u001b[2J", &[], "")])).to_string();
    assert!(!message.contains('\u{1b}'), "{message}");
}
