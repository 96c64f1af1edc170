use super::*;

#[test]
fn names_and_targets_that_no_file_system_takes_are_passed_over() {
    let deep = "d/".repeat(3000);
    let link = format!("a -> {deep}");
    let tree = tree_of(&[&["etc/", &link]]);
    assert!(tree.is_directory("etc") && tree.links.is_empty());
    assert!(!tree_of(&[&["etc/", &deep]]).is_directory("d"));
}

#[test]
fn places_do_not_grow_by_links_beyond_what_a_file_system_takes() {
    let deep = format!("{}a", "d/".repeat(2000));
    let link = format!("a -> {deep}");
    let further = format!("a/{deep}/");
    let tree = tree_of(&[&[&link, &format!("{deep}/x/")], &["a/y/", &further]]);
    assert!(tree.is_directory(&format!("{deep}/y")));
    let directories = tree.usual_directories.unwrap();
    let longest = directories.iter().map(str::len).max();
    assert_eq!(longest, Some(deep.len() + "/x".len()));
}

const STORE_PATH: &str = "nix/store/0123456789abcdfghijklmnpqrsvwxyz-a";

/// Lines of a layer: `usr/bin/` a directory, `bin -> usr/bin` a link, anything else a file.
fn tree_of(layers: &[&[&str]]) -> BaseTree {
    let mut reader = TreeReader::new(StoreDir::default());
    for layer in layers {
        for line in *layer {
            let (name, kind) = if let Some((name, target)) = line.split_once(" -> ") {
                let target = target.as_bytes().to_vec();
                (name, StoredEntryKind::Symlink { target })
            } else if let Some(name) = line.strip_suffix('/') {
                (name, StoredEntryKind::Directory)
            } else {
                (*line, StoredEntryKind::Other)
            };
            reader.add(StoredEntry {
                name: name.as_bytes().to_vec(),
                kind,
                mode: if name.ends_with("tmp") { 0o1777 } else { 0o755 },
                uid: 0,
                gid: 0,
            });
        }
        reader.end_layer();
    }
    reader.finish()
}

fn links(layers: &[&[&str]]) -> Vec<String> {
    let links = tree_of(layers).links.into_iter();
    links
        .map(|(path, target)| format!("{path} -> {target}"))
        .collect()
}

#[test]
fn links_to_directories_are_kept_and_links_to_files_are_not() {
    let layer = [
        "./usr/bin/",
        "./usr/bin/sh",
        "./bin -> usr/bin",
        "usr/sbin -> /usr/bin",
        "run/",
        "var/lock -> /run/lock",
        "etc/sh -> /bin/sh",
        "etc/gone.1 -> /usr/share/man/man1/gone.1",
        "loop -> loop",
    ];
    assert_eq!(
        links(&[&layer]),
        [
            "bin -> usr/bin",
            "loop -> loop",
            "usr/sbin -> /usr/bin",
            "var/lock -> /run/lock",
        ]
    );
}

#[test]
fn whiteouts_hide_what_is_below_their_layer_only() {
    let below: &[&str] = &["usr/bin/", "bin -> usr/bin", "a/x -> /usr", "a/y -> /usr"];
    assert_eq!(
        links(&[below, &[".wh.bin"]]),
        ["a/x -> /usr", "a/y -> /usr"]
    );
    assert_eq!(
        links(&[below, &["a/.wh..wh..opq", "a/z -> /usr", "bin/"]]),
        ["a/z -> /usr"]
    );
    assert_eq!(
        links(&[below, &[".wh.bin", "bin -> /usr"]])[2],
        "bin -> /usr"
    );
    assert_eq!(links(&[below, &["a"]]), ["bin -> usr/bin"]);
    // The root could still get a directory of that name.
    assert_eq!(
        links(&[below, &[".wh.usr"]]),
        ["a/x -> /usr", "a/y -> /usr"]
    );
}

#[test]
fn the_way_to_an_entry_goes_through_links() {
    let tree = tree_of(&[&["usr/bin/", "bin -> usr/bin"], &["bin/x -> /usr/bin"]]);
    assert_eq!(tree.links["usr/bin/x"], "/usr/bin");
    assert!(!tree.links.contains_key("bin/x"));
}

#[test]
fn directories_and_store_paths_are_told() {
    let inside = format!("{STORE_PATH}/bin/a");
    let tree = tree_of(&[&["tmp/", "usr/"], &["nix/store/", &inside], &[&inside]]);
    let unusual: Vec<&String> = tree.directories.keys().collect();
    assert_eq!(unusual, ["tmp"]);
    assert_eq!(tree.directories["tmp"].mode, "1777");
    let usual: Vec<&str> = tree
        .usual_directories
        .iter()
        .flat_map(DirectoryNames::iter)
        .collect();
    assert_eq!(usual, ["nix", "nix/store", "usr"]);
    assert_eq!(tree.store_paths[&format!("/{STORE_PATH}")], 1);
    assert_eq!(tree.store_paths_of(1).len(), 1);
}

