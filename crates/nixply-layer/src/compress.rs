//! A writer that compresses on a thread pool and whose bytes do not show it.
//!
//! The input is cut every [`Compression::member_size_bytes`]; each piece becomes a job on the pool, and the results are
//! written in the order of the input. Where the cuts are depends on the input alone, not on how it was written
//! or on the number of threads.

use crate::Compression;
use crate::compression_pool::{Admission, CompressionPool};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Compresses what is written to it into `out`.
///
/// Call [`finish`](Self::finish) at the end: dropping it loses the last members. The thread that writes waits while
/// the pool has enough to do. Several compressors may share a pool, whose bound of memory holds for all of them
/// together ([`CompressionPool`]), whatever the sizes of the layers.
pub struct Compressor<W: Write> {
    compression: Compression,
    pool: CompressionPool,
    out: W,
    /// Input of the member that is not full yet, in a buffer of the size of a member; empty until the first byte comes.
    pending: Vec<u8>,
    /// How much of `pending` is input.
    pending_bytes: usize,
    /// Members on their way, oldest first.
    in_flight: VecDeque<MemberInFlight>,
    /// Whether any member was started: an empty input still needs one.
    started: bool,
    /// Set by the first error: what follows would be a stream with a hole.
    failed: bool,
}

/// A member that the pool compresses, or has compressed.
struct MemberInFlight {
    result: Receiver<io::Result<Member>>,
    _admission: Admission,
}

/// A compressed member.
struct Member {
    buffer: Vec<u8>,
    /// How much of the buffer it takes.
    size_bytes: usize,
}

impl<W: Write> Compressor<W> {
    /// Starts an empty stream.
    pub fn new(compression: Compression, pool: CompressionPool, out: W) -> Self {
        Self {
            compression,
            pool,
            out,
            pending: Vec::new(),
            pending_bytes: 0,
            in_flight: VecDeque::new(),
            started: false,
            failed: false,
        }
    }

    /// A buffer for [`Compressor::write_buffer`].
    pub(crate) fn new_buffer(&self) -> Vec<u8> {
        let mut buffer = self.pool.inputs().take();
        // Where tars are not cut, nothing is gained by big pieces.
        buffer.resize(self.compression.member_size_bytes().unwrap_or(0), 0);
        buffer
    }

    /// Takes the first `size_bytes` of a buffer that [`Compressor::new_buffer`] gave, without copying them, and puts another one
    /// into its place. All buffers but the last are full, and nothing is written in another way.
    pub(crate) fn write_buffer(
        &mut self,
        buffer: &mut Vec<u8>,
        size_bytes: usize,
    ) -> io::Result<()> {
        self.guard(|this| {
            debug_assert_eq!(this.pending_bytes, 0);
            let is_full = size_bytes == buffer.len();
            this.start_member(std::mem::take(buffer), size_bytes)?;
            // Nothing comes after a buffer that was not full.
            if is_full {
                *buffer = this.new_buffer();
            }
            Ok(())
        })
    }

    /// Compresses the rest, writes everything and gives `out` back. An empty input makes one empty member.
    ///
    /// # Errors
    /// Those of `out`, those of an encoder, and [`io::ErrorKind::Other`] after an earlier failure.
    pub fn finish(mut self) -> io::Result<W> {
        self.guard(|this| {
            let split = this.compression.member_size_bytes().is_some();
            if split && (this.pending_bytes > 0 || !this.started) {
                this.start_pending()?;
            }
            while let Some(member) = this.in_flight.pop_front() {
                this.write_member(member)?;
            }
            this.out.flush()
        })?;
        Ok(self.out)
    }

    fn start_pending(&mut self) -> io::Result<()> {
        let input = std::mem::take(&mut self.pending);
        let size_bytes = std::mem::take(&mut self.pending_bytes);
        self.start_member(input, size_bytes)
    }

