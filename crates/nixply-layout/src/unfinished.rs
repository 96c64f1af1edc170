//! Files and directories under temporary names, and what becomes of them when the process is ended from outside.
//!
//! A failure removes them by itself. A signal ends the process between two instructions: then whoever handles it calls
//! [`discard_unfinished`]. What there is has to be known to the whole process for that.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often a directory is emptied into which another thread may just put a file.
const REMOVAL_ATTEMPTS: usize = 10;

static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static DISCARDED: AtomicBool = AtomicBool::new(false);

/// Removes the temporary files and directories of everything that is being written, and lets nothing more be begun or
/// finished: for a process that ends now. Threads that write wait for ever.
pub fn discard_unfinished() {
    if DISCARDED.swap(true, Ordering::SeqCst) {
        return;
    }
    let unfinished = lock();
    for path in &*unfinished {
        for _ in 0..REMOVAL_ATTEMPTS {
            let removed = match fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
                Ok(_) => fs::remove_file(path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                _ => break,
            }
        }
    }
    // Nobody begins or finishes anything any more.
    std::mem::forget(unfinished);
}

fn lock() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that stands under a temporary name until it is finished, and removes itself when it is dropped.
#[derive(Debug)]
pub(crate) struct Unfinished<T> {
    thing: T,
    // After the thing: what is still there has to be known.
    registration: Registration,
}

#[derive(Debug)]
struct Registration(PathBuf);

impl Drop for Registration {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

impl<T: AsRef<Path>> Unfinished<T> {
    /// Makes something.
    pub(crate) fn begin(make: impl FnOnce() -> io::Result<T>) -> io::Result<Self> {
        let mut unfinished = lock();
        let thing = make()?;
        let path = thing.as_ref().to_owned();
        unfinished.insert(path.clone());
        Ok(Self {
            thing,
            registration: Registration(path),
        })
    }

    /// What was made.
    pub(crate) fn thing(&self) -> &T {
        &self.thing
    }

    /// Does what gives it, or a part of it, a name of its own.
    pub(crate) fn finish<R>(self, rename: impl FnOnce(T) -> R) -> R {
        let Self {
            thing,
            registration,
        } = self;
        let unfinished = lock();
        let renamed = rename(thing);
        drop(unfinished);
        drop(registration);
        renamed
    }
}
