//! What cannot stand in a layer, and what is said about it.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{
    SyntheticStore, docker_tools, order, program_with_capabilities, root_spec, store_spec, tar,
    with_permissions,
};
use nixply_layer::{
    FileContent, LayerFormat, LayerSpec, RootFile, RootFileKind, RootFileProblem, StoreRoot,
    WriteLayerError, check_root_files,
};
use nixply_oci::DiffId;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

const TREE: &str = "0a3k1cq3x0kz4hkq5fy0qvk1vy1n2q3d-tree-1.0";

fn refusal(spec: &LayerSpec, store: &StoreRoot) -> String {
    tar(spec, store).unwrap_err().to_string()
}

fn file(path: &str, kind: RootFileKind) -> RootFile {
    RootFile {
        path: path.to_owned(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        capabilities: None,
    }
}

fn inline(path: &str) -> RootFile {
    file(path, RootFileKind::File(FileContent::Inline(Vec::new())))
}

#[test]
fn a_missing_store_path_is_named() {
    let store = SyntheticStore::new();
    fs::remove_dir_all(store.path(TREE)).unwrap();
    let text = refusal(&store_spec(&order(), LayerFormat::Nixply), &store.root());
    assert_eq!(
        text,
        format!("store path `{}` does not exist", store.path(TREE).display())
    );
}

#[test]
fn special_files_are_named() {
    let store = SyntheticStore::new();
    let spec = store_spec(&[TREE.to_owned()], LayerFormat::Nixply);
    let socket = store.path(TREE).join("share/socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let expected = |path: &PathBuf, found| {
        format!(
            "`{}` is a {found}: expected a regular file, a directory or a symbolic link",
            path.display()
        )
    };
    assert_eq!(refusal(&spec, &store.root()), expected(&socket, "socket"));
    fs::remove_file(&socket).unwrap();
    let pipe = store.path(TREE).join("bin/pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(refusal(&spec, &store.root()), expected(&pipe, "named pipe"));
}

#[test]
fn names_that_delete_files_are_refused() {
    let store = SyntheticStore::new();
    let path = store.path(TREE).join("share/.wh.zero");
    fs::write(&path, "").unwrap();
    let text = refusal(&store_spec(&order(), docker_tools()), &store.root());
    assert_eq!(
        text,
        format!(
            "`{}` cannot stand in a layer: names that begin with `.wh.` delete files there",
            path.display()
        )
    );
}

#[test]
fn a_store_path_stands_once_and_in_the_right_store() {
    let store = SyntheticStore::new();
    let twice = [TREE.to_owned(), TREE.to_owned()];
    for format in [LayerFormat::Nixply, docker_tools()] {
        let text = refusal(&store_spec(&twice, format), &store.root());
        assert_eq!(
            text,
            format!("store path `{TREE}` stands twice in one layer")
        );
    }
    let text = refusal(
        &store_spec(&order(), LayerFormat::Nixply),
        &store.root_named("/gnu/store"),
    );
    assert_eq!(
        text,
        "the layer's store paths lie in `/nix/store`, the given store is `/gnu/store`"
    );
}

#[test]
fn root_files_have_no_dockertools_format() {
    let mut spec = root_spec(Vec::new());
    spec.format = docker_tools();
    let error = tar(&spec, &StoreRoot::default()).unwrap_err();
    assert!(matches!(error, WriteLayerError::RootFilesInDockerTools));
}

#[test]
fn root_files_that_cannot_be_are_refused() {
    let link = |target: &str| RootFileKind::Symlink {
        target: target.to_owned(),
    };
    let link_with_capabilities = RootFile {
        capabilities: program_with_capabilities().capabilities,
        ..file("l", link("b"))
    };
    let mut bad_mode = inline("x");
    bad_mode.mode = 0o10_0644;
    let cases: Vec<(Vec<RootFile>, &str, RootFileProblem)> = vec![
        (vec![inline("")], "", RootFileProblem::EmptyComponent),
        (
            vec![inline("a//b")],
            "a//b",
            RootFileProblem::EmptyComponent,
        ),
        (vec![inline("a/")], "a/", RootFileProblem::EmptyComponent),
        (vec![inline("/a")], "/a", RootFileProblem::Absolute),
        (vec![inline("./a")], "./a", RootFileProblem::DotComponent),
        (
            vec![inline("a/../b")],
            "a/../b",
            RootFileProblem::DotComponent,
        ),
        (vec![inline("a\0")], "a\0", RootFileProblem::Nul),
        (
            vec![inline("a/.wh.b")],
            "a/.wh.b",
            RootFileProblem::Whiteout,
        ),
        (
            vec![inline(".wh..wh..opq")],
            ".wh..wh..opq",
            RootFileProblem::Whiteout,
        ),
        (
            vec![inline(".wh.a/b")],
            ".wh.a/b",
            RootFileProblem::Whiteout,
        ),
        (
            vec![inline("a"), inline("b"), inline("a")],
            "a",
            RootFileProblem::Duplicate,
        ),
        (
            vec![inline("a/b"), inline("a")],
            "a",
            RootFileProblem::ParentNotDirectory,
        ),
        (
            vec![file("a", link("b")), inline("a/b/c")],
            "a",
            RootFileProblem::ParentNotDirectory,
        ),
        (
            vec![inline("nix/store/x")],
            "nix/store/x",
            RootFileProblem::InStore,
        ),
        (vec![bad_mode], "x", RootFileProblem::Mode),
        (
            vec![link_with_capabilities],
            "l",
            RootFileProblem::Capabilities,
        ),
        (vec![file("l", link(""))], "l", RootFileProblem::EmptyTarget),
        (vec![file("l", link("a\0"))], "l", RootFileProblem::Nul),
    ];
    for (files, expected_path, expected_problem) in cases {
        let made = tar(&root_spec(files.clone()), &StoreRoot::default()).map(drop);
        let checked = check_root_files(&files, StoreRoot::default().store_dir());
        for refused in [made, checked] {
            match refused {
                Err(WriteLayerError::RootFile { path, problem }) => {
                    assert_eq!((path.as_str(), problem), (expected_path, expected_problem));
                }
                other => panic!("{files:?}: {other:?}"),
            }
        }
    }
    // Beside the store, and the store directory itself.
    for path in ["nix", "nix/var/x", "nix/stores", "nix/store"] {
        let directory = file(path, RootFileKind::Directory);
        let files = vec![directory];
        check_root_files(&files, StoreRoot::default().store_dir()).unwrap();
        tar(&root_spec(files), &StoreRoot::default()).unwrap();
    }
}

#[test]
fn owners_that_a_kernel_would_cut_are_refused() {
    let check = |uid, gid| {
        let files = [RootFile {
            uid,
            gid,
            ..inline("x")
        }];
        check_root_files(&files, StoreRoot::default().store_dir())
    };
    let greatest = u64::from(u32::MAX) - 1;
    check(greatest, greatest).unwrap();
    for (uid, gid, expected) in [(1 << 32, 0, 1 << 32), (0, greatest + 1, greatest + 1)] {
        match check(uid, gid) {
            Err(WriteLayerError::RootFile { problem, .. }) => {
                assert_eq!(problem, RootFileProblem::Id { id: expected });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_check_of_root_files_reads_nothing() {
    let source = RootFileKind::File(FileContent::Source {
        path: PathBuf::from("/no/such/file"),
        sha256: [0; 32],
        size_bytes: 1,
    });
    let files = [file("etc/x", source)];
    check_root_files(&files, StoreRoot::default().store_dir()).unwrap();
}

#[test]
fn sources_are_checked_while_they_stream() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("source");
    fs::write(&path, "as planned").unwrap();
    let spec = root_spec(vec![file(
        "etc/x",
        RootFileKind::File(FileContent::Source {
            path: path.clone(),
            sha256: *DiffId::of(b"as planned").as_bytes(),
            size_bytes: 10,
        }),
    )]);
    let from_memory = root_spec(vec![file(
        "etc/x",
        RootFileKind::File(FileContent::Inline(b"as planned".to_vec())),
    )]);
    let store = StoreRoot::default();
    assert_eq!(
        tar(&spec, &store).unwrap(),
        tar(&from_memory, &store).unwrap()
    );

    fs::write(&path, "as changed").unwrap();
    let shown = path.display();
    assert_eq!(
        refusal(&spec, &store),
        format!(
            "`{shown}` has another content than planned: expected {}, found {}",
            DiffId::of(b"as planned"),
            DiffId::of(b"as changed")
        )
    );
    fs::write(&path, "longer than planned").unwrap();
    assert_eq!(
        refusal(&spec, &store),
        format!("`{shown}` has another content than planned: expected 10 bytes, found 19 bytes")
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(refusal(&spec, &store), format!("`{shown}` cannot be read"));
    fs::create_dir(&path).unwrap();
    assert_eq!(
        refusal(&spec, &store),
        format!(
            "`{shown}` is a directory: expected a regular file, a directory or a symbolic link"
        )
    );
}

#[test]
fn permissions_of_entries_that_are_not_there_are_refused() {
    let store = SyntheticStore::new();
    let spec = |permissions: &[(&str, u32, u64, u64)]| {
        with_permissions(
            store_spec(&[TREE.to_owned()], LayerFormat::Nixply),
            permissions,
        )
    };
    let no_such_entry = |entry: &str| {
        format!(
            "store path `{TREE}` has no entry `{entry}` whose owner and mode could be set, or it is named twice"
        )
    };
    for (permissions, message) in [
        (
            vec![("share", 0o755, 0, 0), ("sharf", 0o755, 0, 0)],
            no_such_entry("sharf"),
        ),
        (
            vec![("share", 0o755, 0, 0), ("share", 0o555, 0, 0)],
            no_such_entry("share"),
        ),
        (vec![("share/", 0o755, 0, 0)], no_such_entry("share/")),
        (
            vec![("share", 0o10755, 0, 0)],
            format!("store path `{TREE}`: the mode of `share` has bits outside 07777"),
        ),
    ] {
        assert_eq!(refusal(&spec(&permissions), &store.root()), message);
    }
    tar(&spec(&[("share", 0o755, 0, 0)]), &store.root()).unwrap();
}
