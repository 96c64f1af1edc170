//! Every form in which Nix writes a closure, over files of real Nix (`fixtures/closure-forms/SOURCES.md`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixtures;

use fixtures::fixture;
use nixply_store::{Closure, ClosureForm, ReadError, StorePath, read_attrs_graphs, read_closure};
use std::collections::BTreeMap;

/// The same closure in every form, with the form that must be detected.
const SAME: &[(&str, ClosureForm)] = &[
    ("nix-2.3.7.path-info.json", ClosureForm::PathInfoArray),
    ("nix-2.8.0.path-info.json", ClosureForm::PathInfoArray),
    (
        "nix-2.15.derived.path-info.json",
        ClosureForm::PathInfoArray,
    ),
    (
        "graph-of-nix-2.3.7.derived.json",
        ClosureForm::PathInfoArray,
    ),
    ("nix-2.26.3.path-info.json", ClosureForm::PathInfoByPath),
    ("nix-2.34.8.path-info.json", ClosureForm::PathInfoByPath),
    (
        "nix-2.34.8-format-1.path-info.json",
        ClosureForm::PathInfoByPath,
    ),
    (
        "nix-2.34.8-format-2.path-info.json",
        ClosureForm::PathInfoVersioned,
    ),
    (
        "nix-2.35-format-3.derived.path-info.json",
        ClosureForm::PathInfoVersioned,
    ),
    (
        "nix-2025-11-structured-base64.derived.path-info.json",
        ClosureForm::PathInfoVersioned,
    ),
    (
        "nix-2025-11-structured-base16.derived.path-info.json",
        ClosureForm::PathInfoVersioned,
    ),
    ("nix-2.3.7.derived.attrs.json", ClosureForm::DerivationAttrs),
    (
        "nix-2.34.8.derived.attrs.json",
        ClosureForm::DerivationAttrs,
    ),
    ("nix-2.8.0.dump-db.txt", ClosureForm::Registration),
    (
        "nix-2.8.0-whole-database.dump-db.txt",
        ClosureForm::Registration,
    ),
    (
        "closure-info.derived.registration",
        ClosureForm::Registration,
    ),
    ("sri.derived.registration", ClosureForm::Registration),
    (
        "hex-with-prefix.derived.registration",
        ClosureForm::Registration,
    ),
    (
        "base32-without-prefix.derived.registration",
        ClosureForm::Registration,
    ),
];

fn same(name: &str) -> Closure {
    read_closure(&fixture(&format!("same/{name}")))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn path(base_name: &str) -> StorePath {
    StorePath::new(base_name).unwrap()
}

const A: &str = "nlw6qvbr3wnx8gzd1p2dlpq291sh1w70-a";
const B: &str = "l7d26khg1fdzawpr3yj97p0cplm42nvs-b";
const C: &str = "2ghd44zjwcj12y25spf9cv9wbxsn69hi-c";
const FOD: &str = "z5s19nihp093nbnqr5accvrysbbvpn8w-fod.txt";
const GREETING: &str = "mawqzks1y1qk0yac77rm6ailwnzr4m14-greeting.txt";
const TREE: &str = "llhi00h4cpxwi4k795s1hyni74lxfzdi-tree";

#[test]
fn every_pair_of_forms_is_the_same_closure() {
    let closures: Vec<(&str, Closure)> = SAME.iter().map(|(name, _)| (*name, same(name))).collect();
    for (a_name, a) in &closures {
        for (b_name, b) in &closures {
            assert_eq!(a, b, "{a_name} and {b_name}");
            assert_eq!(
                a.topological_order(),
                b.topological_order(),
                "{a_name} and {b_name}"
            );
        }
    }
}

#[test]
fn every_file_of_the_same_closure_is_tested() {
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/closure-forms/same"
    );
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    let mut listed: Vec<&str> = SAME.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(files, listed);
}

#[test]
fn forms_are_told_apart() {
    for (name, form) in SAME {
        let bytes = fixture(&format!("same/{name}"));
        assert_eq!(ClosureForm::detect(&bytes).as_ref(), Ok(form), "{name}");
    }
}

