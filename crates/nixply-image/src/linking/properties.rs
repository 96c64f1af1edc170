//! Random trees: the order of contents, and what `lndir` would make of them.

use super::tests::{A, B, C, Store, lines};
use super::{LinkError, LinkTree, OnCollision};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// An entry of a random content.
#[derive(Debug, Clone)]
enum Node {
    File(&'static str),
    Link(&'static str),
    Directory,
}

type Content = Vec<(String, Node)>;

fn content() -> impl Strategy<Value = Content> {
    let part = prop::sample::select(vec!["a", "b", "a-b"]);
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let node = prop_oneof![
        prop::sample::select(vec!["x", "y"]).prop_map(Node::File),
        prop::sample::select(vec!["a", "b/a", "../..", "/nowhere"]).prop_map(Node::Link),
        Just(Node::Directory),
    ];
    prop::collection::vec((path, node), 0..8)
}

/// Puts an entry where its place is free and its parents are directories; tells whether it did.
fn fits(tree: &BTreeMap<String, Node>, path: &str) -> bool {
    let is_directory =
        |above: &str| !matches!(tree.get(above), Some(Node::File(_) | Node::Link(_)));
    let parents_fit = path
        .match_indices('/')
        .all(|(end, _)| is_directory(&path[..end]));
    let holds = format!("{path}/");
    parents_fit && !tree.contains_key(path) && !tree.keys().any(|other| other.starts_with(&holds))
}

/// The content as a tree, with its directories named.
fn tree_of(content: &Content) -> BTreeMap<String, Node> {
    let mut tree = BTreeMap::new();
    for (path, node) in content {
        if fits(&tree, path) {
            for (end, _) in path.match_indices('/') {
                tree.insert(path[..end].to_owned(), Node::Directory);
            }
            tree.insert(path.clone(), node.clone());
        }
    }
    tree
}

const PATHS: [&str; 3] = [A, B, C];

fn store_with(contents: &[Content]) -> Store {
    let store = Store::new();
    for (top, content) in PATHS.iter().zip(contents) {
        store.directory(top);
        for (path, node) in tree_of(content) {
            let path = format!("{top}/{path}");
            match node {
                Node::File(text) => store.file(&path, text),
                Node::Link(target) => store.link(&path, target),
                Node::Directory => store.directory(&path),
            };
        }
    }
    store
}

/// What lndir makes, one content after the other: what is there stays, and nothing goes below what is no directory.
fn lndir(contents: &[Content]) -> BTreeMap<String, (usize, bool)> {
    let mut made: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    for (idx, content) in contents.iter().enumerate() {
        for (path, node) in tree_of(content) {
            let is_directory = matches!(node, Node::Directory);
            let parents_fit = path.match_indices('/').all(|(end, _)| {
                made.get(&path[..end])
                    .is_some_and(|(_, directory)| *directory)
            });
            if parents_fit && !made.contains_key(&path) {
                made.insert(path, (idx, is_directory));
            }
        }
    }
    made
}

fn entries(tree: &LinkTree) -> BTreeMap<String, (usize, bool)> {
    tree.entries
        .iter()
        .map(|(path, entry)| {
            let is_directory = entry.kind == super::LinkKind::Directory;
            (path.clone(), (entry.content_idx, is_directory))
        })
        .collect()
}

fn outcome(result: Result<LinkTree, LinkError>) -> Result<Vec<String>, String> {
    result
        .map(|tree| lines(&tree))
        .map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Neither the result nor the error depends on the order of the contents.
    #[test]
    fn the_order_of_contents_does_not_show(contents in prop::collection::vec(content(), 3)) {
        let store = store_with(&contents);
        let of = |order: [&str; 3]| outcome(store.tree(&order, OnCollision::Error));
        let expected = of([A, B, C]);
        for order in [[A, C, B], [B, A, C], [B, C, A], [C, A, B], [C, B, A]] {
            prop_assert_eq!(&of(order), &expected);
        }
    }

    /// Where the first wins, the result is that of lndir over one content after the other.
    #[test]
    fn the_first_wins_as_with_lndir(contents in prop::collection::vec(content(), 3)) {
        let store = store_with(&contents);
        let tree = store.tree(&PATHS, OnCollision::First).unwrap();
        prop_assert_eq!(entries(&tree), lndir(&contents));
    }

    /// Where all go together, each pair does, and what the pairs have is what all have.
    #[test]
    fn merging_is_associative(contents in prop::collection::vec(content(), 3)) {
        let store = store_with(&contents);
        let Ok(all) = store.tree(&PATHS, OnCollision::Error) else {
            return Ok(());
        };
        let mut paths: Vec<String> = Vec::new();
        for pair in [[A, B], [B, C], [A, C]] {
            let pair = store.tree(&pair, OnCollision::Error);
            prop_assert!(pair.is_ok(), "{:?}", pair);
            paths.extend(pair.unwrap().entries.into_keys());
        }
        paths.sort();
        paths.dedup();
        prop_assert_eq!(paths, all.entries.into_keys().collect::<Vec<_>>());
    }
}
