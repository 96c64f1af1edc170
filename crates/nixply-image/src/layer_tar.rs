//! Finished tars in specifications: layers that somebody else made.

use nixply_layer::{FinishedTar, TarPlacement};
use nixply_oci::{BlobHasher, DiffId};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Tar counts in blocks of this size, and ends at the end of one.
const BLOCK_BYTES: u64 = 512;

/// Where a tar says that it is one, from POSIX on.
const MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Why a tar cannot be a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerTarError {
    /// It cannot be read.
    #[error("the layer tar `{}` cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no uncompressed tar.
    #[error("`{}` cannot be a layer: expected an uncompressed tar, found {found}", .path.display())]
    NotTar {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
}

/// Names each tar absolutely and takes its size and hash, so that a plan fixes what a layer will hold. Relative paths
/// are taken from `base`.
///
/// # Errors
/// [`LayerTarError`] for the first file that cannot be read or is no uncompressed tar.
pub fn resolve_layer_tars(
    tars: &[PathBuf],
    base: &Path,
) -> Result<Vec<FinishedTar>, LayerTarError> {
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    tars.iter()
        .map(|tar| {
            let path = base.join(tar);
            let (diff_id, size_bytes) = hash_tar(&path)?;
            Ok(FinishedTar {
                path,
                diff_id,
                size_bytes,
                placement: TarPlacement::default(),
            })
        })
        .collect()
}

fn hash_tar(path: &Path) -> Result<(DiffId, u64), LayerTarError> {
    let read_error = |source| LayerTarError::Read {
        path: path.to_owned(),
        source,
    };
    let not_tar = |found| {
        Err(LayerTarError::NotTar {
            path: path.to_owned(),
            found,
        })
    };
    // A pipe or a device may never end.
    if !path.metadata().map_err(read_error)?.is_file() {
        return not_tar("no regular file");
    }
    let mut file = File::open(path).map_err(read_error)?;
    let mut head = Vec::new();
    (&mut file)
        .take(BLOCK_BYTES)
        .read_to_end(&mut head)
        .map_err(read_error)?;
    if let Some(found) = what_else(&head) {
        return not_tar(found);
    }
    let mut hasher = BlobHasher::new();
    hasher.update(&head);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(read_error)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let (sha256, size_bytes) = hasher.finish();
    if !size_bytes.is_multiple_of(BLOCK_BYTES) {
        return not_tar("a tar that ends within a block");
    }
    Ok((DiffId::from_bytes(sha256), size_bytes))
}

/// What a file is by its first bytes, where it is no tar.
fn what_else(head: &[u8]) -> Option<&'static str> {
    let (at, magic) = MAGIC;
    let has_magic = head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    // A tar without entries is zeros only.
    let is_empty_tar = head.len() as u64 == BLOCK_BYTES && head.iter().all(|&byte| byte == 0);
    if has_magic || is_empty_tar {
        None
    } else if head.starts_with(b"\x1f\x8b") {
        Some("gzip")
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
        Some("zstd")
    } else {
        Some("another file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(bytes: &[u8]) -> Result<FinishedTar, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t"), bytes).unwrap();
        resolve_layer_tars(&["t".into()], dir.path())
            .map(|mut tars| tars.remove(0))
            .map_err(|error| error.to_string().split(": ").last().unwrap().to_owned())
    }

    #[test]
    fn a_tar_is_fixed_by_its_hash() {
        let mut tar = vec![0; 1024];
        assert_eq!(resolve(&tar).unwrap().diff_id, DiffId::of(&tar));
        tar[257..262].copy_from_slice(b"ustar");
        let resolved = resolve(&tar).unwrap();
        assert_eq!(
            (resolved.diff_id, resolved.size_bytes),
            (DiffId::of(&tar), 1024)
        );
        assert!(resolved.path.is_absolute());
    }

    #[test]
    fn what_is_no_tar_is_named() {
        let found = |bytes: &[u8]| resolve(bytes).unwrap_err();
        let expected = "expected an uncompressed tar, found ";
        assert_eq!(found(b"\x1f\x8b\x08"), format!("{expected}gzip"));
        assert_eq!(found(b"\x28\xb5\x2f\xfd"), format!("{expected}zstd"));
        assert_eq!(found(b""), format!("{expected}another file"));
        assert_eq!(
            found(&[0; 1000]),
            format!("{expected}a tar that ends within a block")
        );
        let missing = resolve_layer_tars(&["x".into()], Path::new("/nowhere")).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the layer tar `/nowhere/x` cannot be read"
        );
    }
}
