use crate::base::over::put_over;
use crate::base::{BaseTree, Below, TreeReader};
use crate::{LinkedContent, OnCollision, RootFileSpec};
use nixply_layer::{StoreRoot, StoredEntry, StoredEntryKind};
use nixply_store::StoreDir;
use serde_json::{Value, json};
use std::path::Path;

const X: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x";
const Y: &str = "/nix/store/1123456789abcdfghijklmnpqrsvwxyz-y";

/// A base of directories, links `bin -> usr/bin` and files that end with `*`.
fn base(entries: &[&str]) -> BaseTree {
    let mut reader = TreeReader::new(StoreDir::default());
    for entry in entries {
        let (name, kind) = match entry.split_once(" -> ") {
            Some((name, target)) => {
                let target = target.as_bytes().to_vec();
                (name, StoredEntryKind::Symlink { target })
            }
            None if entry.ends_with('*') => (entry.trim_end_matches('*'), StoredEntryKind::Other),
            None => (*entry, StoredEntryKind::Directory),
        };
        reader.add(StoredEntry {
            name: name.as_bytes().to_vec(),
            kind,
            mode: if name == "tmp" { 0o1777 } else { 0o755 },
            uid: 0,
            gid: 0,
        });
    }
    reader.end_layer();
    reader.finish()
}

fn merged_usr() -> BaseTree {
    base(&[
        "bin -> usr/bin",
        "sbin -> usr/sbin",
        "lib -> usr/lib",
        "lib64 -> usr/lib64",
        "usr/bin",
        "usr/bin/sh*",
        "usr/sbin",
        "usr/lib/ssl",
        "usr/lib64",
        "tmp",
    ])
}

fn content(path: &str, mut fields: Value) -> LinkedContent {
    fields["path"] = json!(path);
    serde_json::from_value(fields).unwrap()
}

/// Puts contents over a base; tells the records as JSON without their paths.
fn put(
    contents: Vec<LinkedContent>,
    tree: &BaseTree,
    physical: &Path,
    on_collision: OnCollision,
) -> Result<Vec<Value>, String> {
    let store = StoreRoot::new(StoreDir::default(), physical.to_owned());
    let below = Below {
        tree,
        store: &store,
        on_collision,
    };
    let (_, contents) = put_over(Vec::new(), contents, below).map_err(|error| error.to_string())?;
    let records = contents.iter().map(|content| {
        let mut record = serde_json::to_value(content).unwrap();
        record.as_object_mut().unwrap().remove("path");
        record
    });
    Ok(records.collect())
}

fn over(fields: Value, tree: &BaseTree) -> Result<Value, String> {
    let contents = vec![content(X, fields)];
    let mut records = put(contents, tree, Path::new("/nowhere"), OnCollision::Error)?;
    Ok(records.pop().unwrap_or_default())
}

#[test]
fn links_stand_where_the_links_of_the_base_lead() {
    let fields = json!({
        "links": {"": "y", "bin": "a/b", "etc": "c"},
        "symlinks": {"lib/d.so": "d.so.1", "bin/e": "../lib/e", "bin/f": "../share/f", "bin/g": "/etc/g"},
    });
    assert_eq!(
        over(fields, &merged_usr()).unwrap(),
        json!({
            "links": {"": "y", "etc": "c"},
            "symlinks": {
                "usr/bin/a": format!("{X}/bin/a"),
                "usr/bin/b": format!("{X}/bin/b"),
                "usr/lib/d.so": "d.so.1",
                // As written, these lead where they are wanted, or below `usr`, where nothing is.
                "usr/bin/e": "../lib/e",
                "usr/bin/f": "/share/f",
                "usr/bin/g": "/etc/g",
            },
        })
    );
}

#[test]
fn links_back_on_both_sides_are_gone_through_once() {
    let store = tempfile::tempdir().unwrap();
    let bin = store.path().join(&Y["/nix/store/".len()..]).join("bin");
    std::fs::create_dir_all(bin.join("sub")).unwrap();
    std::fs::write(bin.join("a"), "a").unwrap();
    std::os::unix::fs::symlink(".", bin.join("X11")).unwrap();
    std::os::unix::fs::symlink("..", bin.join("sub/up")).unwrap();
    let tree = base(&[
        "bin -> usr/bin",
        "usr/bin/sub",
        "usr/bin/X11 -> .",
        "usr/bin/sub/up -> ..",
    ]);
    let content = content(X, json!({"symlinks": {"bin": format!("{Y}/bin")}}));
    let records = put(vec![content], &tree, store.path(), OnCollision::Error).unwrap();
    assert_eq!(
        records,
        [json!({"symlinks": {"usr/bin/a": format!("{Y}/bin/a")}})]
    );
}

