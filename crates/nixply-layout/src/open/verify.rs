//! Blobs that are checked while they are read.

use crate::LayoutError;
use nixply_oci::{BlobHasher, Digest};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Gives the bytes of a blob, and an error instead of the last of them where they do not have the blob's digest.
#[derive(Debug)]
pub(super) struct VerifyingReader<R> {
    blob: R,
    path: PathBuf,
    expected: Digest,
    left_bytes: u64,
    size_bytes: u64,
    hasher: BlobHasher,
    is_checked: bool,
}

impl<R: Read> VerifyingReader<R> {
    /// `path` is that of the layout or archive, for errors.
    pub(super) fn new(blob: R, path: &Path, expected: Digest, size_bytes: u64) -> Self {
        Self {
            blob,
            path: path.to_owned(),
            expected,
            left_bytes: size_bytes,
            size_bytes,
            hasher: BlobHasher::new(),
            is_checked: false,
        }
    }

    fn check(&mut self) -> Result<(), LayoutError> {
        let found = Digest::from_bytes(self.hasher.clone().finish().0);
        if found != self.expected {
            return Err(LayoutError::BlobDigest {
                path: self.path.clone(),
                expected: self.expected,
                found,
            });
        }
        self.is_checked = true;
        Ok(())
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.is_checked {
            return Ok(0);
        }
        let want = usize::try_from(self.left_bytes).map_or(buffer.len(), |n| n.min(buffer.len()));
        let n = self.blob.read(&mut buffer[..want])?;
        if n == 0 && want > 0 {
            return Err(invalid(LayoutError::BlobSize {
                path: self.path.clone(),
                blob: self.expected,
                expected_bytes: self.size_bytes,
                found_bytes: self.size_bytes - self.left_bytes,
            }));
        }
        self.hasher.update(&buffer[..n]);
        self.left_bytes -= n as u64;
        if self.left_bytes == 0 {
            self.check().map_err(invalid)?;
        }
        Ok(n)
    }
}

fn invalid(error: LayoutError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8], of: &[u8], size_bytes: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        VerifyingReader::new(bytes, Path::new("x.tar"), Digest::of(of), size_bytes)
            .read_to_end(&mut out)
            .map(|_| out)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn good_bytes_pass_and_end() {
        assert_eq!(read_all(b"abc", b"abc", 3), Ok(b"abc".to_vec()));
        assert_eq!(read_all(b"", b"", 0), Ok(Vec::new()));
        // What follows the blob is not read.
        assert_eq!(read_all(b"abcdef", b"abc", 3), Ok(b"abc".to_vec()));
    }

    #[test]
    fn wrong_bytes_are_named() {
        let abc = Digest::of(b"abc");
        let abd = Digest::of(b"abd");
        assert_eq!(
            read_all(b"abd", b"abc", 3),
            Err(format!(
                "blob of `x.tar` is damaged: expected {abc}, found {abd}"
            ))
        );
        assert_eq!(
            read_all(b"ab", b"abc", 3),
            Err(format!(
                "blob {abc} of `x.tar` has the wrong size: expected 3 bytes, found 2 bytes"
            ))
        );
        assert!(read_all(b"", b"abc", 0).is_err());
    }

    #[test]
    fn the_last_byte_of_a_damaged_blob_never_comes_out() {
        let mut reader = VerifyingReader::new(&b"abd"[..], Path::new("x"), Digest::of(b"abc"), 3);
        let mut buffer = [0; 3];
        assert!(reader.read_exact(&mut buffer).is_err());
        assert!(reader.read(&mut buffer).is_err(), "the error stays");
    }
}
