//! What no push of a store can do without, for `cargo xtask bench push`.
//!
//! `push_floor hash-and-compress CLOSURE COMPRESSION…` prints, for each compression, the CPU seconds of hashing the layers'
//! tars, compressing them and hashing the result, on as many threads as there are processors, each with layers of its own;
//! reading files and writing tars is not counted. The encoders are those that nixply uses, each kept by its thread, without any
//! of nixply's pipeline.
//!
//! `push_floor read DIRECTORY THREADS` prints how many bytes the files of a tree hold and how many seconds that many threads took
//! to read them.

use nixply_image::{LayerFormatRecord, OnCollision, PlanOptions, plan_image};
use nixply_layer::{Compression, LayerSpec, StoreRoot, write_layer_tar};
use nixply_oci::{Platform, RuntimeConfig};
use nixply_pack::Packer;
use nixply_store::read_closure;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much a reader reads at once.
const READ_BYTES: usize = 256 << 10;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = match words[..] {
        ["hash-and-compress", closure, ref compressions @ ..] => floor(closure, compressions)?,
        ["read", directory, threads] => read(Path::new(directory), threads.parse()?)?,
        _ => {
            return Err(
                "expected `hash-and-compress CLOSURE COMPRESSION…` or `read DIRECTORY THREADS`"
                    .into(),
            );
        }
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn floor(closure: &str, compressions: &[&str]) -> Result<String, Failure> {
    let closure = read_closure(&fs::read(closure)?)?;
    let store = StoreRoot::at_own_path(closure.store_dir().clone());
    let plan = plan_image(Some(&closure), plan_options())?;
    let mut specs: Vec<LayerSpec> = plan.layer_specs()?.into_iter().flatten().collect();
    specs.sort_by_key(LayerSpec::weight_bytes);
    specs.reverse();
    let threads = thread::available_parallelism()?.get();
    let mut text = String::new();
    for name in compressions {
        let compression: Compression = name.parse()?;
        let next = AtomicUsize::new(0);
        let work = || -> Result<(Duration, u64), Failure> {
            let mut counted = Counted::new(compression)?;
            while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed)) {
                write_layer_tar(spec, &store, &mut counted)?;
                counted.end_layer()?;
            }
            Ok((counted.cpu, counted.compressed_bytes))
        };
        let (mut cpu, mut bytes) = (Duration::ZERO, 0);
        for done in in_threads(threads, &work) {
            let (thread_cpu, thread_bytes) = done?;
            cpu += thread_cpu;
            bytes += thread_bytes;
        }
        writeln!(text, "{name} {} {bytes}", cpu.as_secs_f64())?;
    }
    Ok(text)
}

fn plan_options() -> PlanOptions {
    PlanOptions {
        packer: Packer::Solo,
        max_layers: nixply_image::DEFAULT_MAX_LAYERS,
        volatile: Vec::new(),
        catalog: None,
        prior: Vec::new(),
        pipeline: None,
        compression: Compression::None,
        layer_format: LayerFormatRecord::Nixply,
        platform: Platform::linux("amd64"),
        config: RuntimeConfig::default(),
        layer_tars: Vec::new(),
        nix_database: None,
        base: None,
        root_files: Vec::new(),
        contents: Vec::new(),
        on_collision: OnCollision::Error,
        store: StoreRoot::default(),
        permissions: std::collections::BTreeMap::new(),
        name: None,
        tag: None,
        created: None,
        annotations: BTreeMap::new(),
        tool: None,
    }
}

fn in_threads<T: Send>(threads: usize, work: &(dyn Fn() -> T + Sync)) -> Vec<T> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    })
}

/// Hashes and compresses what is written, and counts what that takes.
struct Counted {
    compression: Compression,
    encoder: Encoder,
    piece: Vec<u8>,
    compressed: Vec<u8>,
    tar: Sha256,
    wire: Sha256,
    cpu: Duration,
    compressed_bytes: u64,
}

