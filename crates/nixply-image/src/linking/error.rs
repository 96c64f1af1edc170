//! Why contents cannot be linked into the root.

use nixply_store::StorePathError;
use std::io;
use std::path::PathBuf;

/// Why the contents of an image cannot be linked into its root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A content is no store path, nor in one.
    #[error("content `{content}` is not in the store")]
    NotAStorePath {
        /// The content.
        content: String,
        /// Why.
        source: StorePathError,
    },
    /// The links would lead nowhere.
    #[error("content `{content}` is not in the image's closure")]
    NotInImage {
        /// The content.
        content: String,
    },
    /// A content is not on this machine.
    #[error("content `{content}` does not exist: nothing at `{}`", .physical.display())]
    Missing {
        /// The content.
        content: String,
        /// Where it was looked for.
        physical: PathBuf,
    },
    /// A content has no tree to link.
    #[error("content `{content}` is a {found}: expected a directory")]
    NotADirectory {
        /// The content.
        content: String,
        /// What it is.
        found: &'static str,
    },
    /// A file, directory or link cannot be read.
    #[error("`{}` cannot be read", .physical.display())]
    Read {
        /// Where it lies on this machine.
        physical: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name or a link's target is not UTF-8, so no plan can hold it.
    #[error("`{}` cannot be linked: its name or its target is not UTF-8", .physical.display())]
    NotUtf8 {
        /// Where it lies on this machine.
        physical: PathBuf,
    },
    /// A tree holds something else than files, directories and links.
    #[error("`{}` cannot be linked: expected a file, a directory or a symbolic link", .physical.display())]
    FileType {
        /// Where it lies on this machine.
        physical: PathBuf,
    },
    /// Two contents have different things at one place.
    #[error("two contents have `/{path}`: `{first}` ({first_is}) and `{second}` ({second_is})")]
    Collision {
        /// The place in the image.
        path: String,
        /// The one, in the store.
        first: String,
        /// What it is: `file`, `directory`, `link to …`.
        first_is: String,
        /// The other, in the store.
        second: String,
        /// What it is.
        second_is: String,
    },
}

impl LinkError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotInImage { content } => Some(format!(
                "the closure must hold it: `nix path-info --json -r {content}` tells what belongs to it"
            )),
            Self::Missing { content, .. } => {
                Some(format!("build or fetch it: `nix-store -r {content}`"))
            }
            Self::NotADirectory { content, .. } => Some(format!(
                "say where it shall stand: `\"root\": {{\"links\": {{\"/etc/…\": \"{content}\"}}}}`"
            )),
            Self::Collision { .. } => Some(
                "leave one of them out, or let the first win with `\"on_collision\": \"first\"`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
