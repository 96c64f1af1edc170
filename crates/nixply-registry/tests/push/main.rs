//! Pushes and reads against a real registry and against one that shows every request.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it did not expect; clippy knows tests only by their attribute"
)]

mod common;
mod indexes;
mod memory_records;
mod real_registry;
mod recording_registry;
mod records;
