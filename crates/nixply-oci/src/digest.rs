//! SHA-256 digests, one type for each thing that has one.
//!
//! The compiler keeps apart what texts would mix up: a [`DiffId`] (uncompressed layer), a [`LayerDigest`] (layer as
//! sent), a [`LayerKey`] (what a layer is made *from*) and a [`Digest`] (any blob as sent). All print and parse as
//! `sha256:` and 64 lower-case hexadecimal digits (OCI image-spec v1.1.1, `descriptor.md`, "Digests").

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct DigestError {
    /// The text that was read.
    pub text: String,
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps the 32 bytes of a SHA-256 hash.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of the hash.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 hexadecimal digits, without the `sha256:` prefix: the name of the blob in a layout.
            #[must_use]
            pub fn hex(&self) -> String {
                HEXLOWER.encode(&self.0)
            }

            /// Hashes bytes that are in memory.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Self {
                Self(Sha256::digest(bytes).into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "sha256:{}", self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                parse(text).map(Self).ok_or_else(|| DigestError { text: text.to_owned() })
            }
        }

        impl TryFrom<String> for $name {
            type Error = DigestError;

            fn try_from(text: String) -> Result<Self, DigestError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(digest: $name) -> String {
                digest.to_string()
            }
        }
    };
}

digest_type! {
    /// The digest of a blob as it is stored and sent: a config, a manifest, an index, or a layer of unknown kind.
    Digest
}
digest_type! {
    /// The digest of an uncompressed layer tar (OCI image-spec v1.1.1, `config.md`, "Layer `DiffID`").
    DiffId
}
digest_type! {
    /// The digest of a layer's bytes on the wire, compressed if the layer is.
    LayerDigest
}
digest_type! {
    /// What a layer is made from: a hash over the format, the compression and the contents (`docs/format.md`).
    LayerKey
}

impl From<LayerDigest> for Digest {
    fn from(digest: LayerDigest) -> Digest {
        Digest(digest.0)
    }
}

impl From<Digest> for LayerDigest {
    fn from(digest: Digest) -> LayerDigest {
        LayerDigest(digest.0)
    }
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let hex = text.strip_prefix("sha256:")?;
    let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
    bytes.try_into().ok()
}

/// Hashes and counts bytes as they pass.
#[derive(Clone, Default)]
pub struct BlobHasher {
    sha256: Sha256,
    size_bytes: u64,
}

impl BlobHasher {
    /// Starts with no bytes seen.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    /// The hash and the number of bytes seen.
    #[must_use]
    pub fn finish(self) -> ([u8; 32], u64) {
        (self.sha256.finalize().into(), self.size_bytes)
    }
}

impl fmt::Debug for BlobHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobHasher")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// Hashes and counts what passes through to a writer.
#[derive(Debug)]
pub struct HashingWriter<W> {
    out: W,
    hasher: BlobHasher,
}

impl<W> HashingWriter<W> {
    /// Starts before the first byte.
    pub fn new(out: W) -> Self {
        Self {
            out,
            hasher: BlobHasher::new(),
        }
    }

    /// The writer, the SHA-256 and the number of bytes.
    pub fn finish(self) -> (W, [u8; 32], u64) {
        let (sha256, size_bytes) = self.hasher.finish();
        (self.out, sha256, size_bytes)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of no bytes, from FIPS 180-4's test data.
    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_form_round_trips() {
        assert_eq!(DiffId::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<LayerDigest>().unwrap(), LayerDigest::of(b""));
        assert_eq!(
            serde_json::to_string(&Digest::of(b"")).unwrap(),
            format!("\"{EMPTY}\"")
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "sha256:",
            "sha512:00",
            &EMPTY.to_uppercase(),
            &EMPTY[..70],
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn streaming_equals_hashing_at_once() {
        let mut hasher = BlobHasher::new();
        hasher.update(b"ab");
        hasher.update(b"");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), (*Digest::of(b"abc").as_bytes(), 3));
    }
}