#[test]
fn the_closure_is_what_nix_says() {
    let closure = same("nix-2.3.7.path-info.json");
    assert_eq!(closure.store_dir().as_str(), "/nix/store");
    let listed: Vec<(&str, u64, String)> = closure
        .paths()
        .iter()
        .map(|info| {
            let name = info.path.base_name();
            (name, info.nar_size_bytes, info.nar_hash.to_string())
        })
        .collect();
    let expected = [
        (
            C,
            544,
            "sha256-JECzUaM4XGrA8slVtUCqdyVIq56PCccH1wVWia1M8gg=",
        ),
        (
            B,
            864,
            "sha256-pJTEeQiTZVn2QjrTdf+GK8Hage8bQyAoBHCWqIXJnWk=",
        ),
        (
            TREE,
            720,
            "sha256-p19+ATz3zXjNMdJ2JfHh2Avs/W/h2cO/dvPfoAERBn0=",
        ),
        (
            GREETING,
            136,
            "sha256-VhudakuIK6518IryO8CGRKmaS9R2ll7VK6jx0a5Gh90=",
        ),
        (
            A,
            288,
            "sha256-ZC9jnmoT/hJWt2mz/0FE9wqQ0718VSOdPlkpQKJXNLg=",
        ),
        (
            FOD,
            120,
            "sha256-14XWgQtRM29eDgn5yZ9QAV41dMUIWZPHQmCKH6lwZv8=",
        ),
    ]
    .map(|(name, size, hash)| (name, size, hash.to_owned()));
    assert_eq!(listed, expected);
    assert_eq!(closure.nar_size_bytes(), 2672);
    let names_of = |indices: &mut dyn Iterator<Item = nixply_store::PathIdx>| -> Vec<String> {
        indices
            .map(|idx| closure.info(idx).path.to_string())
            .collect()
    };
    let find = |name| closure.find(&path(name)).unwrap();
    assert_eq!(names_of(&mut closure.references(find(C))), [B, TREE]);
    // The self reference of b is gone.
    assert_eq!(
        names_of(&mut closure.references(find(B))),
        [GREETING, A, FOD]
    );
    assert_eq!(names_of(&mut closure.referrers(find(A))), [B]);
    assert_eq!(names_of(&mut closure.roots().into_iter()), [C]);
    assert_eq!(
        names_of(&mut closure.topological_order().into_iter()),
        [A, FOD, GREETING, B, TREE, C]
    );
}

/// Metadata, where the form has it: (ca, deriver, registration time).
type Metadata = (Option<String>, Option<String>, Option<u64>);

fn metadata(closure: &Closure, name: &str) -> Metadata {
    let info = closure.info(closure.find(&path(name)).unwrap());
    (
        info.ca.clone(),
        info.deriver.as_ref().map(ToString::to_string),
        info.registration_time_secs,
    )
}

#[test]
fn metadata_is_kept() {
    let tree_ca = "fixed:r:sha256:0z86240s1pzkfszw7ng1dzyyq2yqw7qjaxnj676pikgp7h0pwpx7";
    let greeting_ca = "text:sha256:0p2ak661524h4j7q6d7bz3aw0298b1dgww1gyrmirgb8mdwj20hl";
    let fod_ca = "fixed:sha256:04rmhy6rn9kryhm4fn2r8ihwyhf0aacl7g4vmhvdvzkibi2r6alr";
    let c_drv = "6znvws7qbhajsxi659b8ggx98028p2ic-c.drv";
    for (name, time) in [
        ("nix-2.3.7.path-info.json", 1_795_379_045),
        ("nix-2.26.3.path-info.json", 1_795_379_045),
        ("nix-2.34.8-format-1.path-info.json", 1_795_379_046),
        ("nix-2.34.8-format-2.path-info.json", 1_795_379_046),
        ("nix-2.35-format-3.derived.path-info.json", 1_795_379_046),
        (
            "nix-2025-11-structured-base64.derived.path-info.json",
            1_795_379_046,
        ),
        (
            "nix-2025-11-structured-base16.derived.path-info.json",
            1_795_379_046,
        ),
    ] {
        let closure = same(name);
        let (ca, deriver, registered) = metadata(&closure, C);
        assert_eq!((ca, deriver.as_deref()), (None, Some(c_drv)), "{name}");
        assert!(registered.is_some(), "{name}");
        assert_eq!(
            metadata(&closure, TREE),
            (Some(tree_ca.to_owned()), None, Some(time)),
            "{name}"
        );
        assert_eq!(
            metadata(&closure, GREETING).0.as_deref(),
            Some(greeting_ca),
            "{name}"
        );
        assert_eq!(metadata(&closure, FOD).0.as_deref(), Some(fod_ca), "{name}");
    }
    let dump = same("nix-2.8.0.dump-db.txt");
    assert_eq!(metadata(&dump, C), (None, Some(c_drv.to_owned()), None));
    assert_eq!(metadata(&dump, TREE), (None, None, None));
    let attrs = same("nix-2.3.7.derived.attrs.json");
    assert_eq!(
        metadata(&attrs, TREE),
        (Some(tree_ca.to_owned()), None, None)
    );
}