#[test]
fn a_link_to_a_directory_gives_way_to_one_of_the_base() {
    let fields = json!({
        "links": {"bin": "ip/ss", "lib": "a.so", "lib/ssl": "b", "lib/sub": "c"},
        "symlinks": {"sbin": "bin", "lib64": "lib", "lib/d.so": "a.so"},
    });
    // Directories of their own, as in older distributions.
    let plain = base(&["bin", "sbin", "lib", "lib64/ssl", "lib64/a.so*"]);
    assert_eq!(
        over(fields.clone(), &plain).unwrap(),
        json!({
            "links": {"bin": "ip/ss", "lib": "a.so", "lib/ssl": "b", "lib/sub": "c"},
            "symlinks": {
                "sbin/ip": "/bin/ip",
                "sbin/ss": "/bin/ss",
                "lib/d.so": "a.so",
                "lib64/a.so": "/lib/a.so",
                "lib64/d.so": "/lib/d.so",
                "lib64/ssl/b": "/lib/ssl/b",
                "lib64/sub": "/lib/sub",
            },
        })
    );
    // Links to such, as in newer ones.
    let merged = over(fields.clone(), &merged_usr()).unwrap();
    let symlinks = merged["symlinks"].as_object().unwrap();
    assert_eq!(symlinks["usr/sbin/ip"], "/usr/bin/ip");
    assert_eq!(symlinks["usr/lib64/ssl"], "/usr/lib/ssl");
    assert_eq!(symlinks["usr/bin/ip"], format!("{X}/bin/ip"));
    assert!(!symlinks.contains_key("sbin") && !symlinks.contains_key("lib64"));
    // Where there is no directory, nothing is hidden.
    assert_eq!(over(fields.clone(), &base(&["etc"])).unwrap(), fields);
    assert_eq!(over(fields.clone(), &base(&["sbin*"])).unwrap(), fields);
}

#[test]
fn a_link_to_the_same_place_is_the_bases_own() {
    let tree = base(&[
        "bin -> usr/bin",
        "sbin -> usr/sbin",
        "usr/sbin -> bin",
        "usr/bin",
        "run",
    ]);
    let fields = json!({"links": {"bin": "a"}, "symlinks": {"sbin": "bin", "var": "/run"}});
    assert_eq!(
        over(fields, &tree).unwrap(),
        json!({"symlinks": {"usr/bin/a": format!("{X}/bin/a"), "var": "/run"}})
    );
    // All of `/` in `/usr`.
    let fields = json!({"links": {"bin": "a"}, "symlinks": {"usr": "."}});
    assert_eq!(
        over(fields, &merged_usr()).unwrap(),
        json!({"symlinks": {"usr/bin/a": format!("{X}/bin/a")}})
    );
}

#[test]
fn a_link_into_a_store_path_gives_way_to_what_it_leads_to() {
    let store = tempfile::tempdir().unwrap();
    let share = store.path().join(&Y["/nix/store/".len()..]).join("share");
    std::fs::create_dir_all(share.join("doc/y")).unwrap();
    std::fs::create_dir_all(share.join("man")).unwrap();
    std::fs::write(share.join("doc/y/README"), "y").unwrap();
    let tree = base(&["usr/share/doc", "share -> usr/share"]);
    let fields = json!({"symlinks": {"share": format!("{Y}/share")}});
    let contents = vec![content(X, fields.clone())];
    assert_eq!(
        put(contents, &tree, store.path(), OnCollision::Error).unwrap(),
        [json!({"symlinks": {
            "usr/share/doc/y": format!("{Y}/share/doc/y"),
            "usr/share/man": format!("{Y}/share/man"),
        }})]
    );
    // Without the store nobody can tell.
    assert_eq!(
        over(fields, &tree).unwrap_err(),
        format!("`{X}/share` would replace the directory `usr/share` of the base image")
    );
}

