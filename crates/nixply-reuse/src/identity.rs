//! Names and hashes for what no store has: the private paths of composed images.

use nixply_store::{NarHash, StorePath, StorePathError};
use sha2::{Digest as _, Sha256};

/// Nix's base-32 digits (Nix, `src/libutil/hash.cc`).
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// A NAR hash that stands for the content of a path whose content nobody has.
pub(crate) fn nar_hash_of(path: &StorePath) -> NarHash {
    NarHash::from_bytes(Sha256::digest(path.base_name()).into())
}

/// A store path whose hash part is decided by a seed, as a rebuild would decide it.
pub(crate) fn store_path(seed: &str, name: &str) -> Result<StorePath, StorePathError> {
    let digest: [u8; 32] = Sha256::digest(format!("{seed}\n{name}")).into();
    let hash_part = digest.map(|byte| char::from(DIGITS[usize::from(byte % 32)]));
    StorePath::new(&format!("{}-{name}", String::from_iter(hash_part)))
}
