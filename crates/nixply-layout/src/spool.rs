//! Bytes that wait: in memory while a common budget lasts, then in an unlinked file.

use crate::LayoutError;
use crate::pipeline::Stop;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory is taken from the budget in pieces of this many bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// The memory that all waiting bytes share.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    left_bytes: AtomicU64,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            left_bytes: AtomicU64::new(bytes),
        }
    }

    fn take_chunk(&self) -> bool {
        self.left_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(CHUNK_BYTES as u64)
            })
            .is_ok()
    }

    fn give_back(&self, n_chunks: usize) {
        self.left_bytes
            .fetch_add((n_chunks * CHUNK_BYTES) as u64, Ordering::Relaxed);
    }
}

/// What happens to bytes that the budget has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow<'a> {
    /// They go to an unlinked file in this directory.
    Spool(&'a Path),
    /// They are dropped, with all before them: whoever needs them makes them again.
    Drop,
}

/// Bytes in memory, which go back to the budget when dropped.
#[derive(Debug)]
struct Chunks<'a> {
    budget: &'a MemoryBudget,
    chunks: Vec<Vec<u8>>,
}

impl Chunks<'_> {
    /// Takes as many bytes as there is room for.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let full = self
            .chunks
            .last()
            .is_none_or(|chunk| chunk.len() == CHUNK_BYTES);
        if full {
            if !self.budget.take_chunk() {
                return 0;
            }
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        let Some(chunk) = self.chunks.last_mut() else {
            return 0;
        };
        let n = bytes.len().min(CHUNK_BYTES - chunk.len());
        chunk.extend_from_slice(&bytes[..n]);
        n
    }

    fn copy_to(&self, out: &mut dyn Write) -> io::Result<()> {
        self.chunks
            .iter()
            .try_for_each(|chunk| out.write_all(chunk))
    }
}

impl Drop for Chunks<'_> {
    fn drop(&mut self) {
        self.budget.give_back(self.chunks.len());
    }
}

#[derive(Debug)]
enum Place<'a> {
    Memory(Chunks<'a>),
    File(File),
    Dropped,
}

/// Takes bytes to wait; fails once the work that they are for has failed.
#[derive(Debug)]
pub(crate) struct SpoolWriter<'a, 's> {
    place: Place<'a>,
    overflow: Overflow<'a>,
    size_bytes: u64,
    stop: &'s Stop,
}

/// Bytes that wait.
#[derive(Debug)]
pub(crate) struct Spooled<'a> {
    place: Place<'a>,
    size_bytes: u64,
}

impl<'a, 's> SpoolWriter<'a, 's> {
    pub(crate) fn new(budget: &'a MemoryBudget, overflow: Overflow<'a>, stop: &'s Stop) -> Self {
        let chunks = Vec::new();
        Self {
            place: Place::Memory(Chunks { budget, chunks }),
            overflow,
            size_bytes: 0,
            stop,
        }
    }

    pub(crate) fn finish(self) -> Spooled<'a> {
        Spooled {
            place: self.place,
            size_bytes: self.size_bytes,
        }
    }
}

impl Write for SpoolWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            return Err(io::Error::other("another layer has failed"));
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            let n = match &mut self.place {
                Place::Memory(chunks) => chunks.push(bytes),
                Place::File(file) => file.write(bytes)?,
                Place::Dropped => bytes.len(),
            };
            if n > 0 {
                self.size_bytes += n as u64;
                return Ok(n);
            }
            let Place::Memory(chunks) = &self.place else {
                return Ok(0);
            };
            self.place = match self.overflow {
                Overflow::Drop => Place::Dropped,
                Overflow::Spool(dir) => {
                    let mut file = tempfile::tempfile_in(dir).map_err(|error| {
                        let error = LayoutError::file("create a file in", dir)(error);
                        io::Error::other(error)
                    })?;
                    chunks.copy_to(&mut file)?;
                    Place::File(file)
                }
            };
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spooled<'_> {
    /// The number of bytes that were written, dropped ones too.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// False where the bytes were dropped and have to be made again.
    pub(crate) fn is_here(&self) -> bool {
        !matches!(self.place, Place::Dropped)
    }

    /// Writes the bytes, or nothing where they were dropped.
    pub(crate) fn copy_to(self, out: &mut dyn Write) -> Result<(), LayoutError> {
        match self.place {
            Place::Memory(chunks) => chunks.copy_to(out).map_err(LayoutError::Output),
            Place::File(mut file) => copy_file(&mut file, out),
            Place::Dropped => Ok(()),
        }
    }
}

/// Copies by hand, so that an error tells which side it came from.
fn copy_file(file: &mut File, out: &mut dyn Write) -> Result<(), LayoutError> {
    let read_error = || LayoutError::file("read", "temporary file");
    file.rewind().map_err(read_error())?;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let n = file.read(&mut buffer).map_err(read_error())?;
        if n == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..n]).map_err(LayoutError::Output)?;
    }
}
