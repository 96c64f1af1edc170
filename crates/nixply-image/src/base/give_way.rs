//! Links of contents that give way to directories of a base image.
//!
//! A package whose `sbin` is a link to its `bin` would hide all that a base has in a directory `sbin`. So what the link leads
//! to is laid over that directory, name by name: `sbin/ip -> /bin/ip`. Where the base has a directory of such a name as well,
//! the same is done one level below.

use super::BaseError;
use super::directory_names::join;
use super::error::LinkProblem;
use super::over::is_in;
use super::over_contents::{Placed, PlacedKind, Placing};
use crate::RootFileType;
use crate::linking::list;
use std::collections::{BTreeMap, BTreeSet};

/// A link that gives way.
#[derive(Debug, Clone)]
pub(super) struct Yielding {
    pub(super) content_idx: usize,
    /// Its path in the content.
    pub(super) asked: String,
    /// Its place.
    pub(super) place: String,
    /// What it says, absolutely.
    pub(super) target: String,
    /// The directory of the base.
    pub(super) directory: String,
}

/// What is ours, before anything gives way.
struct Own<'a> {
    links: &'a BTreeMap<String, String>,
    /// The places of all that is ours.
    places: BTreeSet<String>,
    /// Of these, the directories that have to be told because nothing may be in them.
    directories: BTreeSet<String>,
}

impl Own<'_> {
    /// The names in a directory of ours outside the store; none where there is no such directory.
    fn names_in(&self, directory: &str) -> Option<BTreeSet<String>> {
        let inside = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        let names: BTreeSet<String> = self
            .places
            .range(inside.clone()..)
            .map_while(|place| place.strip_prefix(&inside))
            .map(|rest| rest.split('/').next().unwrap_or(rest).to_owned())
            .collect();
        (!names.is_empty() || self.directories.contains(directory)).then_some(names)
    }
}

impl Placing<'_> {
    /// Lays what such links lead to over the directories of the base.
    pub(super) fn give_way(
        &mut self,
        own_links: &BTreeMap<String, String>,
    ) -> Result<(), BaseError> {
        let listed = self.files.values();
        let listed = listed.filter(|file| file.kind == RootFileType::Directory);
        let listed = listed.map(|file| file.path.clone());
        let directories: BTreeSet<String> =
            self.directories.iter().cloned().chain(listed).collect();
        let files = self.files.keys().map(|path| (*path).to_owned());
        let places = self.entries.keys().cloned().chain(files);
        let own = Own {
            links: own_links,
            places: places.chain(directories.iter().cloned()).collect(),
            directories,
        };
        let mut open = std::mem::take(&mut self.yielding);
        let mut merged = BTreeSet::new();
        while let Some(link) = open.pop() {
            self.merge(&own, link, &mut open, &mut merged)?;
        }
        Ok(())
    }

    /// Lays the directory that a link leads to over one of the base; what has to be laid one level below is put into
    /// `open`. What is laid over what stands in `merged`: links on both sides may lead to where one has been.
    fn merge(
        &mut self,
        own: &Own<'_>,
        link: Yielding,
        open: &mut Vec<Yielding>,
        merged: &mut BTreeSet<(String, String)>,
    ) -> Result<(), BaseError> {
        let from = self.lead(&link.target, own.links);
        if from.as_ref() == Some(&link.directory) {
            return Ok(());
        }
        if is_in(&link.directory, self.ways.store_dir) {
            return Err(BaseError::Link {
                path: link.place.clone(),
                link: link.place,
                problem: LinkProblem::IntoStore,
            });
        }
        let found = match &from {
            Some(from) => self.names_in(own, from)?,
            None => None,
        };
        let (Some(from), Some((place, names))) = (from, found) else {
            return Err(BaseError::HidesDirectory {
                what: format!("`{}/{}`", self.contents[link.content_idx], link.asked),
                path: link.directory,
            });
        };
        if !merged.insert((place, link.directory.clone())) {
            return Ok(());
        }
        for name in names {
            let leads_to = join(&from, &name);
            // `usr -> .`: the directory itself is no part of what is laid over it.
            if format!("{}/", link.directory).starts_with(&format!("{leads_to}/")) {
                continue;
            }
            let below = Placed {
                content_idx: link.content_idx,
                asked: join(&link.asked, &name),
                kind: PlacedKind::Symlink {
                    target: format!("/{leads_to}"),
                },
            };
            self.place_or_yield(join(&link.directory, &name), below, open)?;
        }
        Ok(())
    }

    /// A directory, of ours or in the store, by its path without links, and the names in it; none where there is no such
    /// directory.
    fn names_in(
        &self,
        own: &Own<'_>,
        directory: &str,
    ) -> Result<Option<(String, BTreeSet<String>)>, BaseError> {
        if !is_in(directory, self.ways.store_dir) {
            let names = own.names_in(directory);
            return Ok(names.map(|names| (directory.to_owned(), names)));
        }
        let Some((place, file_type)) = self.view.resolve(&format!("/{directory}"))? else {
            return Ok(None);
        };
        if !file_type.is_dir() {
            return Ok(None);
        }
        let children = list(&place.physical)?;
        let names = children.into_iter().map(|child| child.name).collect();
        Ok(Some((place.logical, names)))
    }
}
