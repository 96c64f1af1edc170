//! Pushes to real registries over networks that fail: whatever happens, the push ends with an image that comes back byte
//! for byte, or with an error that names the cause, and then the tag names the image that it named before.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it did not expect; clippy knows tests only by their attribute"
)]

mod common;
mod deaths;
mod every_fault;
mod kinds;
mod lies;
#[path = "../push/memory_records.rs"]
mod memory_records;
mod mounts;
mod networks;
mod random_faults;
mod side_steps;
mod tokens;
