//! What is changed in a finished tar, as a plan says it.

use crate::DirectoryOwner;
use crate::root_file::{mode_text, parse_mode};
use nixply_layer::{PlacedDirectory, TarPlacement};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is changed in a finished tar, so that it damages nothing below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarPlacement {
    /// Directories whose entries stand elsewhere: below the tar there is a symbolic link.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<String, String>,
    /// Directories that keep the mode and owner they have below the tar.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, DirectoryOwner>,
    /// Symbolic links that say something else where they come to stand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, String>,
}

impl From<PlacedDirectory> for DirectoryOwner {
    fn from(PlacedDirectory { mode, uid, gid }: PlacedDirectory) -> Self {
        Self {
            mode: mode_text(mode),
            uid,
            gid,
        }
    }
}

impl PlannedTarPlacement {
    pub(crate) fn of(placement: TarPlacement) -> Self {
        let directories = placement.directories.into_iter();
        Self {
            moved: placement.moved,
            directories: directories
                .map(|(path, directory)| (path, directory.into()))
                .collect(),
            targets: placement.targets,
        }
    }

    /// As the layer takes it; the error is a directory whose mode is none.
    pub(crate) fn to_layer(&self) -> Result<TarPlacement, String> {
        let directories = self.directories.iter().map(|(path, owner)| {
            let mode = parse_mode(&owner.mode).ok_or_else(|| path.clone())?;
            let (uid, gid) = (owner.uid, owner.gid);
            Ok((path.clone(), PlacedDirectory { mode, uid, gid }))
        });
        Ok(TarPlacement {
            moved: self.moved.clone(),
            directories: directories.collect::<Result<_, String>>()?,
            targets: self.targets.clone(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.directories.is_empty() && self.targets.is_empty()
    }
}
