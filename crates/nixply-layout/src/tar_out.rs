//! A tar whose bytes depend on the names, sizes and contents of its members alone.

use std::io::{self, Write};

/// In bytes. POSIX.1-2017 `pax`, "ustar Interchange Format".
const BLOCK_BYTES: usize = 512;

/// Seconds since 1970, on every member: what nixply gives every file of a layer, and dockerTools every member.
const MTIME_SECS: u64 = 1;

/// Writes members with fixed headers.
pub(crate) struct TarWriter<'a> {
    out: &'a mut dyn Write,
}

impl<'a> TarWriter<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// Adds a directory; its name ends in a slash.
    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        let mut header = header(name, 0)?;
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    /// Adds a file whose content is in memory.
    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.start_file(name, content.len() as u64)?;
        self.out.write_all(content)?;
        self.end_file(content.len() as u64)
    }

    /// Writes the header of a file; its bytes have to follow through [`TarWriter::content`], then
    /// [`TarWriter::end_file`].
    pub(crate) fn start_file(&mut self, name: &str, size_bytes: u64) -> io::Result<()> {
        self.out.write_all(header(name, size_bytes)?.as_bytes())
    }

    /// Takes the content of the file that was started.
    pub(crate) fn content(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Fills up the last block of a file.
    pub(crate) fn end_file(&mut self, size_bytes: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
        #[expect(clippy::cast_possible_truncation, reason = "it is below a block")]
        let n_in_last_block = (size_bytes % BLOCK_BYTES as u64) as usize;
        let n_padding = n_in_last_block.next_multiple_of(BLOCK_BYTES) - n_in_last_block;
        self.out.write_all(&ZEROS[..n_padding])
    }

    /// Writes the end: two blocks of zeros.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.out.flush()
    }
}

/// GNU rather than ustar: it alone has a place for sizes of 8 GiB and more that needs no second member.
fn header(name: &str, size_bytes: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MTIME_SECS);
    header.set_size(size_bytes);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_above_8_gib_are_read_back() {
        for size_bytes in [0, 1, 511, 512, 0o777_7777_7777, 0o1_0000_0000_0000, 1 << 40] {
            let mut out = Vec::new();
            let mut tar = TarWriter::new(&mut out);
            tar.start_file("blobs/sha256/x", size_bytes).unwrap();
            tar.end_file(size_bytes).unwrap();
            let header = tar::Header::from_byte_slice(&out[..BLOCK_BYTES]);
            assert_eq!(header.entry_size().unwrap(), size_bytes);
            let padding = (out.len() - BLOCK_BYTES) as u64;
            assert!(padding < 512 && (size_bytes + padding).is_multiple_of(512));
        }
    }
}
