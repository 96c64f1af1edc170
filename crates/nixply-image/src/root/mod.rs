//! `root`: users, groups, files and the usual places of a Linux system, without a script.
//!
//! # Duty
//!
//! [`RootSpec`] says what is wanted; [`lower`] turns it into root files, purely: no file is read, nothing is looked up. Names of
//! users and groups, here and in `perms`, are those of the same specification.
//!
//! # Decisions
//!
//! * What is asked for by its path (`files`, `directories`, `links`) wins over what follows from something else: a `/tmp` in
//!   `directories` over the usual one, a `/etc/passwd` in `files` over the one of `users`.
//! * `/etc/shadow` is 0640 and belongs to the group `shadow` where there is one, as Debian has it; a password that is not given
//!   is `!`, which no password matches, and the day of its last change is 1, for 0 would ask for a new one.
//! * There is no `/etc/gshadow`: nothing in a container reads it, and tools that write groups go without.
//! * Over a base image, users and groups are added to those that it has: its lines stay as they are. Its `/etc/shadow` is neither
//!   read nor changed, since what is read ends in locks and plans, which more people read than the image; users of ours have
//!   their `!` in `/etc/passwd` then, where it means the same. What is only there by default gives way to what the base has.
//! * Owners are explicit, but a directory that is only there because something lies below a user's home belongs to the user:
//!   with a root-owned `~/.config` no program could write its settings.

mod accounts;
mod below;
mod error;
mod lower;
mod os_release;
mod owner;
mod spec;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_over_base;

pub use error::RootSpecError;
pub use spec::{DirectorySpec, FileSpec, GroupSpec, OwnerSpec, RootSpec, UserSpec};

pub(crate) use accounts::{Account, Accounts};
pub(crate) use lower::{Lowered, lower};
