//! `perms`: owners and modes by rules, over entries of store paths and of contents.
//!
//! # Duty
//!
//! Nix allows neither owners nor setuid bits, so they are data: a rule names entries by a regular expression, as nix2container's
//! `perms` do. Rules are resolved when an image is planned; the plan, and so the layer's key, holds the entries that they
//! match, not the rules. A layer that no rule matches has the key that it has without rules, and is shared with other images.
//!
//! # Decisions
//!
//! * The expression is searched for in the absolute path of an entry in the store, also for contents; it need not match all of
//!   it. So does nix2container (`tar.go`).
//! * Of several rules that match, the last that gives a mode decides the mode, likewise owner and group.
//! * Of a store path that is among the contents, the entries in the root get what the rule says, and the layer of the store path
//!   stays what it is. There, a regular file becomes a file of its own, since a link cannot carry a mode.
//! * A rule that matches nothing is an error: a misspelt rule must not pass silently.

mod apply;
mod error;
mod record;
mod rules;
#[cfg(test)]
mod tests;

pub use error::PermsError;
pub use record::{PlannedPermissions, entry_permissions};
pub use rules::PermsRule;

pub(crate) use apply::{apply_to_contents, apply_to_store};
pub(crate) use rules::Rules;
