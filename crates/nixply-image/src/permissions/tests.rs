use super::*;
use crate::linking::tests::{A, B, C, Store, closure};
use crate::{ComposedRoot, ImageSpec, RootError, compose_root};
use std::path::Path;

fn compose(store: &Store, json: &str) -> Result<ComposedRoot, RootError> {
    let spec = format!(r#"{{"schema":"nixply.image/1",{json}}}"#);
    let spec = ImageSpec::from_json(spec.as_bytes()).unwrap();
    compose_root(
        &spec,
        Path::new("/"),
        Some(&closure(&[A, B, C])),
        &store.root(),
        None,
    )
}

fn store() -> Store {
    let store = Store::new();
    store
        .program(&format!("{A}/bin/sudo"), "s")
        .program(&format!("{A}/bin/sudoreplay"), "r")
        .link(&format!("{A}/bin/sudoedit"), "sudo")
        .file(&format!("{A}/etc/sudoers"), "")
        .program(&format!("{B}/bin/ping"), "p")
        .file(C, "a store path that is a file");
    store
}

/// The entries of each store path with their permissions.
fn permissions(composed: &ComposedRoot) -> Vec<String> {
    let lines = composed.permissions.iter().flat_map(|(path, entries)| {
        entries.iter().map(move |entry| {
            let name = path.name();
            let mode = entry.mode;
            format!(
                "{name}:{} {mode:04o} {}:{}",
                entry.path, entry.uid, entry.gid
            )
        })
    });
    lines.collect()
}

fn files(composed: &ComposedRoot) -> Vec<String> {
    let line = |file: &crate::RootFileSpec| {
        let mode = file.to_layer().unwrap().mode;
        let source = file
            .source
            .as_ref()
            .map(|source| source.display().to_string());
        let what = source.or(file.target.clone()).unwrap_or_default();
        format!("{} {mode:04o} {}:{} {what}", file.path, file.uid, file.gid)
    };
    composed.files.iter().map(line).collect()
}

#[test]
fn rules_over_store_paths_become_entries_of_the_paths_that_they_match() {
    let rules = r#""perms":[
        {"regex":"/bin/sudo","mode":"0555"},
        {"path":"PATH","regex":"/bin/sudo$","mode":"4755","gid":10},
        {"regex":"/bin/ping$","uid":7}
    ]"#
    .replace("PATH", A);
    let composed = compose(&store(), &rules).unwrap();
    assert_eq!(
        permissions(&composed),
        [
            "a:bin/sudo 4755 0:10",
            "a:bin/sudoedit 0777 0:0",
            "a:bin/sudoreplay 0555 0:0",
            "b:bin/ping 0555 7:0",
        ]
    );
    assert!(composed.files.is_empty());
}

#[test]
fn the_last_rule_decides_field_by_field() {
    let composed = compose(
        &store(),
        r#""root":{"tmp":false,"users":{"joe":{"uid":1000,"create_home":false}},"nsswitch":false},
           "perms":[
             {"regex":"-b$","mode":"0755","user":"joe"},
             {"regex":"-b$","mode":"0700","group":"root"},
             {"regex":"-c$","mode":"0600"}
           ]"#,
    )
    .unwrap();
    assert_eq!(
        permissions(&composed),
        ["b: 0700 1000:0", "c: 0600 0:0"],
        "the store path itself has an empty name"
    );
}

#[test]
fn of_contents_the_root_has_files_of_its_own_and_the_layer_stays_as_it_is() {
    let spec = r#""contents":["PATH"],"perms":[
        {"regex":"/bin/sudo(edit)?$","mode":"4755","gid":10},
        {"regex":"-a/etc$","uid":3}
    ]"#
    .replace("PATH", A);
    let composed = compose(&store(), &spec).unwrap();
    assert!(composed.permissions.is_empty());
    assert_eq!(
        files(&composed),
        [
            format!("bin/sudo 4755 0:10 {A}/bin/sudo"),
            "bin/sudoedit 0777 0:10 sudo".to_owned(),
            "etc 0755 3:0 ".to_owned(),
        ]
    );
    assert_eq!(composed.files[0].size_bytes, Some(1));
    let links: Vec<_> = composed.contents[0].links.clone().into_iter().collect();
    assert_eq!(
        links,
        [
            ("bin".to_owned(), "sudoreplay".to_owned()),
            ("etc".to_owned(), "sudoers".to_owned())
        ]
    );
}

#[test]
fn rules_that_cannot_be_followed_are_named() {
    let elsewhere = "/nix/store/44444444444444444444444444444444-d";
    for (rule, message) in [
        (
            r#"{"regex":"("}"#.to_owned(),
            "perms: `(` is no regular expression",
        ),
        (
            r#"{"regex":"x","mode":"rwx"}"#.to_owned(),
            "perms: rule `x`: mode `rwx` is not 1 to 4 octal digits",
        ),
        (
            r#"{"regex":"x"}"#.to_owned(),
            "perms: rule `x` gives neither a mode nor an owner",
        ),
        (
            r#"{"regex":"x","mode":"4755","uid":4294967296}"#.to_owned(),
            "perms: rule `x`",
        ),
        (
            r#"{"regex":"x","user":"joe"}"#.to_owned(),
            "perms: rule `x`",
        ),
        (
            r#"{"regex":"/bin/sduo$","mode":"4755"}"#.to_owned(),
            "perms: rule `/bin/sduo$` matches nothing",
        ),
        (
            format!(r#"{{"path":"{B}","regex":"/bin/sudo$","mode":"4755"}}"#),
            "perms: rule `/bin/sudo$` for `/nix/store/22222222222222222222222222222222-b` matches nothing",
        ),
        (
            format!(r#"{{"path":"{elsewhere}","regex":"x","mode":"4755"}}"#),
            "perms: rule `x` is for `/nix/store/44444444444444444444444444444444-d`, which is not in",
        ),
        (
            r#"{"path":"/bin","regex":"x","mode":"4755"}"#.to_owned(),
            "perms: rule `x` is for `/bin`, which is not in",
        ),
    ] {
        let error = compose(&store(), &format!(r#""perms":[{rule}]"#)).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn a_plan_groups_entries_and_reads_them_back() {
    let entry = |path: &str, mode, uid| nixply_layer::EntryPermissions {
        path: path.to_owned(),
        mode,
        uid,
        gid: 0,
    };
    let entries = vec![
        entry("b", 0o4755, 0),
        entry("a", 0o4755, 0),
        entry("", 0o755, 7),
    ];
    let groups = PlannedPermissions::group(&entries);
    assert_eq!(
        serde_json::to_value(&groups).unwrap(),
        serde_json::json!([
            {"mode":"0755","uid":7,"gid":0,"entries":[""]},
            {"mode":"4755","uid":0,"gid":0,"entries":["a","b"]},
        ])
    );
    let mut read = entry_permissions(&groups).unwrap();
    let mut expected = entries;
    read.sort();
    expected.sort();
    assert_eq!(read, expected);
    let mut damaged = groups;
    damaged[0].mode = "rwx".to_owned();
    assert_eq!(entry_permissions(&damaged), None);
}
