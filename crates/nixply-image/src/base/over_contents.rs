//! Putting links of contents over a base image.

use super::BaseError;
use super::directory_names::join;
use super::follow::{absolute, follow, target_elsewhere};
use super::give_way::Yielding;
use super::over::{Below, Ways};
use crate::linking::{StoreView, are_same};
use crate::{LinkedContent, OnCollision, RootFileSpec};
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// Finds the places of what contents have. Root files win over them, as they do without a base.
pub(super) fn place_contents(
    contents: Vec<LinkedContent>,
    files: &[RootFileSpec],
    ways: &Ways<'_>,
    below: Below<'_>,
) -> Result<Vec<LinkedContent>, BaseError> {
    let mut placing = Placing {
        ways,
        view: StoreView::new(below.store),
        on_collision: below.on_collision,
        files: files
            .iter()
            .map(|file| (file.path.as_str(), file))
            .collect(),
        contents: contents
            .iter()
            .map(|content| content.path.clone())
            .collect(),
        entries: BTreeMap::new(),
        directories: BTreeSet::new(),
        yielding: Vec::new(),
    };
    for (content_idx, content) in contents.into_iter().enumerate() {
        placing.place(content_idx, content)?;
    }
    let own_links = placing.own_links();
    placing.fix_targets(&own_links);
    placing.give_way(&own_links)?;
    Ok(placing.records())
}

/// Where the entries of contents come to stand.
pub(super) struct Placing<'a> {
    pub(super) ways: &'a Ways<'a>,
    pub(super) view: StoreView<'a>,
    on_collision: OnCollision,
    pub(super) files: BTreeMap<&'a str, &'a RootFileSpec>,
    pub(super) contents: Vec<String>,
    pub(super) entries: BTreeMap<String, Placed>,
    /// All directories of contents that have nothing in them, also those that the base has.
    pub(super) directories: BTreeSet<String>,
    /// The links that give way to directories of the base.
    pub(super) yielding: Vec<Yielding>,
}

/// An entry of a content at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) content_idx: usize,
    /// Its path in the content.
    pub(super) asked: String,
    pub(super) kind: PlacedKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PlacedKind {
    /// A link to the file that the content has there.
    File,
    Symlink {
        target: String,
    },
    Directory,
}