#[test]
fn what_is_no_directory_replaces_none() {
    let tree = base(&["opt/a", "opt/b", "c -> opt/a", "lost -> /run/lost", "run"]);
    let hides = |what: &str, path: &str| {
        format!("`{X}/{what}` would replace the directory `{path}` of the base image")
    };
    for (fields, what, path) in [
        (json!({"links": {"opt": "a"}}), "opt/a", "opt/a"),
        (json!({"symlinks": {"opt/b": "gone"}}), "opt/b", "opt/b"),
        (json!({"links": {"": "c"}}), "c", "c"),
        (json!({"symlinks": {"c": "c"}}), "c", "opt/a"),
        (
            json!({"links": {"": "x"}, "symlinks": {"c": "x"}}),
            "c",
            "opt/a",
        ),
    ] {
        assert_eq!(over(fields, &tree).unwrap_err(), hides(what, path));
    }
    // This one leads nowhere yet.
    let fields = json!({"links": {"": "lost"}});
    assert_eq!(over(fields.clone(), &tree).unwrap(), fields);
}

#[test]
fn a_directory_of_the_base_in_the_store_cannot_take_anything() {
    let bin = format!("bin -> {X}/bin");
    let inside = format!("{}/bin/a*", &X[1..]);
    let tree = base(&[&bin, &inside]);
    let same = json!({"symlinks": {"bin": format!("{X}/bin")}});
    assert_eq!(over(same, &tree).unwrap(), Value::Null);
    let other = json!({"symlinks": {"bin": format!("{Y}/bin")}});
    assert_eq!(
        over(other, &tree).unwrap_err(),
        "root file `bin` cannot stand there: `bin` of the base image is a symbolic link into the store, whose paths \
         must not change"
    );
}

#[test]
fn directories_of_the_base_stay_as_they_are() {
    let fields = json!({"directories": ["bin", "tmp", "usr/lib", "usr/new", "new"]});
    assert_eq!(
        over(fields, &merged_usr()).unwrap(),
        json!({"directories": ["new", "usr/new"]})
    );
}

#[test]
fn root_files_win_where_the_links_of_the_base_lead_to_one_place() {
    let env: RootFileSpec = serde_json::from_value(
        json!({"path": "usr/bin/env", "type": "symlink", "target": format!("{Y}/bin/env")}),
    )
    .unwrap();
    let contents = vec![content(X, json!({"links": {"bin": "env/ls"}}))];
    let tree = merged_usr();
    let store = StoreRoot::default();
    let below = Below {
        tree: &tree,
        store: &store,
        on_collision: OnCollision::Error,
    };
    let (files, contents) = put_over(vec![env.clone()], contents, below).unwrap();
    assert_eq!(files, [env]);
    let links: Vec<&String> = contents[0].symlinks.keys().collect();
    assert_eq!(links, ["usr/bin/ls"]);
}

#[test]
fn two_contents_at_one_place_are_the_same_or_an_error_that_names_both() {
    let store = tempfile::tempdir().unwrap();
    let write = |content: &str, name: &str, bytes: &str| {
        let file = store
            .path()
            .join(&content["/nix/store/".len()..])
            .join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    };
    write(X, "bin/a", "a");
    write(Y, "usr/bin/a", "a");
    write(Y, "usr/bin/b", "b");
    let put = |names: &str, on_collision| {
        let contents = vec![
            content(X, json!({"links": {"bin": names}})),
            content(Y, json!({"links": {"usr/bin": names}})),
        ];
        put(contents, &merged_usr(), store.path(), on_collision)
    };
    let first = |name: &str| {
        let mut symlinks = serde_json::Map::new();
        symlinks.insert(format!("usr/bin/{name}"), json!(format!("{X}/bin/{name}")));
        [json!({"symlinks": symlinks})]
    };
    assert_eq!(put("a", OnCollision::Error).unwrap(), first("a"));
    assert_eq!(
        put("b", OnCollision::Error).unwrap_err(),
        format!(
            "`{X}/bin/b` and `{Y}/usr/bin/b` are both to be `usr/bin/b`, since the base image has symbolic links"
        )
    );
    assert_eq!(put("b", OnCollision::First).unwrap(), first("b"));
}
