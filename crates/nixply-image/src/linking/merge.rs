//! Directories of several contents laid over each other, level by level.

use super::error::LinkError;
use super::store_view::{Child, Place, StoreView, list, read_error, read_link};
use super::{LeftOut, LinkEntry, LinkKind, OnCollision};
use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::os::unix::fs::PermissionsExt as _;

/// Left out at the top of a content: it tells builders what a package needs.
const FOR_BUILDERS: &str = "nix-support";

/// A directory of one content that shall become part of a directory of the image.
struct Source {
    content_idx: usize,
    place: Place,
}

/// One content's entry of a name.
struct Candidate {
    content_idx: usize,
    place: Place,
    file_type: FileType,
}

pub(super) struct Merge<'a> {
    view: &'a StoreView<'a>,
    contents: &'a [String],
    on_collision: OnCollision,
    entries: BTreeMap<String, LinkEntry>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        view: &'a StoreView<'a>,
        contents: &'a [String],
        on_collision: OnCollision,
    ) -> Self {
        Self {
            view,
            contents,
            on_collision,
            entries: BTreeMap::new(),
        }
    }

    /// Merges the contents' directories, which stand in the order of the contents.
    pub(super) fn run(
        mut self,
        tops: Vec<Place>,
    ) -> Result<(BTreeMap<String, LinkEntry>, Vec<LeftOut>), LinkError> {
        let sources: Vec<Source> = tops
            .into_iter()
            .enumerate()
            .map(|(content_idx, place)| Source { content_idx, place })
            .collect();
        // Not by recursion: trees may be deeper than a stack.
        let mut open = vec![(String::new(), sources)];
        let mut all_left_out = Vec::new();
        while let Some((path, sources)) = open.pop() {
            for (name, candidates) in entries_by_name(&sources, path.is_empty())? {
                let path = if path.is_empty() {
                    name
                } else {
                    format!("{path}/{name}")
                };
                let Some(first) = candidates.first() else {
                    continue;
                };
                let (entry, below) = self.decide(&path, first, &candidates)?;
                if entry.kind == LinkKind::Directory {
                    open.push((path.clone(), below));
                }
                all_left_out.extend(self.left_out(&path, first, &candidates));
                self.entries.insert(path, entry);
            }
        }
        all_left_out.sort_unstable();
        Ok((self.entries, all_left_out))
    }

    /// What is not the first one's and differs from it, where the first wins. It only is for a note: what cannot be read
    /// differs.
    fn left_out(&self, path: &str, first: &Candidate, candidates: &[Candidate]) -> Option<LeftOut> {
        if self.on_collision == OnCollision::Error {
            return None;
        }
        let other = candidates.iter().skip(1).find(|other| {
            let are_directories = first.file_type.is_dir() && other.file_type.is_dir();
            !are_directories && !self.is_same(path, first, other).unwrap_or(false)
        })?;
        Some(LeftOut {
            path: path.to_owned(),
            taken: first.place.logical.clone(),
            left_out: other.place.logical.clone(),
        })
    }

    /// What stands at a path, and the directories that are merged below it.
    fn decide(
        &self,
        path: &str,
        first: &Candidate,
        candidates: &[Candidate],
    ) -> Result<(LinkEntry, Vec<Source>), LinkError> {
        let all_directories = candidates.iter().all(|c| c.file_type.is_dir());
        if candidates.len() == 1 || all_directories || self.on_collision == OnCollision::First {
            let entry = self.entry(path, first)?;
            let below = match entry.kind {
                LinkKind::Directory => candidates
                    .iter()
                    .filter(|candidate| candidate.file_type.is_dir())
                    .map(Candidate::as_source)
                    .collect(),
                LinkKind::File | LinkKind::Symlink { .. } => Vec::new(),
            };
            return Ok((entry, below));
        }
        if let Some(same) = self.same(path, candidates)? {
            return Ok((self.entry(path, same)?, Vec::new()));
        }
        // Links to directories may differ and lead into trees that fit together.
        let mut below = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let resolved = self.view.resolve(&candidate.place.logical)?;
            match resolved {
                Some((place, file_type)) if file_type.is_dir() => below.push(Source {
                    content_idx: candidate.content_idx,
                    place: Place {
                        logical: candidate.place.logical.clone(),
                        physical: place.physical,
                    },
                }),
                _ => return Err(self.collision(path, candidates)),
            }
        }
        let entry = LinkEntry {
            content_idx: first.content_idx,
            kind: LinkKind::Directory,
        };
        Ok((entry, below))
    }

    fn entry(&self, path: &str, candidate: &Candidate) -> Result<LinkEntry, LinkError> {
        let kind = if candidate.file_type.is_dir() {
            LinkKind::Directory
        } else if candidate.file_type.is_file() {
            LinkKind::File
        } else {
            LinkKind::Symlink {
                target: self.target(path, candidate)?,
            }
        };
        Ok(LinkEntry {
            content_idx: candidate.content_idx,
            kind,
        })
    }

    /// A link's target as the root has it.
    fn target(&self, path: &str, candidate: &Candidate) -> Result<String, LinkError> {
        let target = read_link(&candidate.place.physical)?;
        if target.starts_with('/') || stays_below_root(path, &target) {
            return Ok(target);
        }
        Ok(format!("{}/{path}", self.contents[candidate.content_idx]))
    }

    /// The candidate that stands for all, where all of them are the same thing and none is a directory.
    fn same<'c>(
        &self,
        path: &str,
        candidates: &'c [Candidate],
    ) -> Result<Option<&'c Candidate>, LinkError> {
        // A file rather than a link to it.
        let Some(chosen) = candidates
            .iter()
            .find(|candidate| candidate.file_type.is_file())
            .or(candidates.first())
        else {
            return Ok(None);
        };
        for other in candidates {
            if !self.is_same(path, chosen, other)? {
                return Ok(None);
            }
        }
        Ok(Some(chosen))
    }

    fn is_same(&self, path: &str, a: &Candidate, b: &Candidate) -> Result<bool, LinkError> {
        if a.place == b.place {
            return Ok(true);
        }
        if a.file_type.is_dir() || b.file_type.is_dir() {
            return Ok(false);
        }
        if a.file_type.is_symlink()
            && b.file_type.is_symlink()
            && self.target(path, a)? == self.target(path, b)?
        {
            return Ok(true);
        }
        are_same(self.view, &a.place.logical, &b.place.logical)
    }

    fn collision(&self, path: &str, candidates: &[Candidate]) -> LinkError {
        let describe = |candidate: &Candidate| {
            let is = if candidate.file_type.is_dir() {
                "a directory".to_owned()
            } else if candidate.file_type.is_file() {
                "a file".to_owned()
            } else {
                let target = read_link(&candidate.place.physical).unwrap_or_default();
                format!("a link to `{target}`")
            };
            (candidate.place.logical.clone(), is)
        };
        let first = candidates.first();
        // The first one that differs; with more than two, the others may be the same.
        let second = candidates.iter().skip(1).find(|other| {
            first.is_some_and(|first| !self.is_same(path, first, other).unwrap_or(false))
        });
        let (first, first_is) = first.map(describe).unwrap_or_default();
        let (second, second_is) = second.map(describe).unwrap_or_default();
        LinkError::Collision {
            path: path.to_owned(),
            first,
            first_is,
            second,
            second_is,
        }
    }
}

