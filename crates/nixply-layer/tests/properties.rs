//! Random trees: what the tar holds is what the tree holds, and a flipped byte is found where it is.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{store_spec, tar};
use nixply_layer::{DifferenceKind, LayerFormat, StoreRoot, compare_layer};
use nixply_oci::MediaType;
use nixply_store::StoreDir;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const BASE_NAME: &str = "0a3k1cq3x0kz4hkq5fy0qvk1vy1n2q3d-x";

#[derive(Debug, Clone)]
enum Node {
    File { contents: Vec<u8>, executable: bool },
    Symlink(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Node>),
}

/// Base names of any bytes that a file system takes, often long, often ASCII.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![4 => b'a'..=b'c', 1 => b' '..=b'.', 1 => 1..=255_u8];
    let length = prop_oneof![6 => 1..8_usize, 1 => 60..120_usize];
    length
        .prop_flat_map(move |length| vec(letter.clone(), length))
        .prop_map(|mut bytes| {
            // The `tar` crate, which reads the layers here, loses PAX records whose value holds a newline.
            let unusable = |b: &&mut u8| matches!(**b, b'/' | b'\n');
            bytes.iter_mut().filter(unusable).for_each(|b| *b = b'_');
            if bytes == b"." || bytes == b".." || bytes.starts_with(b".wh.") {
                bytes[0] = b'd';
            }
            bytes
        })
}

fn tree() -> impl Strategy<Value = Node> {
    let size = prop_oneof![4 => 0..600_usize, 1 => 1000..3000_usize];
    let contents = size.prop_flat_map(|size| vec(any::<u8>(), size));
    let leaf = prop_oneof![
        3 => (contents, any::<bool>())
            .prop_map(|(contents, executable)| Node::File { contents, executable }),
        1 => vec(b' '..=255_u8, 1..130).prop_map(Node::Symlink),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        btree_map(name(), inner, 0..5).prop_map(Node::Directory)
    })
}

fn create(node: &Node, path: &Path) {
    match node {
        Node::File {
            contents,
            executable,
        } => {
            fs::write(path, contents).unwrap();
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Node::Symlink(target) => symlink(OsStr::from_bytes(target), path).unwrap(),
        Node::Directory(children) => {
            fs::create_dir(path).unwrap();
            for (name, child) in children {
                create(child, &path.join(OsStr::from_bytes(name)));
            }
        }
    }
}

/// Name, type, mode, link target, contents.
type Entry = (Vec<u8>, u8, u32, Vec<u8>, Vec<u8>);

fn model(node: &Node, name: Vec<u8>, entries: &mut Vec<Entry>) {
    match node {
        Node::File {
            contents,
            executable,
        } => {
            let mode = if *executable { 0o555 } else { 0o444 };
            entries.push((name, b'0', mode, Vec::new(), contents.clone()));
        }
        Node::Symlink(target) => entries.push((name, b'2', 0o777, target.clone(), Vec::new())),
        Node::Directory(children) => {
            let directory = [&name[..], b"/"].concat();
            entries.push((directory.clone(), b'5', 0o555, Vec::new(), Vec::new()));
            // A `BTreeMap` of bytes has the order that the format asks for.
            for (child_name, child) in children {
                model(child, [&directory[..], child_name].concat(), entries);
            }
        }
    }
}

/// The entries of a tar as the `tar` crate reads them, and where each of them ends.
fn parse(bytes: &[u8]) -> (Vec<Entry>, Vec<usize>) {
    let mut entries = Vec::new();
    let mut ends = Vec::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (1, 0));
        assert_eq!(
            (header.username_bytes(), header.groupname_bytes()),
            (Some(&[][..]), Some(&[][..]))
        );
        let (kind, mode) = (header.entry_type().as_byte(), header.mode().unwrap());
        let name = entry.path_bytes().into_owned();
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        let end = entry.raw_file_position() + entry.size().next_multiple_of(512);
        ends.push(usize::try_from(end).unwrap());
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        entries.push((name, kind, mode, target, contents));
    }
    (entries, ends)
}

fn made(node: &Node) -> (tempfile::TempDir, StoreRoot, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    create(node, &directory.path().join(BASE_NAME));
    let store = StoreRoot::new(StoreDir::default(), directory.path().to_owned());
    let bytes = tar(&spec(), &store).unwrap();
    (directory, store, bytes)
}

fn spec() -> nixply_layer::LayerSpec {
    store_spec(&[BASE_NAME.to_owned()], LayerFormat::Nixply)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_layer_holds_what_the_tree_holds(node in tree()) {
        let (_directory, _store, bytes) = made(&node);
        let parent = |name: &[u8]| (name.to_vec(), b'5', 0o755, Vec::new(), Vec::new());
        let mut expected = vec![parent(b"nix/"), parent(b"nix/store/")];
        model(&node, format!("nix/store/{BASE_NAME}").into_bytes(), &mut expected);
        let (entries, ends) = parse(&bytes);
        prop_assert_eq!(entries, expected);
        prop_assert_eq!(bytes.len(), ends.last().unwrap() + 1024);
    }

    #[test]
    fn a_flipped_byte_is_found_where_it_is(node in tree(), position in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let (_directory, store, mut bytes) = made(&node);
        let (entries, ends) = parse(&bytes);
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let difference = compare_layer(&spec(), &store, &mut &bytes[..], &MediaType::OciLayerTar)
            .unwrap()
            .expect("a difference");
        match ends.iter().position(|end| at < *end) {
            // A flip inside a PAX record may give the stored entry another name, which is then named as one too many.
            Some(_) if difference.kind == DifferenceKind::Extra => {}
            Some(entry) => {
                let name = String::from_utf8_lossy(&entries[entry].0);
                prop_assert!(!difference.entry.contains(char::is_control));
                // No name of the trees holds a character that is escaped for its direction.
                let shown = name.trim_end_matches('/').chars().map(|c| match c {
                    '\\' => r"\\".to_owned(),
                    c if c.is_control() => c.escape_default().to_string(),
                    c => c.to_string(),
                });
                prop_assert_eq!(difference.entry, shown.collect::<String>());
                if let DifferenceKind::Contents { offset_bytes } = difference.kind {
                    let padded = entries[entry].4.len().next_multiple_of(512);
                    prop_assert_eq!(offset_bytes, (at - (ends[entry] - padded)) as u64);
                }
            }
            None => prop_assert_eq!(difference.entry, ""),
        }
    }
}
