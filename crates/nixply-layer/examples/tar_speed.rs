//! Measures walk, read and tar of store paths, by this crate and by the `tar` crate, to nothing.
//!
//! `cargo run --release -p nixply-layer --example tar_speed -- STORE_DIR [ROUNDS]` takes every store path that lies
//! in `STORE_DIR`. The rounds alternate; the best of each counts (docs/decisions/0002-tar-writer.md).

use nixply_layer::{
    Compression, LayerContents, LayerFormat, LayerSpec, StorePathContent, StoreRoot,
    write_layer_tar,
};
use nixply_store::{NarHash, StoreDir, StorePath};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Counts bytes and drops them.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("expected a store directory")?;
    let rounds: u32 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let directory = Path::new(&directory);
    let mut paths: Vec<StorePath> = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        // Locks, links and what else stands in a store are no store paths.
        paths.extend(StorePath::new(&entry?.file_name().to_string_lossy()));
    }
    paths.retain(|path| !path.name().as_bytes().ends_with(b".lock"));
    paths.sort();
    let content = |path: &StorePath| StorePathContent {
        path: path.clone(),
        nar_hash: NarHash::from_bytes([0; 32]),
        nar_size_bytes: 0,
        permissions: Vec::new(),
    };
    let spec = LayerSpec {
        contents: LayerContents::Store {
            store_dir: StoreDir::default(),
            paths: paths.iter().map(content).collect(),
        },
        format: LayerFormat::Nixply,
        compression: Compression::None,
    };
    let store = StoreRoot::new(StoreDir::default(), directory.to_owned());
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    let mut sizes = (0, 0);
    for _ in 0..rounds {
        let start = Instant::now();
        let mut counter = Counter(0);
        write_layer_tar(&spec, &store, &mut counter)?;
        ours = ours.min(start.elapsed());
        sizes.0 = counter.0;

        let start = Instant::now();
        let mut counter = Counter(0);
        let mut builder = tar::Builder::new(&mut counter);
        builder.follow_symlinks(false);
        builder.mode(tar::HeaderMode::Deterministic);
        for path in &paths {
            let (source, name) = (
                directory.join(path.base_name()),
                format!("nix/store/{path}"),
            );
            if source.is_symlink() || !source.is_dir() {
                builder.append_path_with_name(source, name)?;
            } else {
                builder.append_dir_all(name, source)?;
            }
        }
        builder.finish()?;
        drop(builder);
        theirs = theirs.min(start.elapsed());
        sizes.1 = counter.0;
    }
    let mut stdout = io::stdout().lock();
    for (name, size, time) in [
        ("nixply-layer", sizes.0, ours),
        ("tar crate", sizes.1, theirs),
    ] {
        let mb_per_s = u128::from(size) / time.as_micros().max(1);
        writeln!(
            stdout,
            "{name:<12} {size:>11} bytes {:>6} ms {mb_per_s:>6} MB/s",
            time.as_millis()
        )?;
    }
    Ok(())
}
