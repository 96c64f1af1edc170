//! What all cases have: programs, the store, registries to push into, and the figures so far.

use super::process::{self, Usage};
use super::report::Row;
use super::store::{Made, Store};
use crate::command::{command, find_program};
use crate::scratch::Scratch;
use crate::services::Registry;
use anyhow::{Context, Result};
use serde_json::Value;
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What is asked of memory, in bytes.
const PEAK_MOST_BYTES: u64 = 128 << 20;

/// How long the counting registry may take to start.
const START_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct World {
    pub(super) nixply: PathBuf,
    /// The example `push_floor` of `benches/`.
    pub(super) floor: PathBuf,
    /// The peer's script, or why the peer cannot run.
    pub(super) peer_script: Result<PathBuf, String>,
    pub(super) scratch: Scratch,
    pub(super) store: Store,
    pub(super) is_quick: bool,
    pub(super) rows: RefCell<Vec<Row>>,
    /// The peak memory of each push.
    pub(super) peak: RefCell<Vec<(String, u64)>>,
}

/// A push of nixply.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) usage: Usage,
    /// The last value that `--json` printed: the result.
    pub(super) result: Value,
}

/// A registry that is ended and emptied when it is dropped.
pub(super) struct Fresh<'a> {
    world: &'a World,
    pub(super) host: String,
    dir: PathBuf,
}

impl World {
    pub(super) fn add(&self, row: Row) {
        row.say();
        self.rows.borrow_mut().push(row);
    }

    /// What was measured on, for the reader of the figures.
    pub(super) fn preface(&self) -> String {
        let store = &self.store;
        let made = store.with(&store.app[0]);
        let files: u64 = made.iter().map(|made| made.files).sum();
        let bytes: u64 = made.iter().map(|made| made.file_bytes).sum();
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        format!(
            "An image of {} store paths, {files} files, {:.2} GB; {} processors ({}), load {} at the start.\n",
            made.len(),
            gigabytes(bytes),
            processors(),
            cpu.trim_matches([' ', '\t', ':']),
            load.split(' ').next().unwrap_or_default(),
        )
    }

    /// A file in the scratch folder that describes an image.
    pub(super) fn closure(&self, name: &str, paths: &[&Made]) -> Result<PathBuf> {
        let file = self.scratch.dir().join(format!("{name}.json"));
        self.store.write_closure(paths, &file)?;
        Ok(file)
    }

