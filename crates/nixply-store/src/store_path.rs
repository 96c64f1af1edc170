//! Store directories and store paths.

use crate::base32;
use crate::excerpt::excerpt;
use std::fmt;

/// The number of characters of a store path's hash part: 20 bytes in Nix's base-32.
const HASH_PART_LEN: usize = 32;

/// The longest name behind the hash part, in bytes (Nix, `src/libstore/path.cc`, `StorePath::MaxPathLen`).
const NAME_MAX_BYTES: usize = 211;

/// Which bytes a name may have. A closure of many paths reads millions of them.
const NAME_CHARS: [bool; 256] = {
    let mut chars = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        chars[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'?' | b'=');
        byte += 1;
    }
    chars
};

/// The directory that holds store paths: absolute, without a trailing slash. `/nix/store` nearly always.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreDir(String);

/// Why a text is not a store directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a store directory: expected an absolute path without `.`, `..` or empty parts"
)]
pub struct StoreDirError {
    /// The text that was read, or its beginning.
    pub text: String,
}

impl StoreDir {
    /// Checks the text of a store directory.
    pub fn new(text: &str) -> Result<Self, StoreDirError> {
        let error = || StoreDirError {
            text: excerpt(text),
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
        [&self.0, "/", path.base_name()].concat()
    }

    /// Reads an absolute path that lies directly in this directory.
    pub fn parse(&self, text: &str) -> Result<StorePath, StorePathError> {
        self.base_name_of(text).and_then(StorePath::new)
    }

    /// What stands behind this directory and a slash, not looked at as a name.
    pub(crate) fn base_name_of<'t>(&self, text: &'t str) -> Result<&'t str, StorePathError> {
        text.strip_prefix(&self.0)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| StorePathError::NotInStore {
                text: excerpt(text),
                store_dir: self.0.clone(),
            })
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
        /// The text that was read, or its beginning.
        text: String,
        /// Where it was expected.
        store_dir: String,
    },
    /// The hash part is too short or has other digits than Nix's base-32.
    #[error("`{text}` does not begin with {HASH_PART_LEN} base-32 digits and a `-`")]
    HashPart {
        /// The base name that was read, or its beginning.
        text: String,
    },
    /// The name is empty or too long, or has a character that Nix does not allow.
    #[error(
        "`{text}` has a name outside Nix's rules: expected 1 to {NAME_MAX_BYTES} of letters, digits and `+-._?=`, \
         not starting with `.` or `..` alone or before a `-`"
    )]
    Name {
        /// The base name that was read, or its beginning.
        text: String,
    },
}

