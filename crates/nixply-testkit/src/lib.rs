//! Closures, trees, images and registries for the tests of the other crates.

pub mod closures;
pub mod fitted;
pub mod images;
mod program;
pub mod recorded;
pub mod registry;
pub mod sample;

pub use program::{require_program, say_skipped};
