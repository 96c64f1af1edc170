//! The stream of a layer's tar: one buffer, filled straight from files, handed on in big pieces.

use crate::error::WriteLayerError;
use crate::header::{BLOCK_BYTES, Entry, EntryKind, HeaderStyle, append_header, padding_bytes};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Files are read and handed on in pieces of this size (docs/decisions/0002-tar-writer.md).
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the tar goes.
pub(crate) trait TarSink {
    /// Whether every buffer but the last has to be full, so that a header may be cut in two.
    const FULL_BUFFERS: bool = false;

    /// Announces the entry whose header begins at this offset of the tar and is this long.
    fn begin_entry(&mut self, entry: &Entry<'_>, header_offset: u64, header_bytes: u64);

    /// Takes the next bytes. The header of an entry is never cut in two, unless [`TarSink::FULL_BUFFERS`].
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The buffer to begin with.
    fn first_buffer(&self) -> Vec<u8> {
        vec![0; BUFFER_BYTES]
    }

    /// Takes the next bytes, which stand at the beginning of a buffer; it may put another buffer into its place.
    fn take_buffer(&mut self, buffer: &mut Vec<u8>, size_bytes: usize) -> io::Result<()> {
        self.take(&buffer[..size_bytes])
    }
}

/// A sink that does not care where entries begin.
pub(crate) struct PlainSink<W>(pub(crate) W);

impl<W: Write> TarSink for PlainSink<W> {
    fn begin_entry(&mut self, _entry: &Entry<'_>, _header_offset: u64, _header_bytes: u64) {}

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// Writes entries one after the other.
pub(crate) struct TarWriter<'a, S> {
    sink: &'a mut S,
    style: HeaderStyle,
    buffer: Vec<u8>,
    /// How much of the buffer the sink has not seen yet.
    filled: usize,
    /// How many bytes the sink has seen.
    handed_on_bytes: u64,
    /// The header blocks of the current entry.
    header: Vec<u8>,
}

impl<'a, S: TarSink> TarWriter<'a, S> {
    pub(crate) fn new(style: HeaderStyle, sink: &'a mut S) -> Self {
        let buffer = sink.first_buffer();
        Self {
            sink,
            style,
            buffer,
            filled: 0,
            handed_on_bytes: 0,
            header: Vec::new(),
        }
    }

    /// Writes a directory or a symbolic link, or the header of a file.
    pub(crate) fn header(&mut self, entry: &Entry<'_>) -> Result<(), WriteLayerError> {
        let mut header = std::mem::take(&mut self.header);
        header.clear();
        append_header(entry, &self.style, &mut header);
        let written = self.ready_header(entry, &header);
        self.header = header;
        written
    }

    /// Writes header blocks that were made elsewhere; `entry` is what the sink is told of them.
    pub(crate) fn ready_header(
        &mut self,
        entry: &Entry<'_>,
        header: &[u8],
    ) -> Result<(), WriteLayerError> {
        if !S::FULL_BUFFERS && self.filled + header.len() > self.buffer.len() {
            self.flush()?;
        }
        let header_offset = self.offset();
        self.sink
            .begin_entry(entry, header_offset, header.len() as u64);
        if !S::FULL_BUFFERS && header.len() > self.buffer.len() {
            self.sink.take(header).map_err(WriteLayerError::Sink)?;
            self.handed_on_bytes += header.len() as u64;
            Ok(())
        } else {
            self.append(header)
        }
    }

    /// Writes a regular file whose contents are in memory.
    pub(crate) fn file_from_memory(
        &mut self,
        entry: &Entry<'_>,
        contents: &[u8],
    ) -> Result<(), WriteLayerError> {
        self.header(entry)?;
        self.append(contents)?;
        self.pad(contents.len() as u64)
    }