impl Candidate {
    fn as_source(&self) -> Source {
        Source {
            content_idx: self.content_idx,
            place: self.place.clone(),
        }
    }
}

/// The entries of all directories, by name; those of one name in the order of the contents.
fn entries_by_name(
    sources: &[Source],
    is_top: bool,
) -> Result<BTreeMap<String, Vec<Candidate>>, LinkError> {
    let mut by_name: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for source in sources {
        for Child { name, file_type } in list(&source.place.physical)? {
            if is_top && name == FOR_BUILDERS {
                continue;
            }
            let place = source.place.child(&name);
            by_name.entry(name).or_default().push(Candidate {
                content_idx: source.content_idx,
                place,
                file_type,
            });
        }
    }
    Ok(by_name)
}

/// Whether a relative target of the link at `path` stays in the tree on the way and at its end.
fn stays_below_root(path: &str, target: &str) -> bool {
    let mut depth = path.split('/').count() - 1;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

/// Whether two paths in the store lead to the same file or directory, or to files with the same bytes and executable bit.
pub(crate) fn are_same(view: &StoreView<'_>, a: &str, b: &str) -> Result<bool, LinkError> {
    let (Some((a, a_type)), Some((b, b_type))) = (view.resolve(a)?, view.resolve(b)?) else {
        return Ok(false);
    };
    Ok(a.logical == b.logical || a_type.is_file() && b_type.is_file() && equal_files(&a, &b)?)
}

/// Whether two files have the same bytes and the same executable bit.
fn equal_files(a: &Place, b: &Place) -> Result<bool, LinkError> {
    let metadata =
        |place: &Place| fs::metadata(&place.physical).map_err(read_error(&place.physical));
    let (a_metadata, b_metadata) = (metadata(a)?, metadata(b)?);
    let executable = |metadata: &fs::Metadata| metadata.permissions().mode() & 0o100 != 0;
    if a_metadata.len() != b_metadata.len() || executable(&a_metadata) != executable(&b_metadata) {
        return Ok(false);
    }
    let bytes = |place: &Place| fs::read(&place.physical).map_err(read_error(&place.physical));
    Ok(bytes(a)? == bytes(b)?)
}
