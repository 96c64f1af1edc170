//! Tests of images on disk, through the public interface.

mod choosing;
mod damaged;
mod directory;
mod golden;
mod round_trip;
mod support;
mod tools;
mod writing;
