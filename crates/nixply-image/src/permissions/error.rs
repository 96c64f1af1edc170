//! What is wrong with a rule of `perms`.

use crate::{LinkError, RootSpecError};

/// Why a rule of `perms` cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PermsError {
    /// The expression is none.
    #[error("perms: `{regex}` is no regular expression")]
    Regex {
        /// The expression.
        regex: String,
        /// Why.
        source: Box<regex::Error>,
    },
    /// The mode is none.
    #[error("perms: rule `{regex}`: mode `{mode}` is not 1 to 4 octal digits")]
    Mode {
        /// The rule's expression.
        regex: String,
        /// The mode.
        mode: String,
    },
    /// The rule changes nothing.
    #[error("perms: rule `{regex}` gives neither a mode nor an owner")]
    Nothing {
        /// The rule's expression.
        regex: String,
    },
    /// A user or a group of the rule is unknown.
    #[error("perms: rule `{regex}`")]
    Owner {
        /// The rule's expression.
        regex: String,
        /// Why.
        source: RootSpecError,
    },
    /// The rule is for a path that the image does not have.
    #[error("perms: rule `{regex}` is for `{path}`, which is not in the image's closure")]
    NotInImage {
        /// The rule's expression.
        regex: String,
        /// The path.
        path: String,
    },
    /// A rule that matches nothing is misspelt.
    #[error("perms: rule `{regex}`{} matches nothing", .path.as_ref().map(|path| format!(" for `{path}`")).unwrap_or_default())]
    MatchesNothing {
        /// The rule's expression.
        regex: String,
        /// The path that it is for, where it is for one.
        path: Option<String>,
    },
    /// A store path cannot be listed, or no plan can hold a name in it.
    #[error(transparent)]
    Tree(#[from] LinkError),
}

impl PermsError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MatchesNothing { .. } => Some(
                "an expression is searched for in the whole path, such as `/nix/store/…-sudo-1.9/bin/sudo`".to_owned(),
            ),
            Self::Owner { source, .. } => source.hint(),
            Self::Tree(error) => error.hint(),
            _ => None,
        }
    }
}
