//! The threads that compress, and how much may be on its way to and from them.

use rayon::ThreadPool;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Members on their way for each thread: one that is being compressed, one that waits for the thread.
const MEMBERS_PER_THREAD: usize = 2;

/// Threads that compress for any number of [`Compressor`](crate::Compressor)s; clones are the same threads.
///
/// A member is on its way from when its input is complete until its compressed form is written. All compressors
/// of a pool together have at most two members a thread on their way, and each may have one whatever the others have, so
/// none waits for another. Memory is thus bounded by the members of (2 × threads + compressors), and by the piece that each
/// compressor is filling: the threads times the layers that are made at once do not enter it.
///
/// Buffers go round: a new one for each member would be taken from the system and given back, page by page.
#[derive(Clone)]
pub struct CompressionPool(Arc<Shared>);

struct Shared {
    threads: ThreadPool,
    /// Members on their way, of all compressors.
    members: AtomicUsize,
    inputs: Arc<Buffers>,
    outputs: Arc<Buffers>,
}

/// Buffers that nobody uses, the last one that was used on top: it is most likely still in a processor's cache.
///
/// Inputs and outputs are apart, because of outputs only the part is ever touched, and takes memory, that compressed
/// members fill.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer of any contents and length.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut unused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.pop().unwrap_or_default()
    }

    /// Gives a buffer to whoever needs one next.
    pub(crate) fn put(&self, buffer: Vec<u8>) {
        let mut unused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.push(buffer);
    }
}

impl CompressionPool {
    /// Starts `threads` threads; 0 means as many as there are CPUs.
    ///
    /// # Errors
    /// That of the system when it starts no thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(io::Error::other)?;
        Ok(Self(Arc::new(Shared {
            threads,
            members: AtomicUsize::new(0),
            inputs: Arc::default(),
            outputs: Arc::default(),
        })))
    }

    /// Lets one more member on its way, unless the pool has enough to do. Never refused to a compressor whose `first` it is:
    /// it has nothing to wait for.
    pub(crate) fn admit(&self, first: bool) -> Option<Admission> {
        let limit = MEMBERS_PER_THREAD * self.0.threads.current_num_threads();
        let members = &self.0.members;
        // Only the count is shared, no data with it.
        members
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |on_their_way| {
                (first || on_their_way < limit).then_some(on_their_way + 1)
            })
            .ok()?;
        Some(Admission(self.clone()))
    }

    /// Buffers for what is to be compressed.
    pub(crate) fn inputs(&self) -> &Arc<Buffers> {
        &self.0.inputs
    }

    /// Buffers for compressed members.
    pub(crate) fn outputs(&self) -> &Arc<Buffers> {
        &self.0.outputs
    }

    /// Runs a job after those that were given earlier. A panic that leaves it ends the process.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.threads.spawn_fifo(job);
    }

    /// Members on their way, of all compressors.
    #[cfg(test)]
    pub(crate) fn members(&self) -> usize {
        self.0.members.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for CompressionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressionPool")
            .field("threads", &self.0.threads.current_num_threads())
            .finish_non_exhaustive()
    }
}

/// Stands for a member on its way; dropped when its bytes are gone.
pub(crate) struct Admission(CompressionPool);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.0.members.fetch_sub(1, Ordering::Relaxed);
    }
}
