//! NAR hashes in every text form that Nix writes.

use crate::base32;
use crate::excerpt::excerpt;
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
    /// The text that was read, or its beginning.
    pub text: String,
}

/// The number of base-32 digits of a SHA-256.
const BASE32_LEN: usize = base32::digits_len(32);

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
        let digits = digits.as_bytes();
        let encoding = match digits.len() {
            BASE32_LEN => return base32::decode(digits).map(Self),
            64 => HEXLOWER_PERMISSIVE,
            _ => BASE64,
        };
        // Base-64 counts three bytes for every four digits, padding or not.
        let mut bytes = [0; 33];
        let room = bytes.get_mut(..encoding.decode_len(digits.len()).ok()?)?;
        let len = encoding.decode_mut(digits, room).ok()?;
        bytes[..len].try_into().ok().map(Self)
    }
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
                text: excerpt(text),
            })
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 44];
        f.write_str("sha256-")?;
        f.write_str(BASE64.encode_mut_str(&self.0, &mut digits))
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NarHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One hash in the forms of Nix 2.8 (SRI), 2.3 (base-32) and `nix-store --dump-db` (hexadecimal).
    const SRI: &str = "sha256-JECzUaM4XGrA8slVtUCqdyVIq56PCccH1wVWia1M8gg=";
    const BASE32: &str = "027j9jnqjmh5sw3wf2cgksmlh9bpm90bamf9yb06lp1qld8v6h14";
    const HEX: &str = "2440b351a3385c6ac0f2c955b540aa772548ab9e8f09c707d7055689ad4cf208";

    #[test]
    fn all_forms_are_the_same_hash() {
        let hash: NarHash = SRI.parse().unwrap();
        assert_eq!(hash.to_string(), SRI);
        assert_eq!(hash.as_bytes()[..4], [0x24, 0x40, 0xb3, 0x51]);
        for text in [
            format!("sha256:{BASE32}"),
            format!("sha256:{HEX}"),
            format!("sha256:{}", HEX.to_uppercase()),
        ] {
            assert_eq!(text.parse::<NarHash>().unwrap(), hash, "{text}");
        }
        for digits in [BASE32, HEX, &SRI["sha256-".len()..]] {
            assert_eq!(NarHash::from_digits(digits), Some(hash), "{digits}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "sha256:",
            "sha256-",
            HEX,
            BASE32,
            "sha512:027j9jnqjmh5sw3wf2cgksmlh9bpm90bamf9yb06lp1qld8v6h14",
            "sha256:e27j9jnqjmh5sw3wf2cgksmlh9bpm90bamf9yb06lp1qld8v6h14",
            "sha256:g440b351a3385c6ac0f2c955b540aa772548ab9e8f09c707d7055689ad4cf208",
            "sha256-JECzUaM4XGrA8slVtUCqdyVIq56PCccH1wVWia1M8gg",
            "sha256-JECzUaM4XGrA8slVtUCqdyVIq56PCccH1wVWia1M8gi=",
            "sha256-AAAA",
            "sha256-ü",
        ] {
            assert_eq!(
                text.parse::<NarHash>(),
                Err(NarHashError {
                    text: text.to_owned()
                })
            );
        }
    }
}
