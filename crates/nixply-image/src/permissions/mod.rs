//! `perms`: owners and modes of entries of store paths, and of contents.

mod record;

pub use record::{PlannedPermissions, entry_permissions};
