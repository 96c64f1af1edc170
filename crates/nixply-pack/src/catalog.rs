//! The fleet's catalog.

use nixply_store::Closure;

/// The package sets of a fleet at one pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    sets: Vec<String>,
}

/// What a catalog knows of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// How many sets hold the path.
    pub(crate) sets: u32,
}

impl Catalog {
    /// The names of the sets.
    #[must_use]
    pub fn set_names(&self) -> &[String] {
        &self.sets
    }

    pub(crate) fn known(&self, closure: &Closure) -> Vec<Option<Entry>> {
        vec![None; closure.paths().len()]
    }
}
