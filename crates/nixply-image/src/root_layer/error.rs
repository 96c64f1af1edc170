//! Why the root of an image cannot be put together.

use crate::{LinkError, PermsError, RootFileError, RootSpecError};

/// Why the root of an image cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The field `root` makes no sense. What is wrong is said here, so it is no source.
    #[error("root: {0}")]
    Spec(RootSpecError),
    /// A root file cannot be part of an image.
    #[error(transparent)]
    RootFile(#[from] RootFileError),
    /// The contents cannot be linked.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A rule of `perms` cannot be followed.
    #[error(transparent)]
    Perms(#[from] PermsError),
    /// A link leads to a store path that the image does not have.
    #[error("root: `/{path}` shall lead to `{target}`, which is not in the image's closure")]
    TargetNotInImage {
        /// The link.
        path: String,
        /// Where it shall lead.
        target: String,
    },
    /// A link leads to something that its store path does not have.
    #[error("root: `/{path}` shall lead to `{target}`, which does not exist")]
    NoTarget {
        /// The link.
        path: String,
        /// Where it shall lead.
        target: String,
    },
    /// A file would have to stand below something that a content has as a link.
    #[error(
        "root file `{path}` lies below `/{above}`, which is no directory in the image: it is a link, from `{source_path}`"
    )]
    BelowLink {
        /// The root file.
        path: String,
        /// The part of its path that is a link.
        above: String,
        /// Where the link comes from.
        source_path: String,
    },
    /// A file stands where a content has a directory with something in it.
    #[error("root file `{path}` would hide what `{source_path}` has below it")]
    Hides {
        /// The root file.
        path: String,
        /// The directory in the content.
        source_path: String,
    },
}

impl From<RootSpecError> for RootError {
    fn from(error: RootSpecError) -> Self {
        Self::Spec(error)
    }
}

impl RootError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Spec(error) => error.hint(),
            Self::Link(error) => error.hint(),
            Self::Perms(error) => error.hint(),
            Self::TargetNotInImage { target, .. } => Some(format!(
                "the closure must hold it: `nix path-info --json -r {target}` tells what belongs to it"
            )),
            Self::BelowLink { above, .. } => Some(format!(
                "name the place that `/{above}` leads to, or leave out the content that has it"
            )),
            _ => None,
        }
    }
}
