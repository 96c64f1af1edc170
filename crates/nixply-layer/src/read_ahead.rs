//! Readers that go ahead of a layer's maker where the disk is slow.
//!
//! A layer is made by one thread, which would wait for the disk at each file: a disk answers many readers at once faster than one.
//! So once reading has cost a maker noticeably more time than memory would, a few threads walk the same store paths in the same
//! order and have the system read the files that come next into memory. What they have read and what fails
//! for them changes nothing: the maker reads all of it itself. While files are in memory already there are no such threads. A maker
//! that waits for a processor is as slow as one that waits for a disk, so Linux is asked what the thread had the disk read.

use crate::store_tree::{Child, SiblingOrder, list};
use std::collections::VecDeque;
use std::fs::{self, File};
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Readers for each layer that is being made (docs/benchmarks.md, "Cold disk").
const READERS: usize = 4;

/// How far the readers may be ahead of the maker: enough for the disk to be busy while the maker waits for a processor, little
/// enough that what was read is still in memory when the maker comes (docs/benchmarks.md, "Cold disk").
const WINDOW_BYTES: u64 = 192 << 20;

/// How much a reader has read at once: Linux takes up to as much as one request to the disk may have, a megabyte or so, and forgets
/// the rest (mm/readahead.c, `force_page_cache_ra`).
const READ_BYTES: u64 = 256 << 10;

/// What opening and reading a file may take while it is in memory: this, and a nanosecond a byte. Chosen, not measured: several
/// times what it takes on a machine that is not overloaded, and a fraction of what a disk takes.
const FILE_ALLOWANCE: Duration = Duration::from_micros(50);

/// How much more than allowed a layer's files may take before readers are started: a small part of a second, and much more than
/// a thread takes to start.
const PATIENCE: Duration = Duration::from_millis(4);

/// How much a slow maker must have had read from the disk, since its layer began, for the disk to be why it is slow.
const DISK_BYTES: u64 = 256 << 10;

/// Watches how fast a layer's files are read, and has readers once that is slow.
pub(crate) struct ReadAhead {
    /// Where the layer's store paths lie, in the order in which they are read.
    paths: Vec<PathBuf>,
    order: SiblingOrder,
    /// How many regular files the maker has read.
    files: u64,
    excess: Duration,
    /// What the calling thread has had read from the disk, where the system tells.
    disk_bytes: fn() -> Option<u64>,
    disk_bytes_before: Option<u64>,
    readers: Option<Readers>,
}

impl ReadAhead {
    pub(crate) fn new(paths: Vec<PathBuf>, order: SiblingOrder) -> Self {
        Self {
            paths,
            order,
            files: 0,
            excess: Duration::ZERO,
            disk_bytes,
            disk_bytes_before: disk_bytes(),
            readers: None,
        }
    }

    /// The maker has read a regular file, which took this long.
    pub(crate) fn file_read(&mut self, size_bytes: u64, took: Duration) {
        self.files += 1;
        if let Some(readers) = &self.readers {
            readers.shared.maker_read(size_bytes);
            return;
        }
        let allowed = FILE_ALLOWANCE + Duration::from_nanos(size_bytes);
        self.excess += took.saturating_sub(allowed);
        if self.excess > PATIENCE {
            self.excess = Duration::ZERO;
            if self.is_disk_read() {
                self.readers = Some(Readers::start(&self.paths, self.order, self.files));
            }
        }
    }

    /// Whether the disk was read for this layer. Where nobody can tell, the time that passed has to do.
    fn is_disk_read(&self) -> bool {
        match (self.disk_bytes_before, (self.disk_bytes)()) {
            (Some(before), Some(now)) => now.saturating_sub(before) >= DISK_BYTES,
            _ => true,
        }
    }
}

/// The line `read_bytes` of `/proc/thread-self/io` (proc(5)): bytes that the storage had to be asked for.
fn disk_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/io").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("read_bytes: "))
        .and_then(|bytes| bytes.parse().ok())
}

