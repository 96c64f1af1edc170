//! Readers of closures: every form in which Nix writes one, told apart by content.

mod attrs;
mod entry;
mod error;
mod form;
mod json;
mod path_info;
mod record;
mod registration;

pub use attrs::read_attrs_graphs;
pub use error::{OtherList, ReadError};
pub use form::ClosureForm;

use crate::Closure;

/// Reads a closure in any of Nix's forms.
///
/// Fields that are not known are ignored. The store directory is what the input says it is, and otherwise the directory
/// of the first path; all paths must lie in it.
pub fn read_closure(bytes: &[u8]) -> Result<Closure, ReadError> {
    let (form, text) = form::detect(bytes)?;
    match form {
        ClosureForm::PathInfoArray => path_info::read_array(text),
        ClosureForm::PathInfoByPath => path_info::read_by_path(text),
        ClosureForm::PathInfoVersioned => path_info::read_versioned(text),
        ClosureForm::DerivationAttrs => attrs::read_only_graph(text),
        ClosureForm::Registration => registration::read(text),
    }
}
