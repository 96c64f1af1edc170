use super::*;
use nixply_layer::{RootFile, RootFileKind};
use nixply_store::{Closure, NarHash, PathInfo, StoreDir};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

pub(crate) const A: &str = "/nix/store/11111111111111111111111111111111-a";
pub(crate) const B: &str = "/nix/store/22222222222222222222222222222222-b";
pub(crate) const C: &str = "/nix/store/33333333333333333333333333333333-c";

/// A store that lies elsewhere.
pub(crate) struct Store {
    dir: tempfile::TempDir,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn root(&self) -> StoreRoot {
        StoreRoot::new(StoreDir::default(), self.dir.path().to_owned())
    }

    fn physical(&self, logical: &str) -> std::path::PathBuf {
        self.root().locate_file(Path::new(logical))
    }

    fn parent(&self, logical: &str) -> std::path::PathBuf {
        let physical = self.physical(logical);
        fs::create_dir_all(physical.parent().unwrap()).unwrap();
        physical
    }

    pub(crate) fn file(&self, logical: &str, contents: &str) -> &Self {
        fs::write(self.parent(logical), contents).unwrap();
        self
    }

    pub(crate) fn program(&self, logical: &str, contents: &str) -> &Self {
        self.file(logical, contents);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.physical(logical), executable).unwrap();
        self
    }

    pub(crate) fn link(&self, logical: &str, target: &str) -> &Self {
        symlink(target, self.parent(logical)).unwrap();
        self
    }

    pub(crate) fn directory(&self, logical: &str) -> &Self {
        fs::create_dir_all(self.physical(logical)).unwrap();
        self
    }

    pub(super) fn tree(
        &self,
        contents: &[&str],
        on_collision: OnCollision,
    ) -> Result<LinkTree, LinkError> {
        let contents: Vec<String> = contents.iter().map(|path| (*path).to_owned()).collect();
        link_contents(&contents, on_collision, &self.root(), |_| true)
    }

    /// What the root has, one line an entry.
    fn linked(&self, contents: &[&str]) -> Vec<String> {
        lines(&self.tree(contents, OnCollision::Error).unwrap())
    }

    fn refusal(&self, contents: &[&str]) -> String {
        let error = self.tree(contents, OnCollision::Error).unwrap_err();
        error.to_string()
    }
}

/// A closure of paths that do not use each other.
pub(crate) fn closure(paths: &[&str]) -> Closure {
    let record = |path: &&str| {
        let info = PathInfo {
            path: StoreDir::default().parse(path).unwrap(),
            nar_hash: NarHash::from_bytes([1; 32]),
            nar_size_bytes: 1,
            ca: None,
            deriver: None,
            signatures: Vec::new(),
            registration_time_secs: None,
        };
        (info, Vec::new())
    };
    Closure::new(StoreDir::default(), paths.iter().map(record).collect()).unwrap()
}

pub(super) fn lines(tree: &LinkTree) -> Vec<String> {
    let records = tree.records();
    let mut lines: Vec<String> = records
        .iter()
        .flat_map(LinkedContent::root_files)
        .map(|RootFile { path, kind, .. }| match kind {
            RootFileKind::Symlink { target } => format!("{path} -> {target}"),
            RootFileKind::Directory => format!("{path}/"),
            RootFileKind::File(_) => panic!("{path}: contents are linked"),
        })
        .collect();
    lines.sort();
    let count: usize = records.iter().map(LinkedContent::entry_count).sum();
    assert_eq!(count, lines.len());
    lines
}

#[test]
fn files_become_links_and_links_stay_what_they_are() {
    let store = Store::new();
    store
        .program(&format!("{A}/bin/python3.11"), "x")
        .link(&format!("{A}/bin/python3"), "python3.11")
        .link(&format!("{A}/sbin"), "bin")
        .file(&format!("{A}/README"), "")
        .file(&format!("{A}/nix-support/propagated-build-inputs"), B)
        .file(&format!("{A}/share/nix-support"), "kept below the top")
        .directory(&format!("{A}/var/empty"))
        .link(&format!("{B}/bin/tool"), &format!("{C}/bin/tool"))
        .link(
            &format!("{B}/lib/other"),
            "../../33333333333333333333333333333333-c/lib",
        )
        .link(&format!("{B}/lib/inside"), "../lib/./x/../y");
    assert_eq!(
        store.linked(&[A, B]),
        [
            format!("README -> {A}/README"),
            "bin/python3 -> python3.11".to_owned(),
            format!("bin/python3.11 -> {A}/bin/python3.11"),
            format!("bin/tool -> {C}/bin/tool"),
            "lib/inside -> ../lib/./x/../y".to_owned(),
            // From the root it would lead out of the root.
            format!("lib/other -> {B}/lib/other"),
            "sbin -> bin".to_owned(),
            format!("share/nix-support -> {A}/share/nix-support"),
            "var/empty/".to_owned(),
        ]
    );
}