    /// Writes a regular file of the size in `entry` from an open file, showing each piece to `watch`. Tells how long reading took,
    /// without what the sink took.
    pub(crate) fn file_from_disk(
        &mut self,
        entry: &Entry<'_>,
        path: &Path,
        file: &mut File,
        watch: &mut dyn FnMut(&[u8]),
    ) -> Result<Duration, WriteLayerError> {
        self.header(entry)?;
        match entry.kind {
            EntryKind::File { size_bytes } => self.body_from_disk(size_bytes, path, file, watch),
            EntryKind::Directory | EntryKind::Symlink { .. } => Ok(Duration::ZERO),
        }
    }

    /// Writes what follows the header of a regular file of this size, from an open file.
    pub(crate) fn body_from_disk(
        &mut self,
        size_bytes: u64,
        path: &Path,
        file: &mut File,
        watch: &mut dyn FnMut(&[u8]),
    ) -> Result<Duration, WriteLayerError> {
        let mut reading = Duration::ZERO;
        let mut left_bytes = size_bytes;
        loop {
            if self.filled == self.buffer.len() {
                self.flush()?;
            }
            // One byte more than is left, where there is room: most files then need one read, which also sees their end.
            let free = &mut self.buffer[self.filled..];
            let want = usize::try_from(left_bytes + 1).map_or(free.len(), |n| n.min(free.len()));
            let start = Instant::now();
            let got = read_once(file, &mut free[..want], path)?;
            reading += start.elapsed();
            if got as u64 > left_bytes {
                return Err(WriteLayerError::Grew {
                    path: path.to_owned(),
                    expected_bytes: size_bytes,
                });
            }
            if got == 0 && left_bytes > 0 {
                return Err(WriteLayerError::Shrank {
                    path: path.to_owned(),
                    expected_bytes: size_bytes,
                    found_bytes: size_bytes - left_bytes,
                });
            }
            watch(&free[..got]);
            self.filled += got;
            left_bytes -= got as u64;
            if left_bytes == 0 && got < want {
                self.pad(size_bytes)?;
                return Ok(reading);
            }
        }
    }

    /// Writes the end of the tar, two zero blocks, and then zeros up to a multiple of `record_bytes`.
    pub(crate) fn finish(mut self, record_bytes: u64) -> Result<(), WriteLayerError> {
        self.append(&[0; 2 * BLOCK_BYTES])?;
        while !self.offset().is_multiple_of(record_bytes) {
            self.append(&[0; BLOCK_BYTES])?;
        }
        self.flush()
    }

    /// How many bytes the tar has so far.
    fn offset(&self) -> u64 {
        self.handed_on_bytes + self.filled as u64
    }