enum Encoder {
    None,
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Counted {
    fn new(compression: Compression) -> Result<Self, Failure> {
        let encoder = match compression {
            Compression::None => Encoder::None,
            Compression::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(i32::try_from(level)?);
                Encoder::Gzip(libdeflater::Compressor::new(
                    level.map_err(|_| "no such level")?,
                ))
            }
            Compression::Zstd { level } => Encoder::Zstd(zstd::bulk::Compressor::new(level)?),
        };
        Ok(Self {
            compression,
            encoder,
            piece: Vec::new(),
            compressed: Vec::new(),
            tar: Sha256::new(),
            wire: Sha256::new(),
            cpu: Duration::ZERO,
            compressed_bytes: 0,
        })
    }

    fn end_piece(&mut self) -> io::Result<()> {
        let start = thread_cpu()?;
        self.tar.update(&self.piece);
        let size_bytes = match &mut self.encoder {
            // The tar is the blob: one hash.
            Encoder::None => self.piece.len(),
            Encoder::Gzip(encoder) => {
                let bound = encoder.gzip_compress_bound(self.piece.len());
                self.compressed.resize(bound.max(self.compressed.len()), 0);
                let written = encoder.gzip_compress(&self.piece, &mut self.compressed);
                let written = written.map_err(io::Error::other)?;
                self.wire.update(&self.compressed[..written]);
                written
            }
            Encoder::Zstd(encoder) => {
                let bound = zstd::zstd_safe::compress_bound(self.piece.len());
                self.compressed.resize(bound.max(self.compressed.len()), 0);
                let written = encoder.compress_to_buffer(&self.piece, &mut self.compressed[..])?;
                self.wire.update(&self.compressed[..written]);
                written
            }
        };
        self.cpu += thread_cpu()?.saturating_sub(start);
        self.compressed_bytes += size_bytes as u64;
        self.piece.clear();
        Ok(())
    }

    fn end_layer(&mut self) -> io::Result<()> {
        self.end_piece()?;
        self.tar.reset();
        self.wire.reset();
        Ok(())
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = self.compression.member_size_bytes().unwrap_or(1 << 20);
        let taken = bytes.len().min(full - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == full {
            self.end_piece()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long the calling thread has run (the first number of schedstat, Linux' Documentation/scheduler/sched-stats.rst).
fn thread_cpu() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| io::Error::other("schedstat holds no number"))
}

fn read(directory: &Path, threads: usize) -> Result<String, Failure> {
    let start = Instant::now();
    let queue = Queue::new(directory.to_owned());
    let bytes = AtomicU64::new(0);
    let work = || -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        while let Some(path) = queue.take() {
            let read = visit(&path, &queue, &mut buffer);
            queue.done();
            bytes.fetch_add(read?, Ordering::Relaxed);
        }
        Ok(())
    };
    for done in in_threads(threads, &work) {
        done?;
    }
    Ok(format!(
        "{} {}\n",
        bytes.into_inner(),
        start.elapsed().as_secs_f64()
    ))
}

/// Reads a file, or queues what a directory holds.
fn visit(path: &Path, queue: &Queue, buffer: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file_type = entry.file_type()?;
        if file_type.is_dir() {
            queue.add(entry.path());
        } else if file_type.is_file() {
            let mut file = File::open(entry.path())?;
            loop {
                let got = file.read(buffer)?;
                bytes += got as u64;
                if got == 0 {
                    break;
                }
            }
        }
    }
    Ok(bytes)
}

/// Directories that wait for a reader.
struct Queue {
    state: Mutex<(Vec<PathBuf>, usize)>,
    changed: Condvar,
}

impl Queue {
    fn new(first: PathBuf) -> Self {
        Self {
            state: Mutex::new((vec![first], 1)),
            changed: Condvar::new(),
        }
    }

    fn add(&self, path: PathBuf) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.push(path);
        state.1 += 1;
        self.changed.notify_one();
    }

    /// The next directory; `None` once all are done.
    fn take(&self) -> Option<PathBuf> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(path) = state.0.pop() {
                return Some(path);
            }
            if state.1 == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 -= 1;
        if state.1 == 0 {
            self.changed.notify_all();
        }
    }
}