#[test]
fn contents_may_be_directories_in_store_paths_and_links_to_directories() {
    let store = Store::new();
    store
        .file(&format!("{A}/share/doc/x"), "")
        .link(B, &format!("{A}/share"));
    assert_eq!(
        store.linked(&[&format!("{A}/share/"), B]),
        [format!("doc/x -> {A}/share/doc/x")]
    );
    assert_eq!(store.linked(&[B]), [format!("doc/x -> {B}/doc/x")]);
}

#[test]
fn what_has_no_tree_is_refused() {
    let store = Store::new();
    store.file(A, "text").link(B, "/elsewhere").directory(C);
    assert_eq!(
        store.refusal(&[A]),
        format!("content `{A}` is a regular file: expected a directory")
    );
    let error = store.tree(&[A], OnCollision::Error).unwrap_err();
    assert!(error.hint().unwrap().contains("\"links\""));
    assert!(
        store
            .refusal(&[B])
            .starts_with(&format!("content `{B}` does not exist"))
    );
    assert_eq!(
        store.refusal(&["/etc"]),
        "content `/etc` is not in the store"
    );
    assert_eq!(
        store.refusal(&["/nix/store/short"]),
        "content `/nix/store/short` is not in the store"
    );
    let not_in_image = link_contents(&[C.to_owned()], OnCollision::Error, &store.root(), |_| {
        false
    })
    .unwrap_err();
    assert_eq!(
        not_in_image.to_string(),
        format!("content `{C}` is not in the image's closure")
    );
    assert!(store.linked(&[C]).is_empty());
}

#[test]
fn names_and_kinds_that_no_plan_holds_are_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let store = Store::new();
    store.directory(A);
    let odd = store
        .physical(A)
        .join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::write(&odd, "").unwrap();
    assert!(
        store
            .refusal(&[A])
            .ends_with("its name or its target is not UTF-8")
    );
    fs::remove_file(&odd).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(store.physical(A).join("s")).unwrap();
    assert!(
        store
            .refusal(&[A])
            .contains("cannot be linked: expected a file")
    );
}

#[test]
fn a_collision_names_both() {
    let store = Store::new();
    store
        .file(&format!("{A}/bin/x"), "a")
        .file(&format!("{B}/bin/x"), "b")
        .file(&format!("{C}/bin/y"), "c");
    let expected =
        format!("two contents have `/bin/x`: `{A}/bin/x` (a file) and `{B}/bin/x` (a file)");
    for contents in [[A, B, C], [C, B, A], [B, C, A]] {
        assert_eq!(store.refusal(&contents), expected);
    }
    let store = Store::new();
    store
        .link(&format!("{A}/bin"), "sbin")
        .file(&format!("{B}/bin/x"), "b");
    assert_eq!(
        store.refusal(&[A, B]),
        format!(
            "two contents have `/bin`: `{A}/bin` (a link to `sbin`) and `{B}/bin` (a directory)"
        )
    );
}

#[test]
fn the_same_thing_twice_is_no_collision() {
    let store = Store::new();
    store
        // The same bytes; another executable bit is another file.
        .file(&format!("{A}/share/licence"), "MIT")
        .file(&format!("{B}/share/licence"), "MIT")
        // The same link.
        .link(&format!("{A}/lib64"), "lib")
        .link(&format!("{B}/lib64"), "lib")
        // One leads to the other.
        .file(&format!("{C}/bin/tool"), "t")
        .link(&format!("{A}/bin/tool"), &format!("{C}/bin/tool"))
        .link(&format!("{B}/bin/tool"), &format!("{A}/bin/tool"));
    let expected = [
        format!("bin/tool -> {C}/bin/tool"),
        "lib64 -> lib".to_owned(),
        format!("share/licence -> {A}/share/licence"),
    ];
    for contents in [[A, B, C], [C, B, A], [B, A, C]] {
        assert_eq!(store.linked(&contents), expected);
    }
    store.program(&format!("{B}/share/licence"), "MIT");
    assert!(store.refusal(&[A, B]).contains("`/share/licence`"));
}

