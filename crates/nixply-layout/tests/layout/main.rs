//! Tests of images on disk, through the public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod choosing;
mod damaged;
mod directory;
mod golden;
mod merging;
mod round_trip;
mod support;
mod telling;
mod tools;
mod writing;