    /// Compresses the first `size_bytes` of a buffer.
    fn start_member(&mut self, input: Vec<u8>, size_bytes: usize) -> io::Result<()> {
        self.started = true;
        let admission = loop {
            if let Some(admission) = self.pool.admit(self.in_flight.is_empty()) {
                break admission;
            }
            if let Some(oldest) = self.in_flight.pop_front() {
                self.write_member(oldest)?;
            }
        };
        let (sender, result) = channel();
        let compression = self.compression;
        let (inputs, outputs) = (
            Arc::clone(self.pool.inputs()),
            Arc::clone(self.pool.outputs()),
        );
        let job = move || {
            // A panic that left the job would end the process.
            let result = catch_unwind(|| {
                let mut buffer = outputs.take();
                let size_bytes = compression.encode_member(&input[..size_bytes], &mut buffer)?;
                Ok(Member { buffer, size_bytes })
            })
            .unwrap_or_else(|_| Err(io::Error::other("the encoder panicked")));
            inputs.put(input);
            // Nobody listens once the compressor was dropped after an error.
            let _ = sender.send(result);
        };
        self.pool.spawn(job);
        self.in_flight.push_back(MemberInFlight {
            result,
            _admission: admission,
        });
        Ok(())
    }

    /// Waits for a member and writes it; only then its memory is free for another.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is written is on its way no longer"
    )]
    fn write_member(&mut self, member: MemberInFlight) -> io::Result<()> {
        let Member { buffer, size_bytes } = member.result.recv().map_err(io::Error::other)??;
        let result = self.out.write_all(&buffer[..size_bytes]);
        self.pool.outputs().put(buffer);
        result
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
            if this.pending.is_empty() {
                this.pending = this.new_buffer();
            }
            let free = &mut this.pending[this.pending_bytes..];
            let taken = bytes.len().min(free.len());
            free[..taken].copy_from_slice(&bytes[..taken]);
            this.pending_bytes += taken;
            if this.pending_bytes == member_size_bytes {
                this.start_pending()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier, Mutex};
    use std::thread;

    const THREADS: usize = 8;
    const COMPRESSORS: usize = 8;

    /// Notes how many members are on their way in the whole pool: at the first write of all compressors at once, then at
    /// each write.
    struct Counting {
        pool: CompressionPool,
        all_wait: Arc<Barrier>,
        waited: bool,
        counts: Arc<Mutex<Vec<usize>>>,
    }

    impl Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let is_first = !std::mem::replace(&mut self.waited, true);
            if is_first {
                self.all_wait.wait();
            }
            self.counts.lock().unwrap().push(self.pool.members());
            if is_first {
                // Nobody goes on before everybody has counted.
                self.all_wait.wait();
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn compressors_of_one_pool_share_the_bound() {
        let pool = CompressionPool::new(THREADS).unwrap();
        let all_wait = Arc::new(Barrier::new(COMPRESSORS));
        let counts = Arc::new(Mutex::new(Vec::new()));
        let input = vec![0; 1 << 20];
        thread::scope(|scope| {
            for _ in 0..COMPRESSORS {
                let out = Counting {
                    pool: pool.clone(),
                    all_wait: Arc::clone(&all_wait),
                    waited: false,
                    counts: Arc::clone(&counts),
                };
                let (pool, input) = (pool.clone(), &input);
                scope.spawn(move || {
                    let mut compressor = Compressor::new(Compression::Gzip { level: 1 }, pool, out);
                    for _ in 0..3 * THREADS {
                        compressor.write_all(input).unwrap();
                    }
                    compressor.finish().unwrap();
                });
            }
        });
        let counts = counts.lock().unwrap();
        assert_eq!(counts.len(), COMPRESSORS * 3 * THREADS);
        // All stood before their first write: the pool was full, by at most one member of each above the limit.
        let full = counts[..COMPRESSORS].iter().min().unwrap();
        assert!(*full >= 2 * THREADS, "{full}");
        let most = counts.iter().max().unwrap();
        assert!(*most <= 2 * THREADS + COMPRESSORS, "{most}");
        assert_eq!(pool.members(), 0);
    }

    #[test]
    fn one_compressor_alone_has_the_whole_pool() {
        let pool = CompressionPool::new(THREADS).unwrap();
        let compression = Compression::Gzip { level: 1 };
        let mut compressor = Compressor::new(compression, pool.clone(), Vec::new());
        for _ in 0..2 * THREADS {
            compressor.write_all(&vec![0; 1 << 20]).unwrap();
        }
        assert_eq!(pool.members(), 2 * THREADS);
        assert_eq!(compressor.out.len(), 0);
        compressor.write_all(&vec![0; 1 << 20]).unwrap();
        assert_eq!(pool.members(), 2 * THREADS);
        // What is dropped leaves the pool to others.
        drop(compressor);
        assert_eq!(pool.members(), 0);
    }
}