impl StorePath {
    /// Checks a base name (Nix, `src/libstore/path.cc`, `checkName`).
    ///
    /// Leading dots are taken: Nix began to take them with 2.4, and only a few later versions refuse them (Nix,
    /// `doc/manual/rl-next/leading-period.md`). The `-`, which Nix does not look at, is in every path that it makes.
    pub fn new(base_name: &str) -> Result<Self, StorePathError> {
        let bytes = base_name.as_bytes();
        let hash_ok = bytes.len() > HASH_PART_LEN
            && bytes[HASH_PART_LEN] == b'-'
            && bytes[..HASH_PART_LEN]
                .iter()
                .all(|&digit| base32::value(digit).is_some());
        if !hash_ok {
            return Err(StorePathError::HashPart {
                text: excerpt(base_name),
            });
        }
        let name = &bytes[HASH_PART_LEN + 1..];
        let char_ok = |&byte: &u8| NAME_CHARS[usize::from(byte)];
        // The names `.` and `..`, alone or before a `-`, are the only ones with a leading dot that Nix refuses.
        let first_part = name.split(|&b| b == b'-').next().unwrap_or(name);
        if name.is_empty()
            || name.len() > NAME_MAX_BYTES
            || !name.iter().all(char_ok)
            || first_part == b"."
            || first_part == b".."
        {
            return Err(StorePathError::Name {
                text: excerpt(base_name),
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

    /// The name split into a package's name and its version, which begins behind the first `-` that no letter follows
    /// (Nix, `builtins.parseDrvName`); the version is empty where there is none. The name of an output, which Nix puts
    /// last, stays with what it stands behind.
    #[must_use]
    pub fn package_and_version(&self) -> (&str, &str) {
        let name = self.name();
        let dash = name.bytes().zip(name.bytes().skip(1)).position(
            // Nix compares with what stands behind the dash, so a dash at the end starts no version.
            |(dash, next)| dash == b'-' && !next.is_ascii_alphabetic(),
        );
        match dash {
            Some(at) => (&name[..at], &name[at + 1..]),
            None => (name, ""),
        }
    }
}

impl AsRef<str> for StorePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "2ghd44zjwcj12y25spf9cv9wbxsn69hi";

    #[test]
    fn a_store_path_falls_into_hash_and_name() {
        let path = StorePath::new(&format!("{HASH}-glibc-2.36-9+deb12u14")).unwrap();
        assert_eq!(path.hash_part(), HASH);
        assert_eq!(path.name(), "glibc-2.36-9+deb12u14");
        assert_eq!(path.to_string(), path.base_name());
        assert_eq!(
            StoreDir::default().display(&path),
            format!("/nix/store/{HASH}-glibc-2.36-9+deb12u14")
        );
    }

    #[test]
    fn a_version_begins_where_nix_says() {
        for (name, expected) in [
            ("glibc-2.36", ("glibc", "2.36")),
            ("gcc-wrapper-8.3.0", ("gcc-wrapper", "8.3.0")),
            ("openssl-1.1.1d-dev", ("openssl", "1.1.1d-dev")),
            ("bash", ("bash", "")),
            ("a-", ("a-", "")),
            ("-1", ("", "1")),
            ("python3.7-six-1.12", ("python3.7-six", "1.12")),
        ] {
            let path = StorePath::new(&format!("{HASH}-{name}")).unwrap();
            assert_eq!(path.package_and_version(), expected, "{name}");
        }
    }

    #[test]
    fn names_that_nix_takes() {
        let longest = "n".repeat(211);
        for name in [
            "a", "-", "=", "+-._?=", ".a", "..a", "...", "...-a", ".a-b", "-.", "A-Z", &longest,
        ] {
            let text = format!("{HASH}-{name}");
            assert_eq!(StorePath::new(&text).unwrap().name(), name);
        }
    }

    #[test]
    fn names_that_nix_refuses() {
        let too_long = "n".repeat(212);
        for name in [
            "", ".", "..", ".-", "..-", ".-a", "..-a", "a/b", "a b", "a\0", "ü", "a\n", "a*", "a~",
            &too_long,
        ] {
            let text = format!("{HASH}-{name}");
            assert_eq!(
                StorePath::new(&text),
                Err(StorePathError::Name {
                    text: excerpt(&text)
                }),
                "{name}"
            );
        }
    }

    #[test]
    fn hash_parts_that_nix_refuses() {
        for text in [
            "",
            HASH,
            "2ghd44zjwcj12y25spf9cv9wbxsn69h-c",
            "2ghd44zjwcj12y25spf9cv9wbxsn69hi_c",
            "Aghd44zjwcj12y25spf9cv9wbxsn69hi-c",
            "eghd44zjwcj12y25spf9cv9wbxsn69hi-c",
            "üghd44zjwcj12y25spf9cv9wbxsn69h-c",
            "glibc",
        ] {
            assert!(
                matches!(StorePath::new(text), Err(StorePathError::HashPart { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn store_directories_are_plain_absolute_paths() {
        for text in ["/nix/store", "/gnu/store", "/a", "/home/a b/nix/store"] {
            assert_eq!(StoreDir::new(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "/",
            "nix/store",
            "/nix/store/",
            "/nix//store",
            "/nix/./store",
            "/nix/../store",
            "/nix\n/store",
        ] {
            assert!(StoreDir::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_paths_directly_in_the_directory_are_taken() {
        let store_dir = StoreDir::default();
        let base_name = format!("{HASH}-c");
        assert_eq!(
            store_dir.parse(&format!("/nix/store/{base_name}")),
            StorePath::new(&base_name)
        );
        for text in [
            base_name.clone(),
            format!("/gnu/store/{base_name}"),
            format!("/nix/storex/{base_name}"),
            format!("/nix/store{base_name}"),
        ] {
            assert!(
                matches!(
                    store_dir.parse(&text),
                    Err(StorePathError::NotInStore { .. })
                ),
                "{text}"
            );
        }
        assert!(
            store_dir
                .parse(&format!("/nix/store/{base_name}/bin"))
                .is_err()
        );
        assert!(store_dir.parse("/nix/store/").is_err());
    }
}