#[test]
fn signatures_have_one_form() {
    let signature = "test-1:0wA8NLK2Gqp4AFjck4uijxCD9LvvbjdMdHynj5EpILrkeYleuoRM4Wwd5aMvX0P/gYkp3Yj/IChr2HaVay3aAA==";
    let fixture = fixture("other/format-3-of-one-path.path-info.json");
    let structured = String::from_utf8(fixture).unwrap().replace(
        r#""references":["l7d26khg1fdzawpr3yj97p0cplm42nvs-b","llhi00h4cpxwi4k795s1hyni74lxfzdi-tree"]"#,
        r#""references":[]"#,
    );
    let (before, rest) = structured.split_once(r#""signatures":["#).unwrap();
    let (_, after) = rest.split_once(']').unwrap();
    let plain = format!(r#"{before}"signatures":["{signature}"]{after}"#);
    for text in [&structured, &plain] {
        let closure = read_closure(text.as_bytes()).unwrap();
        assert_eq!(closure.paths()[0].signatures, [signature], "{text}");
    }
}

#[test]
fn a_structured_hash_is_read() {
    let closure =
        read_closure(&fixture("other/structured-hash-of-one-path.path-info.json")).unwrap();
    assert_eq!(
        closure.paths()[0].nar_hash.to_string(),
        "sha256-JECzUaM4XGrA8slVtUCqdyVIq56PCccH1wVWia1M8gg="
    );
    assert_eq!(closure.paths()[0].registration_time_secs, None);
}

#[test]
fn several_graphs_are_read_by_name() {
    let whole = same("nix-2.8.0.path-info.json");
    let part = whole.restrict(&[path(B)]).unwrap();
    assert_eq!(part.paths().len(), 4);
    let expected = BTreeMap::from([("closure".to_owned(), whole), ("other".to_owned(), part)]);
    for version in ["2.3.7", "2.8.0", "2.26.3", "2.34.8"] {
        let bytes = fixture(&format!("other/nix-{version}.two-graphs.attrs.json"));
        assert_eq!(read_attrs_graphs(&bytes).unwrap(), expected, "{version}");
        assert_eq!(
            read_closure(&bytes),
            Err(ReadError::SeveralGraphs {
                names: vec!["closure".to_owned(), "other".to_owned()]
            }),
            "{version}"
        );
    }
}

#[test]
fn other_attributes_may_look_like_other_forms() {
    let attrs = String::from_utf8(fixture("same/nix-2.34.8.derived.attrs.json")).unwrap();
    let disguised = attrs.replacen(
        '{',
        r#"{"info":{"x":1},"version":2,"storeDir":"/x","list":[{"path":"y"}],"deep":[[[["z"]]]],"#,
        1,
    );
    assert_eq!(
        read_closure(disguised.as_bytes()).unwrap(),
        same("nix-2.8.0.path-info.json")
    );
}

#[test]
fn other_store_directories_work() {
    let path_info = read_closure(&fixture("other-store-dir/nix-2.8.0.path-info.json")).unwrap();
    let dump_db = read_closure(&fixture("other-store-dir/nix-2.8.0.dump-db.txt")).unwrap();
    assert_eq!(path_info.store_dir().as_str(), "/opt/acme/store");
    assert_eq!(path_info, dump_db);
    let format_2 = String::from_utf8(fixture("same/nix-2.34.8-format-2.path-info.json"))
        .unwrap()
        .replace("/nix/store", "/opt/acme/store");
    assert_eq!(read_closure(format_2.as_bytes()).unwrap(), path_info);
    assert_ne!(same("nix-2.8.0.path-info.json"), path_info);
}

#[test]
fn base_names_without_a_document_around_them_are_read() {
    let document: serde_json::Value =
        serde_json::from_slice(&fixture("same/nix-2.34.8-format-2.path-info.json")).unwrap();
    let info = serde_json::to_vec(&document["info"]).unwrap();
    assert_eq!(
        read_closure(&info).unwrap(),
        same("nix-2.8.0.path-info.json")
    );
}

#[test]
fn white_space_does_not_matter() {
    let expected = same("nix-2.8.0.path-info.json");
    for (name, form) in SAME {
        let bytes = fixture(&format!("same/{name}"));
        let text = if *form == ClosureForm::Registration {
            format!("{}\n \n", String::from_utf8(bytes).unwrap())
        } else {
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            format!("\n {}\n", serde_json::to_string_pretty(&value).unwrap())
        };
        assert_eq!(
            read_closure(text.as_bytes()).as_ref(),
            Ok(&expected),
            "{name}"
        );
    }
}

#[test]
fn escaped_strings_are_the_same_strings() {
    let text = String::from_utf8(fixture("same/nix-2.34.8-format-1.path-info.json")).unwrap();
    let escaped = text.replace('/', "\\/").replace("narHash", "nar\\u0048ash");
    assert_eq!(
        read_closure(escaped.as_bytes()).unwrap(),
        same("nix-2.8.0.path-info.json")
    );
}

#[test]
fn closures_of_real_packages_are_read() {
    for (name, paths, references) in [
        ("runtime", 68, 166),
        ("dev", 151, 439),
        ("project-a", 38, 83),
        ("project-b", 30, 59),
    ] {
        let closure = read_closure(&fixture(&format!("debnix/{name}.path-info.json"))).unwrap();
        assert_eq!(closure.paths().len(), paths, "{name}");
        assert_eq!(closure.reference_count(), references, "{name}");
        assert_eq!(closure.roots().len(), 1, "{name}");
    }
}