/// The threads. They end when this is dropped.
struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(paths: &[PathBuf], order: SiblingOrder, files_read: u64) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                files_read,
                maker_bytes: 0,
                reader_bytes: 0,
                is_over: false,
            }),
            changed: Condvar::new(),
            cursor: Mutex::new(Cursor::new(paths.to_vec(), order)),
        });
        // Where no more threads can be had, the maker alone reads.
        let threads = (0..READERS)
            .map_while(|_| {
                let shared = Arc::clone(&shared);
                let builder = thread::Builder::new().name("nixply-read".to_owned());
                builder.spawn(move || shared.read_files()).ok()
            })
            .collect();
        Self { shared, threads }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A reader that panicked has read less, nothing else.
            let _ = thread.join();
        }
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Apart from the state, because it waits for the disk.
    cursor: Mutex<Cursor>,
}

struct State {
    /// Regular files that the maker has read.
    files_read: u64,
    /// What the maker has read since there are readers.
    maker_bytes: u64,
    /// What the readers have read.
    reader_bytes: u64,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn maker_read(&self, size_bytes: u64) {
        let mut state = self.lock();
        state.files_read += 1;
        state.maker_bytes += size_bytes;
        self.changed.notify_all();
    }

    fn read_files(&self) {
        while self.may_go_on() {
            let work = {
                let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
                cursor.next()
            };
            match work {
                None => return,
                Some(Work::Directory(path)) => {
                    // What it holds is forgotten; the system remembers.
                    let _ = fs::read_dir(path).map(Iterator::count);
                }
                Some(Work::File { path, number }) => self.read_file(&path, number),
            }
        }
    }

    fn read_file(&self, path: &PathBuf, number: u64) {
        let Ok(file) = File::open(path) else {
            return;
        };
        let size_bytes = file.metadata().map_or(0, |found| found.len());
        let mut offset = 0;
        while offset < size_bytes && self.may_go_on_with(number) {
            let piece_bytes = READ_BYTES.min(size_bytes - offset);
            if !have_read(&file, offset, piece_bytes) {
                return;
            }
            offset += piece_bytes;
            self.lock().reader_bytes += piece_bytes;
        }
    }

    /// Waits until the readers are not too far ahead. False when the layer is made.
    fn may_go_on(&self) -> bool {
        let mut state = self.lock();
        while !state.is_over && state.reader_bytes > state.maker_bytes + WINDOW_BYTES {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_over
    }

    /// The same, and false when the maker has read this file.
    fn may_go_on_with(&self, number: u64) -> bool {
        self.may_go_on() && self.lock().files_read <= number
    }
}

/// Has the system read a part of a file into memory; false where it does not. Without waiting for it where that can be had: what is
/// copied to nobody costs the processors nothing.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn have_read(file: &File, offset: u64, size_bytes: u64) -> bool {
    use rustix::fs::{Advice, fadvise};
    fadvise(file, offset, NonZeroU64::new(size_bytes), Advice::WillNeed).is_ok()
}

/// The same elsewhere.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn have_read(file: &File, offset: u64, size_bytes: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let mut nowhere = vec![0; usize::try_from(size_bytes).unwrap_or(0)];
    file.read_exact_at(&mut nowhere, offset).is_ok()
}

/// Something for a reader to read.
enum Work {
    Directory(PathBuf),
    File {
        path: PathBuf,
        /// How many regular files stand before it in the layer.
        number: u64,
    },
}

/// Walks the store paths in the order of the layer.
struct Cursor {
    paths: std::vec::IntoIter<PathBuf>,
    order: SiblingOrder,
    /// What is left of each directory on the way to the current entry.
    open: Vec<(PathBuf, std::vec::IntoIter<Child>)>,
    /// Directories that will have to be listed, each by some reader rather than all by the one that holds the cursor.
    to_list: VecDeque<PathBuf>,
    files: u64,
}

impl Cursor {
    fn new(paths: Vec<PathBuf>, order: SiblingOrder) -> Self {
        Self {
            paths: paths.into_iter(),
            order,
            open: Vec::new(),
            to_list: VecDeque::new(),
            files: 0,
        }
    }

