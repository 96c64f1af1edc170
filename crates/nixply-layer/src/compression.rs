//! How a layer is compressed: the choice, its text form, and the encoder of one member.

use nixply_oci::MediaType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a layer is compressed. Reads from `none`, `gzip`, `gzip:N`, `zstd` and `zstd:N`; prints with the level.
///
/// Gzip and zstd layers are a row of independent members (gzip, RFC 1952 section 2.2) or frames (zstd, RFC 8878
/// section 3.1), one for each [`member_size_bytes`](Self::member_size_bytes) of the tar. A member is a pure function
/// of its part of the tar, the level and the encoder's version, so neither the number of threads nor the machine shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Compression {
    /// The tar as it is.
    None,
    /// Gzip, read by every consumer.
    Gzip {
        /// Effort, 1 to 9.
        level: u32,
    },
    /// Zstandard, smaller and faster; Docker before 23 cannot read it.
    Zstd {
        /// Effort, 1 to 19.
        level: i32,
    },
}

/// Why a text is not a compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a compression: expected `none`, `gzip[:N]` with N from 1 to {GZIP_MAX_LEVEL}, or `zstd[:N]` \
     with N from 1 to {ZSTD_MAX_LEVEL}"
)]
pub struct CompressionError {
    /// The text that was read.
    pub text: String,
}

// The defaults and sizes are chosen by the tables of `docs/decisions/0003-compression.md`.

/// The gzip level where none is named.
const GZIP_DEFAULT_LEVEL: u32 = 2;
/// The highest gzip level.
const GZIP_MAX_LEVEL: u32 = 9;
/// Uncompressed bytes of a gzip member.
const GZIP_MEMBER_SIZE_BYTES: usize = 1 << 20;
/// The zstd level where none is named.
const ZSTD_DEFAULT_LEVEL: i32 = 3;
/// The highest zstd level: the ones above ask for windows that readers may refuse.
const ZSTD_MAX_LEVEL: i32 = 19;
/// Uncompressed bytes of a zstd frame.
const ZSTD_FRAME_SIZE_BYTES: usize = 2 << 20;

impl Compression {
    /// The media type of a layer that is compressed so.
    #[must_use]
    pub const fn media_type(self) -> MediaType {
        match self {
            Compression::None => MediaType::OciLayerTar,
            Compression::Gzip { .. } => MediaType::OciLayerTarGzip,
            Compression::Zstd { .. } => MediaType::OciLayerTarZstd,
        }
    }

    /// The uncompressed bytes of every member but the last; `None` where the tar is not split.
    #[must_use]
    pub const fn member_size_bytes(self) -> Option<usize> {
        match self {
            Compression::None => None,
            Compression::Gzip { .. } => Some(GZIP_MEMBER_SIZE_BYTES),
            Compression::Zstd { .. } => Some(ZSTD_FRAME_SIZE_BYTES),
        }
    }

    /// Everything that decides the compressed bytes of a given tar, in one word for the layer key: the encoder and its
    /// version, the level, the member size. Two compressions with the same id make the same bytes: a new version of an
    /// encoder is named here even where it seems to make the same ones (`docs/decisions/0003-compression.md`).
    #[must_use]
    pub fn encoder_id(self) -> String {
        match self {
            Compression::None => "none".to_owned(),
            Compression::Gzip { level } => {
                format!("gzip/libdeflate-1.26/level={level}/member={GZIP_MEMBER_SIZE_BYTES}")
            }
            Compression::Zstd { level } => {
                format!("zstd/zstd-1.5.7/level={level}/frame={ZSTD_FRAME_SIZE_BYTES}")
            }
        }
    }
}

impl Default for Compression {
    /// Gzip at its default level: the one form that every consumer reads.
    fn default() -> Self {
        Compression::Gzip {
            level: GZIP_DEFAULT_LEVEL,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            Compression::Gzip { level } => write!(f, "gzip:{level}"),
            Compression::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        parse(text).ok_or_else(|| CompressionError {
            text: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Compression> {
    let (name, level) = match text.split_once(':') {
        // `parse` alone would also take a sign, and zeros in front: a level has one text.
        Some((name, digits)) if digits.starts_with(|first| matches!(first, '1'..='9')) => {
            (name, Some(digits.parse::<u8>().ok()?))
        }
        Some(_) => return None,
        None => (text, None),
    };
    match (name, level) {
        ("none", None) => Some(Compression::None),
        ("gzip", level) => {
            let level = level.map_or(GZIP_DEFAULT_LEVEL, u32::from);
            (1..=GZIP_MAX_LEVEL)
                .contains(&level)
                .then_some(Compression::Gzip { level })
        }
        ("zstd", level) => {
            let level = level.map_or(ZSTD_DEFAULT_LEVEL, i32::from);
            (1..=ZSTD_MAX_LEVEL)
                .contains(&level)
                .then_some(Compression::Zstd { level })
        }
        _ => None,
    }
}

impl TryFrom<String> for Compression {
    type Error = CompressionError;

    fn try_from(text: String) -> Result<Self, CompressionError> {
        text.parse()
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> String {
        compression.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_names_the_level() {
        for (text, printed) in [
            ("none", "none"),
            ("gzip", "gzip:2"),
            ("gzip:9", "gzip:9"),
            ("zstd", "zstd:3"),
            ("zstd:19", "zstd:19"),
        ] {
            let compression: Compression = text.parse().unwrap();
            assert_eq!(compression.to_string(), printed);
            assert_eq!(printed.parse(), Ok(compression));
            let json = serde_json::to_string(&compression).unwrap();
            assert_eq!(json, format!("\"{printed}\""));
            assert_eq!(
                serde_json::from_str::<Compression>(&json).unwrap(),
                compression
            );
        }
        assert_eq!("gzip".parse(), Ok(Compression::default()));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", "none:1", "gzip:", "gzip:0", "gzip:10", "gzip:+1", "gzip:1:1", "gzip:01", "zstd:0",
            "zstd:-1", "zstd:20", "zstd:256", "GZIP", "xz",
        ] {
            assert_eq!(
                text.parse::<Compression>(),
                Err(CompressionError {
                    text: text.to_owned()
                })
            );
        }
    }
}