#[test]
fn links_to_directories_and_directories_are_merged() {
    let store = Store::new();
    store
        .file(&format!("{A}/bin/a"), "a")
        .link(&format!("{A}/sbin"), "bin")
        .file(&format!("{B}/sbin/b"), "b")
        .link(&format!("{C}/sbin"), &format!("{B}/sbin"));
    assert_eq!(
        store.linked(&[A, B, C]),
        [
            format!("bin/a -> {A}/bin/a"),
            format!("sbin/a -> {A}/sbin/a"),
            format!("sbin/b -> {B}/sbin/b"),
        ]
    );
}

#[test]
fn the_first_wins_where_it_shall() {
    let store = Store::new();
    store
        .file(&format!("{A}/bin/x"), "a")
        .file(&format!("{A}/etc"), "a file")
        .file(&format!("{B}/bin/x"), "b")
        .file(&format!("{B}/bin/y"), "b")
        .file(&format!("{B}/etc/conf/deep"), "left out whole");
    let first = |contents: &[&str]| lines(&store.tree(contents, OnCollision::First).unwrap());
    assert_eq!(
        first(&[A, B, A]),
        [
            format!("bin/x -> {A}/bin/x"),
            format!("bin/y -> {B}/bin/y"),
            format!("etc -> {A}/etc"),
        ]
    );
    assert_eq!(
        first(&[B, A]),
        [
            format!("bin/x -> {B}/bin/x"),
            format!("bin/y -> {B}/bin/y"),
            format!("etc/conf/deep -> {B}/etc/conf/deep"),
        ]
    );
}

#[test]
fn what_is_left_out_for_the_first_is_told_where_it_differs() {
    let store = Store::new();
    store
        .file(&format!("{A}/bin/x"), "a")
        .file(&format!("{A}/bin/same"), "same")
        .link(&format!("{A}/bin/z"), "x")
        .file(&format!("{A}/etc"), "a file")
        .file(&format!("{B}/bin/x"), "b")
        .file(&format!("{B}/bin/same"), "same")
        .link(&format!("{B}/bin/z"), "x")
        .file(&format!("{B}/etc/conf/deep"), "left out whole");
    let left_out = |path: &str| LeftOut {
        path: path.to_owned(),
        taken: format!("{A}/{path}"),
        left_out: format!("{B}/{path}"),
    };
    let tree = store.tree(&[A, B], OnCollision::First).unwrap();
    assert_eq!(tree.left_out, [left_out("bin/x"), left_out("etc")]);
    assert!(
        store
            .tree(&[A, A], OnCollision::First)
            .unwrap()
            .left_out
            .is_empty()
    );
}

#[test]
fn links_that_never_end_are_dangling() {
    let store = Store::new();
    store
        .link(&format!("{A}/x"), "y")
        .link(&format!("{A}/y"), "x")
        .link(&format!("{B}/x"), "z");
    assert!(store.refusal(&[A, B]).contains("`/x`"));
    assert_eq!(store.linked(&[A]), ["x -> y", "y -> x"]);
    // Each merges with the other for as long as links are followed.
    let store = Store::new();
    store
        .link(&format!("{A}/x"), ".")
        .link(&format!("{B}/x"), "./.");
    assert!(store.refusal(&[A, B]).contains("two contents have `/x/x"));
}

#[test]
fn a_record_names_its_links_by_directory() {
    let store = Store::new();
    store
        .file(&format!("{A}/bin/b"), "")
        .file(&format!("{A}/bin/a"), "")
        .file(&format!("{A}/bin-x"), "")
        .file(&format!("{A}/bin.d/c"), "")
        .directory(&format!("{B}/empty"));
    let tree = store.tree(&[A, B], OnCollision::Error).unwrap();
    let json = serde_json::to_value(tree.records()).unwrap();
    assert_eq!(
        json,
        serde_json::json!([
            {"path": A, "links": {"": "bin-x", "bin": "a/b", "bin.d": "c"}},
            {"path": B, "directories": ["empty"]},
        ])
    );
}
