//! The two compressions that layers and whole archives come in.

use flate2::write::MultiGzDecoder;
use nixply_oci::MediaType;
use std::io::{self, Read, Write};

/// The first bytes of a gzip member (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The first bytes of a zstd frame (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Told by the first bytes; what begins with neither magic number counts as uncompressed.
    pub(crate) fn sniff(start: &[u8]) -> Self {
        if start.starts_with(&GZIP_MAGIC) {
            Self::Gzip
        } else if start.starts_with(&ZSTD_MAGIC) {
            Self::Zstd
        } else {
            Self::None
        }
    }

    /// Told by a layer's media type, where that is one of ours.
    fn of(media_type: &MediaType) -> Option<Self> {
        match media_type {
            MediaType::OciLayerTar | MediaType::DockerLayerTar => Some(Self::None),
            MediaType::OciLayerTarGzip | MediaType::DockerLayerTarGzip => Some(Self::Gzip),
            MediaType::OciLayerTarZstd => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The media type of an OCI layer that is compressed so.
    pub(crate) fn layer_media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::OciLayerTar,
            Self::Gzip => MediaType::OciLayerTarGzip,
            Self::Zstd => MediaType::OciLayerTarZstd,
        }
    }

    /// Uncompresses what is read, through every member or frame.
    pub(crate) fn reader<'r>(self, compressed: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::None => Box::new(compressed),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(compressed)),
            Self::Zstd => Box::new(zstd::Decoder::new(compressed)?),
        })
    }
}

/// True for a layer that is not compressed.
pub(crate) fn is_plain(media_type: &MediaType) -> bool {
    Compression::of(media_type) == Some(Compression::None)
}

/// Uncompresses what is written, through every member or frame; a flush at the end brings out the last bytes.
pub(crate) enum Uncompress<'a> {
    None(&'a mut dyn Write),
    Gzip(MultiGzDecoder<&'a mut dyn Write>),
    Zstd(zstd::stream::write::Decoder<'static, &'a mut dyn Write>),
}

impl<'a> Uncompress<'a> {
    /// None where the media type does not tell a compression that is known here, or no decoder can be had.
    pub(crate) fn new(media_type: &MediaType, out: &'a mut dyn Write) -> Option<Self> {
        Some(match Compression::of(media_type)? {
            Compression::None => Self::None(out),
            Compression::Gzip => Self::Gzip(MultiGzDecoder::new(out)),
            Compression::Zstd => Self::Zstd(zstd::stream::write::Decoder::new(out).ok()?),
        })
    }
}

impl Write for Uncompress<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::Zstd(out) => out.flush(),
        }
    }
}
