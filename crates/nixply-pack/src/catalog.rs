//! The fleet's catalog: which paths of a package collection come and go together.
//!
//! Images of a fleet are unions of package sets. Paths that the same sets hold (an *atom*) are in the same images, so a
//! layer of them never splits. The catalog cuts each atom into groups and says on which path a small group rides. It sees
//! the sets alone, no project, and is the same for all of them: that is why their layers agree.

mod build;
mod error;
mod json;
mod level;

pub use error::CatalogError;
pub use level::LevelProposal;

use nixply_store::{Closure, StoreDir, StorePath};

/// The groups of a fleet's package sets at one pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    store_dir: StoreDir,
    level: u32,
    /// In byte order.
    set_names: Vec<String>,
    groups: Vec<CatalogGroup>,
    /// Every path, in byte order, with its group.
    group_of: Vec<(StorePath, u32)>,
}

/// Paths that the same package sets hold and that stay together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogGroup {
    /// The path that holds the group together.
    pub head: StorePath,
    /// All paths, `head` among them, in byte order.
    pub paths: Vec<StorePath>,
    /// The path that the group rides on in images that have it: a user of every path of the group.
    pub host: Option<StorePath>,
    /// The package sets that hold the group, as positions in [`Catalog::set_names`], ascending; never empty.
    pub sets: Vec<u32>,
}

/// How much of a closure a catalog knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogFit {
    /// Paths of the closure.
    pub paths: usize,
    /// Those that the catalog knows.
    pub known_paths: usize,
    /// The NAR sizes of all paths, summed.
    pub nar_size_bytes: u64,
    /// The NAR sizes of the known paths, summed.
    pub known_nar_size_bytes: u64,
}

impl Catalog {
    /// The highest level: groups up to 64 GiB.
    pub const MAX_LEVEL: u32 = 20;

    /// The directory that the paths lie in.
    #[must_use]
    pub fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// How coarse the groups are: groups below 64 KiB · 2^level ride where they can.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The names of the sets, in byte order.
    #[must_use]
    pub fn set_names(&self) -> &[String] {
        &self.set_names
    }

    /// The groups, in an order that no store hash decides.
    #[must_use]
    pub fn groups(&self) -> &[CatalogGroup] {
        &self.groups
    }

    /// How many paths the catalog knows.
    #[must_use]
    pub fn path_count(&self) -> usize {
        self.group_of.len()
    }

    /// The group of a path.
    #[must_use]
    pub fn group_of(&self, path: &StorePath) -> Option<&CatalogGroup> {
        let at = self.group_of.binary_search_by(|(known, _)| known.cmp(path));
        let (_, group) = &self.group_of[at.ok()?];
        Some(&self.groups[*group as usize])
    }

    /// How much of a closure the catalog knows. Paths of another store directory are unknown.
    #[must_use]
    pub fn fit(&self, closure: &Closure) -> CatalogFit {
        let mut fit = CatalogFit {
            paths: closure.paths().len(),
            known_paths: 0,
            nar_size_bytes: closure.nar_size_bytes(),
            known_nar_size_bytes: 0,
        };
        for (info, group) in closure.paths().iter().zip(self.known(closure)) {
            if group.is_some() {
                fit.known_paths += 1;
                fit.known_nar_size_bytes += info.nar_size_bytes;
            }
        }
        fit
    }

    /// True of sizes that make a path the head of a group.
    pub(crate) fn is_alone(&self, nar_size_bytes: u64) -> bool {
        nar_size_bytes >= build::alone_from_bytes(self.level)
    }

    /// For each path of a closure its group, as a position in [`Catalog::groups`].
    pub(crate) fn known(&self, closure: &Closure) -> Vec<Option<u32>> {
        if *closure.store_dir() != self.store_dir {
            return vec![None; closure.paths().len()];
        }
        // Both lists stand in byte order, so one walk over them finds all.
        let mut known = self.group_of.iter().peekable();
        let mut group_of = |path: &StorePath| {
            while known.next_if(|(other, _)| other < path).is_some() {}
            known.peek().filter(|(other, _)| other == path).map(|k| k.1)
        };
        closure
            .paths()
            .iter()
            .map(|info| group_of(&info.path))
            .collect()
    }

    /// Puts groups together whose paths are checked.
    fn assemble(
        store_dir: StoreDir,
        level: u32,
        set_names: Vec<String>,
        groups: Vec<CatalogGroup>,
    ) -> Self {
        let mut group_of: Vec<(StorePath, u32)> = (0..)
            .zip(&groups)
            .flat_map(|(number, group)| group.paths.iter().map(move |path| (path.clone(), number)))
            .collect();
        group_of.sort_unstable();
        Self {
            store_dir,
            level,
            set_names,
            groups,
            group_of,
        }
    }
}
