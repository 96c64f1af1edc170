//! Closures, trees, images and registries for the tests of the other crates.

pub mod images;
