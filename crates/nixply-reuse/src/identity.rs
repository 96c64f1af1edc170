//! Names and hashes for what no store has: the own paths of composed images, and NAR hashes that nobody wrote down.

use nixply_store::{NarHash, PathInfo, StorePath, StorePathError};
use sha2::{Digest as _, Sha256};

/// Nix's base-32 digits (Nix, `src/libutil/hash.cc`).
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// A store path whose hash part a seed decides, as a rebuild would.
pub(crate) fn store_path(seed: &str, name: &str) -> Result<StorePath, StorePathError> {
    let digest: [u8; 32] = Sha256::digest(format!("{seed}\n{name}")).into();
    let hash_part = digest.map(|byte| char::from(DIGITS[usize::from(byte % 32)]));
    StorePath::new(&format!("{}-{name}", String::from_iter(hash_part)))
}

/// A record with a NAR hash that its path decides. The laboratory tells paths apart by name alone, and no packer looks
/// at NAR hashes.
pub(crate) fn path_info(path: StorePath, nar_size_bytes: u64) -> PathInfo {
    PathInfo {
        nar_hash: NarHash::from_bytes(Sha256::digest(path.base_name()).into()),
        path,
        nar_size_bytes,
        ca: None,
        deriver: None,
        signatures: Vec::new(),
        registration_time_secs: None,
    }
}
