//! A writer that compresses on a thread pool and whose bytes do not show it.
//!
//! The input is cut every [`Compression::member_size_bytes`]; each piece becomes a job on the pool, and the results are
//! written in the order of the input. Where the cuts are depends on the input alone, not on how it was written
//! or on the number of threads.

use crate::Compression;
use rayon::ThreadPool;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Compresses what is written to it into `out`.
///
/// Call [`finish`](Self::finish) at the end: dropping it loses the last members. The thread that writes waits while
/// the pool has enough to do, so it should not be one of the pool's own; on such a thread members are compressed in
/// place, without help from the others, because waiting there could wait for itself. Several compressors may share a pool.
///
/// At most two members a thread are on their way at any time: memory is bounded by twice the threads, times the
/// member size and its compressed form, whatever the size of the layer.
pub struct Compressor<W: Write> {
    compression: Compression,
    pool: Arc<ThreadPool>,
    out: W,
    /// Input of the member that is not full yet.
    pending: Vec<u8>,
    /// Members on their way, oldest first.
    in_flight: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    /// Whether any member was started: an empty input still needs one.
    started: bool,
    /// Set by the first error: what follows would be a stream with a hole.
    failed: bool,
}

impl<W: Write> Compressor<W> {
    /// Starts an empty stream.
    pub fn new(compression: Compression, pool: Arc<ThreadPool>, out: W) -> Self {
        Self {
            compression,
            pool,
            out,
            pending: Vec::new(),
            in_flight: VecDeque::new(),
            started: false,
            failed: false,
        }
    }

    /// Compresses the rest, writes everything and gives `out` back. An empty input makes one empty member.
    ///
    /// # Errors
    /// Those of `out`, those of an encoder, and [`io::ErrorKind::Other`] after an earlier failure.
    pub fn finish(mut self) -> io::Result<W> {
        self.guard(|this| {
            let split = this.compression.member_size_bytes().is_some();
            if split && (!this.pending.is_empty() || !this.started) {
                this.start_member()?;
            }
            while let Some(member) = this.in_flight.pop_front() {
                this.write_member(&member)?;
            }
            this.out.flush()
        })?;
        Ok(self.out)
    }

    fn start_member(&mut self) -> io::Result<()> {
        self.started = true;
        let input = std::mem::take(&mut self.pending);
        if self.in_flight.len() >= 2 * self.pool.current_num_threads()
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.write_member(&oldest)?;
        }
        let (sender, receiver) = channel();
        let compression = self.compression;
        let job = move || {
            // A panic that left the job would end the process.
            let result = catch_unwind(|| compression.encode_member(&input))
                .unwrap_or_else(|_| Err(io::Error::other("the encoder panicked")));
            // Nobody listens once the compressor was dropped after an error.
            let _ = sender.send(result);
        };
        if self.pool.current_thread_index().is_some() {
            job();
        } else {
            self.pool.spawn_fifo(job);
        }
        self.in_flight.push_back(receiver);
        Ok(())
    }

    fn write_member(&mut self, member: &Receiver<io::Result<Vec<u8>>>) -> io::Result<()> {
        let member = member.recv().map_err(io::Error::other)??;
        self.out.write_all(&member)
    }

    /// Runs one step; after a failed one, every later step fails.
    fn guard<T>(&mut self, step: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        if self.failed {
            return Err(io::Error::other("the compressed stream failed before"));
        }
        let result = step(self);
        self.failed = result.is_err();
        result
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.guard(|this| {
            let Some(member_size_bytes) = this.compression.member_size_bytes() else {
                return this.out.write_all(bytes).map(|()| bytes.len());
            };
            let taken = bytes.len().min(member_size_bytes - this.pending.len());
            this.pending.extend_from_slice(&bytes[..taken]);
            if this.pending.len() == member_size_bytes {
                this.start_member()?;
            }
            Ok(taken)
        })
    }

    /// Flushes `out` only: ending a member here would make the bytes depend on when it was called.
    fn flush(&mut self) -> io::Result<()> {
        self.guard(|this| this.out.flush())
    }
}

impl<W: Write> fmt::Debug for Compressor<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("compression", &self.compression)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}