#[test]
fn a_store_path_that_a_whiteout_has_taken_something_from_is_not_held() {
    let inside = format!("{STORE_PATH}/bin/a");
    let held = |layers: &[&[&str]]| {
        let tree = tree_of(layers);
        tree.store_paths.values().next().copied()
    };
    let gone = format!("nix/store/.wh.{}", &STORE_PATH[10..]);
    assert_eq!(held(&[&[&inside], &[&gone]]), None);
    assert_eq!(held(&[&[&inside], &[".wh.nix"]]), None);
    assert_eq!(held(&[&[&inside], &["nix/store/.wh..wh..opq"]]), None);
    assert_eq!(held(&[&[&inside], &["nix"]]), None);
    // It comes back, or is made anew in the layer that hides it.
    assert_eq!(held(&[&[&inside], &[&gone], &[&inside]]), Some(2));
    assert_eq!(held(&[&[&inside], &[&gone, &inside]]), Some(1));
    let opaque = format!("{STORE_PATH}/.wh..wh..opq");
    assert_eq!(held(&[&[&inside], &[&opaque, &inside]]), Some(1));
    assert_eq!(held(&[&[&inside], &[&opaque]]), None);
    // Without a part it is another one, whatever comes to it.
    let part = format!("{STORE_PATH}/bin/.wh.a");
    let other = format!("{STORE_PATH}/bin/b");
    assert_eq!(held(&[&[&inside, &other], &[&part], &[&other]]), None);
    assert_eq!(held(&[&[&inside], &[&part], &[&gone], &[&inside]]), Some(3));
}

#[test]
fn texts_far_from_the_root_are_kept_up_to_a_sum() {
    let mut reader = TreeReader::new(StoreDir::default());
    let mut add = |name: &str, kind| {
        reader.add(StoredEntry {
            name: name.as_bytes().to_vec(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
        });
    };
    let text = StoredEntryKind::Text;
    for idx in 0..10 {
        add(&format!("a/{idx}/etc/passwd"), text(vec![b'#'; 1 << 20]));
    }
    add("etc/group", text(b"root:x:0:\n".to_vec()));
    add(
        "./etc/passwd",
        text(b"root:x:0:0::/root:/bin/sh\n".to_vec()),
    );
    reader.end_layer();
    let is_text = |node: &&Node| matches!(node, Node::Text(_));
    assert_eq!(reader.nodes.values().filter(is_text).count(), 4 + 2);
    let accounts = reader.finish().accounts.unwrap();
    assert_eq!(accounts.group, "root:x:0:\n");
    assert_eq!(accounts.passwd, "root:x:0:0::/root:/bin/sh\n");
}

#[test]
fn links_into_store_paths_count_where_they_lead_to_directories() {
    let bin = format!("bin -> /{STORE_PATH}/bin");
    let a = format!("a -> /{STORE_PATH}/bin/a");
    let lost = format!("lost -> /{STORE_PATH}/lib");
    let unknown = "unknown -> /nix/store/1123456789abcdfghijklmnpqrsvwxyz-b/bin";
    let inside = format!("{STORE_PATH}/bin/a");
    let tree = tree_of(&[&[&bin, &a, &lost, unknown], &[&inside]]);
    let links: Vec<&String> = tree.links.keys().collect();
    assert_eq!(links, ["bin", "unknown"]);
    assert_eq!(tree.directory_at("bin"), Some(format!("{STORE_PATH}/bin")));
    assert_eq!(tree.directory_at("unknown"), None);
}

#[test]
fn the_database_of_the_store_paths_is_seen() {
    let database = "nix/var/nix/db/db.sqlite";
    assert_eq!(tree_of(&[&[database]]).nix_database, ["db.sqlite"]);
    assert!(
        tree_of(&[&[database], &["nix/var/nix/.wh.db"]])
            .nix_database
            .is_empty()
    );
    let [log, other] = [
        "nix/var/nix/db/db.sqlite-wal",
        "nix/var/nix/db/db.sqlite.old",
    ];
    let files = tree_of(&[&[database, log, other]]).nix_database;
    assert_eq!(files, ["db.sqlite", "db.sqlite-wal"]);
    assert!(tree_of(&[&[log]]).nix_database.is_empty());
}

#[test]
fn what_is_known_of_the_layers_below_is_taken_over() {
    let below = tree_of(&[&[
        "tmp/",
        "usr/bin/",
        "bin -> usr/bin",
        "nix/var/nix/db/db.sqlite",
        "nix/var/nix/db/db.sqlite-wal",
    ]]);
    let above = TreeReader::above(&below, StoreDir::default());
    assert_eq!(above.finish(), below);
    let old = BaseTree {
        usual_directories: None,
        ..below
    };
    let above = TreeReader::above(&old, StoreDir::default());
    assert_eq!(above.finish(), old);
}
