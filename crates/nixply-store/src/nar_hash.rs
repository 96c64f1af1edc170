//! NAR hashes in every text form that Nix writes.

use crate::store_path::BASE32_DIGITS;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of a store path's NAR serialization. Prints in the SRI form, `sha256-` and base-64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarHash([u8; 32]);

/// Why a text is not a NAR hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a NAR hash: expected a SHA-256 as `sha256-BASE64`, `sha256:BASE32` or `sha256:HEX`"
)]
pub struct NarHashError {
    /// The text that was read.
    pub text: String,
}

/// The number of base-32 digits of 32 bytes.
const BASE32_LEN: usize = 52;

impl NarHash {
    /// Wraps the 32 bytes of a SHA-256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads digits without a prefix: base-32, hexadecimal or base-64, told apart by their length.
    pub(crate) fn from_digits(digits: &str) -> Option<Self> {
        let bytes = match digits.len() {
            BASE32_LEN => return base32(digits.as_bytes()).map(Self),
            64 => HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?,
            _ => BASE64.decode(digits.as_bytes()).ok()?,
        };
        bytes.try_into().ok().map(Self)
    }
}

/// Nix's base-32: 5 bits a digit, the last digit first (Nix, `src/libutil/hash.cc`, `printHash32`).
fn base32(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    for (n, digit) in digits.iter().rev().enumerate() {
        let value = u16::try_from(BASE32_DIGITS.iter().position(|d| d == digit)?).ok()?;
        let bit = n * 5;
        let shifted = value << (bit % 8);
        let [low, high] = shifted.to_le_bytes();
        bytes[bit / 8] |= low;
        match bytes.get_mut(bit / 8 + 1) {
            Some(byte) => *byte |= high,
            None if high != 0 => return None,
            None => {}
        }
    }
    Some(bytes)
}

impl FromStr for NarHash {
    type Err = NarHashError;

    fn from_str(text: &str) -> Result<Self, NarHashError> {
        let digits = text
            .strip_prefix("sha256-")
            .or_else(|| text.strip_prefix("sha256:"));
        digits
            .and_then(Self::from_digits)
            .ok_or_else(|| NarHashError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256-{}", BASE64.encode(&self.0))
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NarHash({self})")
    }
}
