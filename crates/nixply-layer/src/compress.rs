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
    /// Input of the member that is not full yet.
    pending: Vec<u8>,
    /// Members on their way, oldest first.
    in_flight: VecDeque<MemberInFlight>,
    /// Whether any member was started: an empty input still needs one.
    started: bool,
    /// Set by the first error: what follows would be a stream with a hole.
    failed: bool,
}

/// A member that the pool compresses, or has compressed.
struct MemberInFlight {
    result: Receiver<io::Result<Vec<u8>>>,
    _admission: Admission,
}

impl<W: Write> Compressor<W> {
    /// Starts an empty stream.
    pub fn new(compression: Compression, pool: CompressionPool, out: W) -> Self {
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
                this.write_member(member)?;
            }
            this.out.flush()
        })?;
        Ok(self.out)
    }

    fn start_member(&mut self) -> io::Result<()> {
        self.started = true;
        let input = std::mem::take(&mut self.pending);
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
        let job = move || {
            // A panic that left the job would end the process.
            let result = catch_unwind(|| compression.encode_member(&input))
                .unwrap_or_else(|_| Err(io::Error::other("the encoder panicked")));
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
        let compressed = member.result.recv().map_err(io::Error::other)??;
        self.out.write_all(&compressed)
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
