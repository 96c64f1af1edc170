//! Why records do not make a closure.

use crate::{StorePath, StorePathError};

/// How many missing references an error keeps: the first few say what is wrong.
pub(super) const MISSING_KEPT_MAX: usize = 20;

/// How many paths of a circle a message prints.
const CYCLE_PRINTED_MAX: usize = 20;

/// A reference to a path that is not in the closure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingReference {
    /// The path that refers.
    pub referrer: StorePath,
    /// The path that is not there.
    pub missing: StorePath,
}

/// Why records do not make a closure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// There is no path at all.
    #[error("the closure is empty")]
    Empty,
    /// Paths refer to others that are not there.
    #[error("{} in the closure: {}", not_in_closure(*.count), list_missing(.references, *.count))]
    MissingReferences {
        /// The first ones in order of referrers, at most 20.
        references: Vec<MissingReference>,
        /// How many there are in all.
        count: usize,
    },
    /// A path refers to something that is no store path.
    #[error("`{referrer}` refers to what is not a store path: {error}")]
    ReferenceName {
        /// The path that refers.
        referrer: StorePath,
        /// What is wrong with the name.
        error: StorePathError,
    },
    /// The same path was given twice with different records.
    #[error("`{path}` is given twice and the two records disagree in `{field}`")]
    Disagree {
        /// The path.
        path: StorePath,
        /// The first field that differs, by the name that Nix gives it: `narHash`, `narSize` or `references`.
        field: &'static str,
    },
    /// Paths refer to each other in a circle.
    #[error("store paths refer to each other in a circle: {}", print_cycle(.cycle))]
    Cycle {
        /// The circle in the direction of references, from its first path in byte order, which is repeated at the end.
        cycle: Vec<StorePath>,
    },
    /// A root was asked for that is not in the closure.
    #[error("`{root}` is not in the closure")]
    UnknownRoot {
        /// The root.
        root: StorePath,
    },
    /// There are more paths or references than 32-bit positions can count.
    #[error("the closure has {count} {what}, which is more than nixply can count")]
    TooMany {
        /// `store paths` or `references`.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// The sizes of all paths together do not fit in 64 bits.
    #[error("the NAR sizes of all paths together exceed {} bytes", u64::MAX)]
    TooLarge,
}

impl ClosureError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => Some("name at least one store path to Nix".to_owned()),
            Self::MissingReferences { .. } => Some(
                "let Nix list the whole closure: `nix path-info --json -r PATH`, or \
                 `nix-store --dump-db $(nix-store -qR PATH)`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

fn not_in_closure(count: usize) -> String {
    if count == 1 {
        "1 reference is not".to_owned()
    } else {
        format!("{count} references are not")
    }
}

fn list_missing(references: &[MissingReference], count: usize) -> String {
    let mut lines: Vec<String> = references
        .iter()
        .map(|r| format!("`{}` refers to `{}`", r.referrer, r.missing))
        .collect();
    if count > references.len() {
        lines.push(format!("{} more", count - references.len()));
    }
    lines.join(", ")
}

fn print_cycle(cycle: &[StorePath]) -> String {
    let arrow = " -> ";
    let join = |paths: &[StorePath]| -> String {
        let names: Vec<&str> = paths.iter().map(StorePath::base_name).collect();
        names.join(arrow)
    };
    if cycle.len() <= CYCLE_PRINTED_MAX {
        return join(cycle);
    }
    let (head, tail) = cycle.split_at(CYCLE_PRINTED_MAX - 1);
    let (last, left_out) = (&tail[tail.len() - 1..], tail.len() - 1);
    format!(
        "{}{arrow}({left_out} more){arrow}{}",
        join(head),
        join(last)
    )
}
