//! What a content put into the root, as a plan holds it: short, complete, and without a look at the store.

use super::{LinkEntry, LinkKind, LinkTree};
use nixply_layer::{RootFile, RootFileKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The links that the root of an image has into one content.
///
/// A content can have ten thousand files, so the links stand by directory: `"links": {"bin": "cat/ls"}` is `bin/cat` and
/// `bin/ls`, each a link to the same place below `path`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedContent {
    /// The content, as an absolute path.
    pub path: String,
    /// Directories of the root, each with the names of its links, in byte order and joined by `/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Links of the content itself, with their targets as the root has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub symlinks: BTreeMap<String, String>,
    /// Directories with nothing in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
}

impl LinkedContent {
    /// The root files that the record stands for.
    pub(crate) fn root_files(&self) -> impl Iterator<Item = RootFile> + '_ {
        let links = self.links.iter().flat_map(move |(directory, names)| {
            names.split('/').map(move |name| {
                let path = join(directory, name);
                let target = format!("{}/{path}", self.path);
                root_file(path, RootFileKind::Symlink { target })
            })
        });
        let symlinks = self.symlinks.iter().map(|(path, target)| {
            let target = target.clone();
            root_file(path.clone(), RootFileKind::Symlink { target })
        });
        let directories = self
            .directories
            .iter()
            .map(|path| root_file(path.clone(), RootFileKind::Directory));
        links.chain(symlinks).chain(directories)
    }

    /// How many entries of the root come from the content.
    #[must_use]
    pub fn entry_count(&self) -> usize {
        let links = self.links.values().map(|names| names.split('/').count());
        links.sum::<usize>() + self.symlinks.len() + self.directories.len()
    }
}

impl LinkTree {
    /// The records of all contents that put something into the root, in the order of the contents.
    pub(crate) fn records(&self) -> Vec<LinkedContent> {
        let mut records: Vec<LinkedContent> = self
            .contents
            .iter()
            .map(|path| LinkedContent {
                path: path.clone(),
                ..LinkedContent::default()
            })
            .collect();
        let entries = self.in_components_order();
        for (idx, (path, entry)) in entries.iter().enumerate() {
            let record = &mut records[entry.content_idx];
            match &entry.kind {
                LinkKind::Directory => {
                    // What a directory holds comes right behind it.
                    let holds_something = entries.get(idx + 1).is_some_and(|(next, _)| {
                        next.strip_prefix(path)
                            .is_some_and(|rest| rest.starts_with('/'))
                    });
                    if !holds_something {
                        record.directories.push((*path).to_owned());
                    }
                }
                LinkKind::File => {
                    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
                    let names = record.links.entry(directory.to_owned()).or_default();
                    if !names.is_empty() {
                        names.push('/');
                    }
                    names.push_str(name);
                }
                LinkKind::Symlink { target } => {
                    record.symlinks.insert((*path).to_owned(), target.clone());
                }
            }
        }
        records.retain(|record| record.entry_count() > 0);
        records
    }

    /// The entries with each directory right before all that is below it.
    fn in_components_order(&self) -> Vec<(&str, &LinkEntry)> {
        let mut entries: Vec<(&str, &LinkEntry)> = self
            .entries
            .iter()
            .map(|(path, entry)| (path.as_str(), entry))
            .collect();
        entries.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
        entries
    }
}

fn root_file(path: String, kind: RootFileKind) -> RootFile {
    RootFile {
        path,
        mode: match kind {
            RootFileKind::Symlink { .. } => 0o777,
            RootFileKind::Directory | RootFileKind::File(_) => 0o755,
        },
        kind,
        uid: 0,
        gid: 0,
        capabilities: None,
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}
