//! What the layers of base images in registries hold, kept from one run to the next: a file for each manifest.

use crate::environment;
use crate::error::{CliError, ExitStatus};
use nixply_image::BaseTree;
use nixply_oci::Digest;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Raised whenever reading the same layers tells more than before, or tells it otherwise. What is absent from a tree does not say
/// that by itself: it may not be in the layers.
const VERSION: u32 = 1;

/// A file: a tree, a [`BaseTree`] where it was read and a reference to one where it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<T> {
    version: u32,
    tree: T,
}

/// What was kept of the image with this manifest. What is damaged counts for nothing, and what another version found.
pub(super) fn kept_tree(manifest: Digest) -> Option<BaseTree> {
    let bytes = std::fs::read(file_of(manifest)?).ok()?;
    let kept: Kept<BaseTree> = serde_json::from_slice(&bytes).ok()?;
    (kept.version == VERSION).then_some(kept.tree)
}

/// Keeps what was found for the next time. Where that fails, the next time takes longer.
pub(super) fn keep_tree(manifest: Digest, tree: &BaseTree) {
    let kept = Kept {
        version: VERSION,
        tree,
    };
    let (Some(path), Ok(json)) = (file_of(manifest), serde_json::to_vec(&kept)) else {
        return;
    };
    if let Some(dir) = path.parent() {
        let _ = std::fs::create_dir_all(dir);
    }
    let _ = nixply_layout::write_file_atomically(&path, |out| Ok(out.write_all(&json)?));
}

/// Forgets what base images hold.
pub(crate) fn forget_trees() -> Result<(), CliError> {
    let Some(dir) = trees_dir() else {
        return Ok(());
    };
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let message = format!("cannot remove `{}`", dir.display());
            Err(CliError::context(ExitStatus::Failed, message, &error))
        }
        _ => Ok(()),
    }
}

fn file_of(manifest: Digest) -> Option<PathBuf> {
    Some(trees_dir()?.join(format!("{}.json", manifest.hex())))
}

fn trees_dir() -> Option<PathBuf> {
    environment::cache_dir().map(|dir| dir.join("bases"))
}