impl Placing<'_> {
    fn place(&mut self, content_idx: usize, content: LinkedContent) -> Result<(), BaseError> {
        for (directory, names) in content.links {
            let place = self.ways.follow(&directory, true)?.place;
            for name in names.split('/') {
                let asked = join(&directory, name);
                let entry = Placed {
                    content_idx,
                    asked,
                    kind: PlacedKind::File,
                };
                self.place_link(join(&place, name), entry)?;
            }
        }
        for (asked, target) in content.symlinks {
            let place = self.ways.follow(&asked, false)?.place;
            let kind = PlacedKind::Symlink { target };
            self.place_link(
                place,
                Placed {
                    content_idx,
                    asked,
                    kind,
                },
            )?;
        }
        for asked in content.directories {
            let place = self.ways.follow(&asked, true)?.place;
            // The base's own stays as it is.
            if !self.ways.tree.is_directory(&place) {
                let kind = PlacedKind::Directory;
                self.add(
                    place.clone(),
                    Placed {
                        content_idx,
                        asked,
                        kind,
                    },
                )?;
            }
            self.directories.insert(place);
        }
        Ok(())
    }

    /// Puts a link of a content at its place, or notes that it gives way.
    fn place_link(&mut self, place: String, entry: Placed) -> Result<(), BaseError> {
        let mut yielding = std::mem::take(&mut self.yielding);
        let placed = self.place_or_yield(place, entry, &mut yielding);
        self.yielding = yielding;
        placed
    }

    /// Puts a link at its place, or where the base has a directory there, into `yielding`.
    pub(super) fn place_or_yield(
        &mut self,
        place: String,
        entry: Placed,
        yielding: &mut Vec<Yielding>,
    ) -> Result<(), BaseError> {
        if self.files.contains_key(place.as_str()) {
            return Ok(());
        }
        let Some(directory) = self.directory_at(&place) else {
            return self.add(place, entry);
        };
        let PlacedKind::Symlink { target } = &entry.kind else {
            return Err(BaseError::HidesDirectory {
                what: format!("`{}`", self.source(&entry)),
                path: place,
            });
        };
        yielding.push(Yielding {
            content_idx: entry.content_idx,
            target: absolute(&entry.asked, target),
            asked: entry.asked,
            place,
            directory,
        });
        Ok(())
    }

    /// The directory of the base that something of ours at a place would hide.
    pub(super) fn directory_at(&self, place: &str) -> Option<String> {
        let followed = follow(place, true, &|at| self.ways.link(at)).ok()?;
        let tree = self.ways.tree;
        tree.is_directory(&followed.place).then_some(followed.place)
    }

    /// Puts an entry at its place, where another one may be already.
    pub(super) fn add(&mut self, place: String, entry: Placed) -> Result<(), BaseError> {
        if self.files.contains_key(place.as_str()) {
            return Ok(());
        }
        let Some(there) = self.entries.get(&place) else {
            self.entries.insert(place, entry);
            return Ok(());
        };
        if self.on_collision == OnCollision::First || self.is_same(there, &entry)? {
            return Ok(());
        }
        Err(BaseError::SameContent {
            first: self.source(there),
            second: self.source(&entry),
            place,
        })
    }

    fn is_same(&self, a: &Placed, b: &Placed) -> Result<bool, BaseError> {
        let target = |entry: &Placed| match &entry.kind {
            PlacedKind::File => Some(self.source(entry)),
            PlacedKind::Symlink { target } => Some(target.clone()),
            PlacedKind::Directory => None,
        };
        if target(a) == target(b) {
            return Ok(true);
        }
        let is_same = are_same(&self.view, &self.source(a), &self.source(b))?;
        Ok(is_same && a.kind != PlacedKind::Directory && b.kind != PlacedKind::Directory)
    }

    /// Where an entry comes from, as an absolute path in the store.
    pub(super) fn source(&self, entry: &Placed) -> String {
        format!("{}/{}", self.contents[entry.content_idx], entry.asked)
    }

    /// What all links of ours say, absolutely and by their places, those that give way among them.
    fn own_links(&self) -> BTreeMap<String, String> {
        let mut links = BTreeMap::new();
        for (path, file) in &self.files {
            if let Some(target) = &file.target {
                links.insert((*path).to_owned(), target.clone());
            }
        }
        for (place, entry) in &self.entries {
            let target = match &entry.kind {
                PlacedKind::File => self.source(entry),
                PlacedKind::Symlink { target } => absolute(&entry.asked, target),
                PlacedKind::Directory => continue,
            };
            links.insert(place.clone(), target);
        }
        for link in &self.yielding {
            links.insert(link.place.clone(), link.target.clone());
        }
        links
    }

    /// Where a path leads in the image; none for one that leads back to itself.
    pub(super) fn lead(&self, path: &str, own_links: &BTreeMap<String, String>) -> Option<String> {
        let link = |at: &str| {
            let own = own_links.get(at).map(String::as_str);
            own.or_else(|| self.ways.link(at))
        };
        let followed = follow(path, true, &link).ok()?;
        Some(followed.place)
    }

    /// Lets links that stand elsewhere than in their content lead to the same things all the same.
    fn fix_targets(&mut self, own_links: &BTreeMap<String, String>) {
        let mut fixed = Vec::new();
        for (place, entry) in &self.entries {
            let PlacedKind::Symlink { target } = &entry.kind else {
                continue;
            };
            let lead = |path: &str| self.lead(path, own_links);
            let target = target_elsewhere(&entry.asked, place, target, &lead);
            fixed.extend(target.map(|target| (place.clone(), target)));
        }
        for (place, target) in fixed {
            if let Some(entry) = self.entries.get_mut(&place) {
                entry.kind = PlacedKind::Symlink { target };
            }
        }
    }

    /// What a plan says of all entries, in the order of the contents.
    fn records(self) -> Vec<LinkedContent> {
        let mut records: Vec<LinkedContent> = self
            .contents
            .iter()
            .map(|path| LinkedContent {
                path: path.clone(),
                ..LinkedContent::default()
            })
            .collect();
        for (place, entry) in self.entries {
            let record = &mut records[entry.content_idx];
            match entry.kind {
                PlacedKind::File if place == entry.asked => {
                    let (directory, name) = place.rsplit_once('/').unwrap_or(("", &place));
                    let names = record.links.entry(directory.to_owned()).or_default();
                    if !names.is_empty() {
                        names.push('/');
                    }
                    names.push_str(name);
                }
                PlacedKind::File => {
                    // A link that stands elsewhere than in its content is told with its target.
                    let target = format!("{}/{}", record.path, entry.asked);
                    record.symlinks.insert(place, target);
                }
                PlacedKind::Symlink { target } => {
                    record.symlinks.insert(place, target);
                }
                PlacedKind::Directory => record.directories.push(place),
            }
        }
        for record in &mut records {
            let directories = &mut record.directories;
            directories.sort_by(|a, b| a.split('/').cmp(b.split('/')));
        }
        records.retain(|record| record.entry_count() > 0);
        records
    }
}
