//! Store directories and store paths.

use std::fmt;

/// The number of characters of a store path's hash part: 20 bytes in Nix's base-32.
pub(crate) const HASH_PART_LEN: usize = 32;

/// The longest name behind the hash part, in bytes (Nix, `src/libstore/path.cc`, `StorePath::MaxPathLen`).
const NAME_MAX_BYTES: usize = 211;

/// Nix's base-32 digits: no `e`, `o`, `t`, `u` (Nix, `src/libutil/hash.cc`).
pub(crate) const BASE32_DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// The directory that holds store paths: absolute, without a trailing slash. `/nix/store` nearly always.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(String);

/// Why a text is not a store directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a store directory: expected an absolute path without `.`, `..` or empty parts"
)]
pub struct StoreDirError {
    /// The text that was read.
    pub text: String,
}

impl StoreDir {
    /// Checks the text of a store directory.
    pub fn new(text: &str) -> Result<Self, StoreDirError> {
        let error = || StoreDirError {
            text: text.to_owned(),
        };
        let rest = text.strip_prefix('/').ok_or_else(error)?;
        let part_ok = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\n'])
        };
        if rest.split('/').all(part_ok) {
            Ok(Self(text.to_owned()))
        } else {
            Err(error())
        }
    }

    /// The directory, absolute, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The absolute path of a store path.
    #[must_use]
    pub fn display(&self, path: &StorePath) -> String {
        format!("{}/{}", self.0, path.base_name())
    }

    /// Reads an absolute path that lies directly in this directory.
    pub fn parse(&self, text: &str) -> Result<StorePath, StorePathError> {
        let base_name = text
            .strip_prefix(&self.0)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| StorePathError::NotInStore {
                text: text.to_owned(),
                store_dir: self.0.clone(),
            })?;
        StorePath::new(base_name)
    }
}

impl Default for StoreDir {
    fn default() -> Self {
        Self("/nix/store".to_owned())
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A store path without its directory: 32 base-32 digits, a `-`, and a name. Ordered by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Box<str>);

/// Why a text is not a store path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorePathError {
    /// The path lies elsewhere.
    #[error("`{text}` does not lie directly in `{store_dir}`")]
    NotInStore {
        /// The text that was read.
        text: String,
        /// Where it was expected.
        store_dir: String,
    },
    /// The hash part is too short or has other digits than Nix's base-32.
    #[error("`{text}` does not begin with {HASH_PART_LEN} base-32 digits and a `-`")]
    HashPart {
        /// The base name that was read.
        text: String,
    },
    /// The name is empty or too long, or has a character that Nix does not allow.
    #[error(
        "`{text}` has a name outside Nix's rules: expected 1 to {NAME_MAX_BYTES} of letters, digits and `+-._?=`, \
         not starting with `.` or `..` alone or before a `-`"
    )]
    Name {
        /// The base name that was read.
        text: String,
    },
}

impl StorePath {
    /// Checks a base name (Nix, `src/libstore/path.cc`, `checkName`).
    pub fn new(base_name: &str) -> Result<Self, StorePathError> {
        let bytes = base_name.as_bytes();
        let hash_ok = bytes.len() > HASH_PART_LEN
            && bytes[HASH_PART_LEN] == b'-'
            && bytes[..HASH_PART_LEN]
                .iter()
                .all(|digit| BASE32_DIGITS.contains(digit));
        if !hash_ok {
            return Err(StorePathError::HashPart {
                text: base_name.to_owned(),
            });
        }
        let name = &bytes[HASH_PART_LEN + 1..];
        let char_ok = |b: &u8| b.is_ascii_alphanumeric() || b"+-._?=".contains(b);
        // `.`, `..` and either of them before a `-` are refused by newer Nix; other leading dots are allowed.
        let first_part = name.split(|&b| b == b'-').next().unwrap_or(name);
        if name.is_empty()
            || name.len() > NAME_MAX_BYTES
            || !name.iter().all(char_ok)
            || first_part == b"."
            || first_part == b".."
        {
            return Err(StorePathError::Name {
                text: base_name.to_owned(),
            });
        }
        Ok(Self(base_name.into()))
    }

    /// Hash part, `-` and name.
    #[must_use]
    pub fn base_name(&self) -> &str {
        &self.0
    }

    /// The 32 base-32 digits.
    #[must_use]
    pub fn hash_part(&self) -> &str {
        &self.0[..HASH_PART_LEN]
    }

    /// What stands behind the hash part and its `-`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0[HASH_PART_LEN + 1..]
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
