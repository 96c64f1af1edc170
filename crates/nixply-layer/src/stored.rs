//! Reading layers that exist already, however they are compressed.

use crate::compare::CompareError;
use nixply_oci::{BlobHasher, DiffId, MediaType};
use std::io::{BufReader, Read};

/// How much of a stored layer is read at once. Chosen, not measured: far above the cost of a call.
const READ_BYTES: usize = 128 << 10;

/// The uncompressed bytes of a stored layer: gzip of any number of members, zstd of any number of frames, or none.
pub(crate) fn uncompressed<'a>(
    stored: &'a mut dyn Read,
    media_type: &MediaType,
) -> Result<Box<dyn Read + 'a>, CompareError> {
    let buffered = BufReader::with_capacity(READ_BYTES, stored);
    match media_type {
        MediaType::OciLayerTar | MediaType::DockerLayerTar => Ok(Box::new(buffered)),
        MediaType::OciLayerTarGzip | MediaType::DockerLayerTarGzip => {
            Ok(Box::new(flate2::bufread::MultiGzDecoder::new(buffered)))
        }
        MediaType::OciLayerTarZstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(buffered);
            Ok(Box::new(decoder.map_err(CompareError::Stored)?))
        }
        other => Err(CompareError::MediaType {
            media_type: other.clone(),
        }),
    }
}

/// Reads a stored layer to its end and hashes what it decompresses to.
pub fn read_diff_id(stored: &mut dyn Read, media_type: &MediaType) -> Result<DiffId, CompareError> {
    let mut tar = uncompressed(stored, media_type)?;
    let mut hasher = BlobHasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match tar.read(&mut buffer).map_err(CompareError::Stored)? {
            0 => return Ok(DiffId::from_bytes(hasher.finish().0)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn every_compression_has_the_same_diff_id() {
        let tar = vec![7; 300_000];
        let mut gzip = Vec::new();
        // Two members: what a decoder must read as one.
        for half in tar.chunks(200_000) {
            let mut member = flate2::write::GzEncoder::new(&mut gzip, flate2::Compression::fast());
            member.write_all(half).unwrap();
            member.finish().unwrap();
        }
        let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
        for (bytes, media_type) in [
            (tar.clone(), MediaType::OciLayerTar),
            (gzip, MediaType::OciLayerTarGzip),
            (zstd, MediaType::OciLayerTarZstd),
        ] {
            let found = read_diff_id(&mut bytes.as_slice(), &media_type).unwrap();
            assert_eq!(found, DiffId::of(&tar), "{media_type}");
        }
    }

    #[test]
    fn an_unknown_form_is_named() {
        let error = read_diff_id(&mut [].as_slice(), &"x/y".into()).unwrap_err();
        assert_eq!(error.to_string(), "layers of type `x/y` cannot be compared");
    }
}
