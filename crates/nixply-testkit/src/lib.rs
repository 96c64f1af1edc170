//! Closures, trees, images and registries for the tests of the other crates.

pub mod images;
mod program;
pub mod registry;

pub use program::require_program;