    fn next(&mut self) -> Option<Work> {
        loop {
            if let Some(directory) = self.to_list.pop_front() {
                return Some(Work::Directory(directory));
            }
            let (path, file_type) = if let Some((directory, children)) = self.open.last_mut() {
                let Some(child) = children.next() else {
                    self.open.pop();
                    continue;
                };
                (directory.join(&child.physical), Some(child.file_type))
            } else {
                let path = self.paths.next()?;
                let found = path.symlink_metadata().ok();
                (path, found.map(|found| found.file_type()))
            };
            match file_type {
                Some(found) if found.is_dir() => {
                    // The maker says what is wrong with a directory.
                    let children = list(&path, self.order).unwrap_or_default();
                    let below = children.iter().filter(|child| child.file_type.is_dir());
                    self.to_list
                        .extend(below.map(|child| path.join(&child.physical)));
                    self.open.push((path, children.into_iter()));
                }
                Some(found) if found.is_file() => {
                    let number = self.files;
                    self.files += 1;
                    return Some(Work::File { path, number });
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Two store paths: a directory with files and a directory, and a file.
    fn store(dir: &Path) -> Vec<PathBuf> {
        let tree = dir.join("tree");
        fs::create_dir_all(tree.join("b/c")).unwrap();
        for name in ["a", "b/1", "b/c/2", "z"] {
            fs::write(tree.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a", tree.join("link")).unwrap();
        fs::write(dir.join("file"), "file").unwrap();
        vec![tree, dir.join("file")]
    }

    #[test]
    fn files_come_in_the_order_of_the_layer() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::new(store(dir.path()), SiblingOrder::Bytes);
        let mut files = Vec::new();
        let mut directories = Vec::new();
        while let Some(work) = cursor.next() {
            let relative = |path: PathBuf| path.strip_prefix(dir.path()).unwrap().to_owned();
            match work {
                Work::Directory(path) => directories.push(relative(path)),
                Work::File { path, number } => files.push((number, relative(path))),
            }
        }
        let names = ["tree/a", "tree/b/1", "tree/b/c/2", "tree/z", "file"];
        let expected: Vec<(u64, PathBuf)> = (0..).zip(names.map(PathBuf::from)).collect();
        assert_eq!(files, expected);
        assert_eq!(directories, ["tree/b", "tree/b/c"].map(PathBuf::from));
    }

    #[test]
    fn readers_start_when_files_are_slow_and_read_what_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut ahead = ReadAhead::new(store(dir.path()), SiblingOrder::Bytes);
        let slow = FILE_ALLOWANCE + 2 * PATIENCE;
        // Slow, but not because of the disk.
        ahead.disk_bytes_before = Some(5);
        ahead.disk_bytes = || Some(5);
        ahead.file_read(1, slow);
        assert!(ahead.readers.is_none());
        ahead.disk_bytes = || Some(5 + DISK_BYTES);
        ahead.file_read(3, FILE_ALLOWANCE);
        assert!(ahead.readers.is_none());
        ahead.file_read(5, slow);
        let readers = ahead.readers.as_mut().unwrap();
        for thread in readers.threads.drain(..) {
            thread.join().unwrap();
        }
        let read: u64 = ["z", "file"].iter().map(|name| name.len() as u64).sum();
        assert_eq!(readers.shared.lock().reader_bytes, read);
    }

    #[test]
    fn readers_wait_for_the_maker_and_end_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let big = dir.path().join("big");
        let size_bytes = 2 * WINDOW_BYTES;
        File::create(&big).unwrap().set_len(size_bytes).unwrap();
        let readers = Readers::start(&[big], SiblingOrder::Bytes, 0);
        let read = || readers.shared.lock().reader_bytes;
        while read() <= WINDOW_BYTES {
            thread::yield_now();
        }
        assert!(read() <= WINDOW_BYTES + READ_BYTES);
        drop(readers);
    }
}