    /// distribution with nothing in it.
    pub(super) fn distribution(&self) -> Result<Fresh<'_>> {
        let registry = Registry::start_in(&self.scratch, "distribution")?;
        Ok(Fresh {
            world: self,
            host: registry.host,
            dir: self.scratch.dir().join("distribution"),
        })
    }

    /// The registry that only counts, with nothing in it.
    pub(super) fn counting(&self) -> Result<Fresh<'_>> {
        let mut serve = command(std::env::current_exe()?, ["counting-registry"]);
        let log = self.scratch.start_service("counting", &mut serve)?;
        let start = Instant::now();
        let port = loop {
            let said = fs::read_to_string(&log)?;
            if let Some(port) = said.strip_suffix('\n') {
                break port.to_owned();
            }
            anyhow::ensure!(
                start.elapsed() < START_LIMIT,
                "the counting registry does not start"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        Ok(Fresh {
            world: self,
            host: format!("localhost:{port}"),
            dir: self.scratch.subdir("counting-data")?,
        })
    }

    /// `nixply push` as a fresh runner does it: with an empty cache.
    pub(super) fn push(&self, closure: &Path, reference: &str, options: &[&str]) -> Result<Pushed> {
        let out = self.scratch.dir().join("nixply.out");
        let mut push = self.push_command(closure, reference, options)?;
        let usage = process::run(&mut push, &out)?;
        let what = format!(
            "{} {}",
            reference.rsplit('/').next().unwrap_or_default(),
            options.join(" ")
        );
        self.peak.borrow_mut().push((what, usage.peak_bytes));
        let printed = fs::read(&out)?;
        let values = serde_json::Deserializer::from_slice(&printed).into_iter::<Value>();
        let last = values
            .last()
            .context("nixply push --json printed nothing")?;
        Ok(Pushed {
            usage,
            result: last?,
        })
    }

    /// The same under strace: the lines of its log that are about files of the store. `None` without strace.
    pub(super) fn traced_push(
        &self,
        closure: &Path,
        reference: &str,
        options: &[&str],
    ) -> Result<Option<Vec<String>>> {
        if find_program("strace").is_none() {
            return Ok(None);
        }
        let log = self.scratch.dir().join("strace.log");
        let push = self.push_command(closure, reference, options)?;
        // With -y, what is opened below an open directory has its whole path, too.
        let mut strace = command(
            "strace",
            ["-f", "-y", "-qq", "-e", "trace=open,openat,openat2", "-o"],
        );
        strace
            .arg(&log)
            .arg(push.get_program())
            .args(push.get_args());
        for (name, value) in push.get_envs() {
            if let Some(value) = value {
                strace.env(name, value);
            }
        }
        process::run(&mut strace, &self.scratch.dir().join("strace.out"))?;
        let store = format!("{}/", self.store.dir.display());
        let lines = fs::read_to_string(&log)?;
        Ok(Some(
            lines
                .lines()
                .filter(|line| line.contains(&store))
                .map(str::to_owned)
                .collect(),
        ))
    }

    fn push_command(&self, closure: &Path, reference: &str, options: &[&str]) -> Result<Command> {
        let home = self.scratch.dir().join("runner");
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        fs::create_dir(&home)?;
        let mut push = command(&self.nixply, ["push", "--json", "--quiet"]);
        push.arg(closure)
            .arg(reference)
            .args(options)
            .env("HOME", &home)
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_CONFIG_HOME", home.join("config"));
        Ok(push)
    }

    /// Reads the store, so that what follows finds it in memory. Having been read a minute ago is not enough: a system may take
    /// the memory of files back that nobody has read for some seconds (Linux does, where `damon_reclaim` is on).
    pub(super) fn warm(&self) -> Result<()> {
        let store = self.store.dir.display().to_string();
        self.floor_lines(&["read", &store, "2"]).map(drop)
    }

    /// One of the numbers that `push_floor` prints a line of.
    pub(super) fn floor_lines(&self, args: &[&str]) -> Result<Vec<Vec<String>>> {
        let printed = crate::command::text(&mut command(&self.floor, args))?;
        Ok(printed
            .lines()
            .map(|line| line.split(' ').map(str::to_owned).collect())
            .collect())
    }

    /// The figure of memory, of all pushes together.
    pub(super) fn add_peak(&self) {
        let peaks = self.peak.borrow();
        let Some((what, bytes)) = peaks.iter().max_by_key(|(_, bytes)| *bytes) else {
            return;
        };
        self.add(Row::new(
            "peak memory of nixply, the most of all pushes",
            format!("{:.0} MiB ({what})", mebibytes(*bytes)),
            "at most 128 MiB",
            *bytes <= PEAK_MOST_BYTES,
        ));
    }
}

impl Fresh<'_> {
    /// The bytes of the blobs that distribution holds.
    pub(super) fn blob_bytes(&self) -> Result<u64> {
        let blobs = self.dir.join("data/docker/registry/v2/blobs");
        let find = command("find", ["-name", "data", "-type", "f", "-printf", "%s\n"])
            .current_dir(&blobs)
            .output()?;
        let text = String::from_utf8_lossy(&find.stdout).into_owned();
        text.lines().map(|line| Ok(line.parse::<u64>()?)).sum()
    }
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        self.world.scratch.stop_last_service();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// As many as the push has for itself.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
pub(super) fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
