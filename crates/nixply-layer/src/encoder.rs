//! The encoder of one member, kept by the thread that runs it.
//!
//! What an encoder needs to work is some hundred kilobytes to some megabytes. A new one for each member would be taken from the
//! system and given back each time, page by page; so each thread keeps the last one. What it makes may not depend on what it made
//! before, which `docs/decisions/0003-compression.md` looks into and the tests below compare.

use crate::Compression;
use libdeflater::CompressionLvl;
use std::cell::Cell;
use std::io;

/// The highest zstd level whose encoder is kept. Up to here zstd keeps the last position of a hash, and a position of an earlier
/// frame is as good as none; above, it keeps rows of positions under a salt that each frame changes (zstd 1.5.7,
/// `lib/compress/zstd_compress.c`, `ZSTD_advanceHashSalt`).
const ZSTD_MAX_KEPT_LEVEL: i32 = 4;

enum Encoder {
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

thread_local! {
    static KEPT: Cell<Option<(Compression, Encoder)>> = const { Cell::new(None) };
}

impl Compression {
    /// Compresses one member into the beginning of `output`, which grows where it is too short, and tells its size.
    ///
    /// The bytes follow from `input`, the compression and the encoder's version alone.
    pub(crate) fn encode_member(self, input: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
        // Taken out while it works: after a panic its state may be anything.
        let kept = KEPT.take().filter(|(compression, _)| *compression == self);
        let mut encoder = match kept {
            Some((_, encoder)) => encoder,
            None => match self {
                Self::None => {
                    make_room(output, input.len());
                    output[..input.len()].copy_from_slice(input);
                    return Ok(input.len());
                }
                Self::Gzip { level } => Encoder::Gzip(gzip_encoder(level)?),
                Self::Zstd { level } => Encoder::Zstd(zstd::bulk::Compressor::new(level)?),
            },
        };
        let size_bytes = encoder.encode(input, output)?;
        // zstd takes the parameters of a lower or higher level for a short input, such as the last one of a layer.
        let keep = match self {
            Self::None => false,
            Self::Gzip { .. } => true,
            Self::Zstd { level } => {
                level <= ZSTD_MAX_KEPT_LEVEL && Some(input.len()) == self.member_size_bytes()
            }
        };
        if keep {
            KEPT.set(Some((self, encoder)));
        }
        Ok(size_bytes)
    }
}

impl Encoder {
    fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => {
                make_room(output, encoder.gzip_compress_bound(input.len()));
                let size_bytes = encoder.gzip_compress(input, output);
                size_bytes.map_err(io::Error::other)
            }
            Self::Zstd(encoder) => {
                make_room(output, zstd::zstd_safe::compress_bound(input.len()));
                encoder.compress_to_buffer(input, &mut output[..])
            }
        }
    }
}

fn make_room(output: &mut Vec<u8>, size_bytes: usize) {
    if output.len() < size_bytes {
        output.resize(size_bytes, 0);
    }
}

fn gzip_encoder(level: u32) -> io::Result<libdeflater::Compressor> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("gzip level {level}"));
    let level = i32::try_from(level).map_err(|_| invalid())?;
    let level = CompressionLvl::new(level).map_err(|_| invalid())?;
    Ok(libdeflater::Compressor::new(level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_testkit::sample::store_like_bytes;
    use std::thread;

    fn encode(compression: Compression, input: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        let size_bytes = compression.encode_member(input, &mut output).unwrap();
        output.truncate(size_bytes);
        output
    }

    /// In a thread of its own, which has no encoder yet.
    fn encode_newly(compression: Compression, input: &[u8]) -> Vec<u8> {
        thread::scope(|scope| scope.spawn(|| encode(compression, input)).join().unwrap())
    }

    #[test]
    fn a_kept_encoder_makes_what_a_new_one_makes() {
        let kept = [1, 2, 6, 9]
            .into_iter()
            .map(|level| Compression::Gzip { level })
            .chain((1..=ZSTD_MAX_KEPT_LEVEL + 1).map(|level| Compression::Zstd { level }));
        for compression in kept {
            let full = compression.member_size_bytes().unwrap();
            let text = store_like_bytes(1, full);
            // The same bytes again, others, a part of the first ones, and nothing that repeats.
            let mixed = [&text[full / 3..], &store_like_bytes(2, full)[..full / 3]].concat();
            let inputs = [
                text.clone(),
                text.clone(),
                mixed,
                store_like_bytes(3, 5_000),
                text[1..].to_vec(),
                vec![0; full],
                store_like_bytes(4, full),
                text.clone(),
            ];
            for (n, input) in inputs.iter().enumerate() {
                let kept = encode(compression, input);
                let new = encode_newly(compression, input);
                assert!(
                    kept == new,
                    "{compression}: input {n} of a kept encoder differs"
                );
            }
        }
    }

    #[test]
    fn a_level_out_of_range_is_an_error_not_a_panic() {
        let error = Compression::Gzip { level: 99 }.encode_member(b"x", &mut Vec::new());
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