    fn append(&mut self, mut bytes: &[u8]) -> Result<(), WriteLayerError> {
        while !bytes.is_empty() {
            if self.filled == self.buffer.len() {
                self.flush()?;
            }
            let free = &mut self.buffer[self.filled..];
            let (now, later) = bytes.split_at(bytes.len().min(free.len()));
            free[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
        Ok(())
    }

    fn pad(&mut self, size_bytes: u64) -> Result<(), WriteLayerError> {
        self.append(&[0; BLOCK_BYTES][..padding_bytes(size_bytes)])
    }

    fn flush(&mut self) -> Result<(), WriteLayerError> {
        self.sink
            .take_buffer(&mut self.buffer, self.filled)
            .map_err(WriteLayerError::Sink)?;
        self.handed_on_bytes += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

/// Reads once; again only when a signal interrupts.
fn read_once(file: &mut File, into: &mut [u8], path: &Path) -> Result<usize, WriteLayerError> {
    loop {
        match file.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(WriteLayerError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
            Ok(got) => return Ok(got),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, SeekFrom};

    /// Keeps the pieces, and where entries were announced.
    #[derive(Default)]
    struct Pieces {
        pieces: Vec<Vec<u8>>,
        announced: Vec<(u64, u64)>,
    }

    impl TarSink for Pieces {
        fn begin_entry(&mut self, _entry: &Entry<'_>, header_offset: u64, header_bytes: u64) {
            self.announced.push((header_offset, header_bytes));
        }

        fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.pieces.push(bytes.to_vec());
            Ok(())
        }
    }

    fn style() -> HeaderStyle {
        HeaderStyle {
            absolute: false,
            mtime_secs: 1,
            uname: String::new(),
            gname: String::new(),
        }
    }

    fn entry(name: &[u8], size_bytes: u64) -> Entry<'_> {
        Entry {
            name,
            kind: EntryKind::File { size_bytes },
            mode: 0o444,
            uid: 0,
            gid: 0,
            capabilities: None,
        }
    }

    fn file_of(contents: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(contents).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    #[test]
    fn files_of_every_size_near_the_buffer_come_out_whole() {
        for size in (0..4)
            .chain(BUFFER_BYTES - 1026..BUFFER_BYTES - 508)
            .step_by(171)
            .chain([
                BUFFER_BYTES - 513,
                BUFFER_BYTES - 512,
                BUFFER_BYTES - 511,
                BUFFER_BYTES,
                2 * BUFFER_BYTES - 512,
                3 * BUFFER_BYTES + 1,
            ])
        {
            let contents: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut sink = Pieces::default();
            let mut tar = TarWriter::new(style(), &mut sink);
            let mut seen = Vec::new();
            let entry = entry(b"f", size as u64);
            tar.file_from_disk(
                &entry,
                Path::new("f"),
                &mut file_of(&contents),
                &mut |bytes| {
                    seen.extend_from_slice(bytes);
                },
            )
            .unwrap();
            tar.file_from_memory(&entry, &contents).unwrap();
            tar.finish(512).unwrap();
            let all = sink.pieces.concat();
            let end = 512 + size.next_multiple_of(512);
            assert_eq!(seen, contents);
            assert_eq!(all[512..512 + size], contents);
            assert_eq!(all[..end], all[end..2 * end]);
            assert_eq!(all.len(), 2 * end + 1024);
            assert_eq!(sink.announced, [(0, 512), (end as u64, 512)]);
        }
    }

    #[test]
    fn headers_are_never_cut() {
        let mut sink = Pieces::default();
        let mut tar = TarWriter::new(style(), &mut sink);
        // Ends one block before the buffer does, where a header of three blocks has no room.
        tar.file_from_memory(&entry(b"f", 0), &vec![0; BUFFER_BYTES - 1024])
            .unwrap();
        tar.header(&entry(&[b'n'; 101], 0)).unwrap();
        tar.header(&entry(&vec![b'n'; 2 * BUFFER_BYTES], 0))
            .unwrap();
        tar.finish(512).unwrap();
        let lengths: Vec<usize> = sink.pieces.iter().map(Vec::len).collect();
        assert_eq!(
            lengths,
            [
                BUFFER_BYTES - 512,
                3 * 512,
                2 * BUFFER_BYTES + 3 * 512,
                1024
            ]
        );
    }

    #[test]
    fn files_that_change_size_are_named() {
        let write = |planned: u64, contents: &[u8]| {
            let mut sink = Pieces::default();
            let mut tar = TarWriter::new(style(), &mut sink);
            let path = Path::new("/store/f");
            tar.file_from_disk(
                &entry(b"f", planned),
                path,
                &mut file_of(contents),
                &mut |_| {},
            )
            .unwrap_err()
            .to_string()
        };
        assert_eq!(
            write(10, b"12345"),
            "`/store/f` shrank while it was read: expected 10 bytes, found 5 bytes"
        );
        for size in [0, 4, BUFFER_BYTES as u64 - 512] {
            let longer = vec![0; usize::try_from(size).unwrap() + 1];
            assert_eq!(
                write(size, &longer),
                format!("`/store/f` grew while it was read: expected {size} bytes, found more")
            );
        }
    }
}
