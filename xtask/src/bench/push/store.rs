//! A store to push: trees of what is installed here, as store paths.
//!
//! Interpreters' trees and then Debian packages, biggest first, until there are some 2.5 GB. What is in it follows from what is
//! installed; its listing is kept beside it, and it is made again when that would differ. It lies in cargo's target
//! directory, never in `/nix/store`, and stays there for the next run.

use super::nar;
use crate::command::{self, command, find_program};
use crate::say::say;
use anyhow::{Context, Result, ensure};
use nixply_store::NarHash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Raised when the same sources make another store.
const VERSION: u32 = 5;

/// How many bytes the files of the store hold, about.
const FULL_BYTES: u64 = 2_500_000_000;
/// The same with `--quick`.
const QUICK_BYTES: u64 = 200_000_000;

/// Packages above this are left out, so that there are some dozens of store paths and some ten thousands of files.
const PACKAGE_MOST_KIB: u64 = 100_000;

/// The program that changes in every version; the case is a path of 30 MB.
const APP_KIB: u64 = 30_000;

/// Names that are never copied: bulky, and other at each look.
const LEFT_OUT: [&str; 3] = ["site-packages", "dist-packages", "__pycache__"];

/// The store, and what is in it.
#[derive(Debug)]
pub(super) struct Store {
    /// The store directory.
    pub(super) dir: PathBuf,
    /// What every image holds.
    pub(super) shared: Vec<Made>,
    /// The program of project A, in two versions.
    pub(super) app: [Made; 2],
    /// The program of project B.
    pub(super) other_app: Made,
}

/// A store path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) base_name: String,
    pub(super) nar_hash: String,
    pub(super) nar_size_bytes: u64,
    pub(super) files: u64,
    pub(super) file_bytes: u64,
}

/// What is kept beside the store.
#[derive(Debug, Serialize, Deserialize)]
struct Listing {
    version: u32,
    sources: Vec<String>,
    shared: Vec<Made>,
    app: [Made; 2],
    other_app: Made,
}

/// Something that is installed.
enum Source {
    /// All of a directory.
    Tree { name: String, dir: PathBuf },
    /// The files of a Debian package.
    Package {
        name: String,
        version: String,
        size_kib: u64,
    },
}

impl Store {
    /// Makes the store in a folder, unless it is there from an earlier run.
    pub(super) fn make(folder: &Path, is_quick: bool) -> Result<Store> {
        let goal_bytes = if is_quick { QUICK_BYTES } else { FULL_BYTES };
        let sources = sources(is_quick)?;
        let names: Vec<String> = sources.iter().map(Source::name).collect();
        let dir = folder.join("store");
        let listing_file = folder.join("listing.json");
        if let Some(listing) = read_listing(&listing_file)
            && listing.version == VERSION
            && listing.sources == names
        {
            return Ok(Store::of_listing(dir, listing));
        }
        say(format!(
            "Making a store of what is installed here in {}",
            dir.display()
        ));
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(&dir)?;
        let mut listing = None;
        let mut shared: Vec<Made> = Vec::new();
        let app = sources
            .iter()
            .min_by_key(|source| source.size_kib().abs_diff(APP_KIB));
        let app = app.context("nothing is installed that a store can be made of")?;
        for source in &sources {
            let so_far: u64 = shared.iter().map(|made| made.file_bytes).sum();
            if so_far >= goal_bytes {
                break;
            }
            if source.name() != app.name() {
                shared.push(make(source, &source.name(), None, &dir)?);
            }
        }
        let apps = [
            ("app-1", None),
            ("app-2", Some("2")),
            ("other-app-1", Some("other")),
        ];
        let [one, two, other] = apps.map(|(name, mark)| make(app, name, mark, &dir));
        listing.get_or_insert(Listing {
            version: VERSION,
            sources: names,
            shared,
            app: [one?, two?],
            other_app: other?,
        });
        let listing = listing.context("just made")?;
        fs::write(&listing_file, serde_json::to_vec_pretty(&listing)?)?;
        Ok(Store::of_listing(dir, listing))
    }

    fn of_listing(dir: PathBuf, listing: Listing) -> Store {
        Store {
            dir,
            shared: listing.shared,
            app: listing.app,
            other_app: listing.other_app,
        }
    }

    /// What the image of a program holds: the program, and all that is shared.
    pub(super) fn with<'a>(&'a self, app: &'a Made) -> Vec<&'a Made> {
        std::iter::once(app).chain(&self.shared).collect()
    }

    /// Where a store path lies.
    pub(super) fn path(&self, made: &Made) -> PathBuf {
        self.dir.join(&made.base_name)
    }

    /// Writes what `nix path-info --json` would print of a closure whose root is the first path and refers to the others.
    pub(super) fn write_closure(&self, paths: &[&Made], to: &Path) -> Result<()> {
        let path = |made: &&Made| self.path(made).display().to_string();
        let infos: Vec<serde_json::Value> = paths
            .iter()
            .enumerate()
            .map(|(n, made)| {
                let references: Vec<String> = match n {
                    0 => paths[1..].iter().map(path).collect(),
                    _ => Vec::new(),
                };
                serde_json::json!({
                    "path": path(made), "narHash": made.nar_hash, "narSize": made.nar_size_bytes, "references": references,
                })
            })
            .collect();
        Ok(fs::write(to, serde_json::to_vec(&infos)?)?)
    }
}

impl Source {
    fn name(&self) -> String {
        match self {
            Source::Tree { name, .. } => name.clone(),
            Source::Package { name, version, .. } => {
                let is_of_name = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
                let version = version.replace(|c: char| !is_of_name(c), "-");
                format!("{name}-{version}")
            }
        }
    }

    fn size_kib(&self) -> u64 {
        match self {
            Source::Tree { .. } => u64::MAX,
            Source::Package { size_kib, .. } => *size_kib,
        }
    }
}

fn read_listing(file: &Path) -> Option<Listing> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// All that a store may be made of, in the order in which it is taken.
fn sources(is_quick: bool) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    if !is_quick {
        let trees: [(&str, &str, &[&str], &str); 3] = [
            ("go", "go", &["env", "GOROOT"], ""),
            (
                "python",
                "python3",
                &[
                    "-c",
                    "import sysconfig; print(sysconfig.get_path('stdlib'))",
                ],
                "",
            ),
            ("rust", "rustc", &["--print", "sysroot"], "lib/rustlib"),
        ];
        for (name, program, args, below) in trees {
            if find_program(program).is_none() {
                continue;
            }
            let dir = PathBuf::from(command::text(&mut command(program, args))?).join(below);
            let version = dir
                .to_string_lossy()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            sources.push(Source::Tree {
                name: format!("{name}-tree{version}"),
                dir,
            });
        }
    }
    sources.extend(packages()?);
    ensure!(
        !sources.is_empty(),
        "neither Debian packages nor Go, Python or Rust are here to make a store of"
    );
    Ok(sources)
}

/// The installed packages of Debian itself, biggest first: what others pack for Debian is mostly one compressed program, as no Nix
/// package is.
fn packages() -> Result<Vec<Source>> {
    if find_program("dpkg-query").is_none() {
        return Ok(Vec::new());
    }
    let format = "${Installed-Size}\t${Package}\t${Architecture}\t${Version}\t${Maintainer}\n";
    let installed = command::text(&mut command(
        "dpkg-query",
        ["--show", "--showformat", format],
    ))?;
    let own = command::text(&mut command("dpkg", ["--print-architecture"]))?;
    let mut packages: Vec<Source> = installed
        .lines()
        .filter_map(|line| {
            let [size_kib, name, architecture, version, maintainer] =
                line.split('\t').collect::<Vec<_>>()[..]
            else {
                return None;
            };
            let size_kib = size_kib
                .parse()
                .ok()
                .filter(|kib| *kib <= PACKAGE_MOST_KIB)?;
            let is_debians = maintainer.to_lowercase().contains("debian");
            (is_debians && ["all", &own].contains(&architecture)).then(|| Source::Package {
                name: name.to_owned(),
                version: version.to_owned(),
                size_kib,
            })
        })
        .collect();
    packages.sort_by(|a, b| {
        b.size_kib()
            .cmp(&a.size_kib())
            .then_with(|| a.name().cmp(&b.name()))
    });
    Ok(packages)
}

/// Files with several names: device and inode (inode(7)).
type Seen = BTreeSet<(u64, u64)>;

/// Copies a source into the store. A `mark` is written behind every file, which makes all of it another path.
fn make(source: &Source, name: &str, mark: Option<&str>, store_dir: &Path) -> Result<Made> {
    let new = store_dir.join(".new");
    fs::create_dir(&new)?;
    let mut seen = Seen::new();
    match source {
        Source::Tree { dir, .. } => copy_tree(dir, &new, mark, &mut seen)?,
        Source::Package { name, .. } => {
            let listed = command::text(&mut command("dpkg", ["--listfiles", name]))?;
            for file in listed.lines().filter_map(|line| line.strip_prefix('/')) {
                // What a package lists may have been removed. `/lib` and the like are links into `/usr`, not the package's.
                let from = Path::new("/").join(file);
                let Ok(metadata) = from.symlink_metadata() else {
                    continue;
                };
                if !metadata.is_symlink() || file.contains('/') {
                    copy(&from, &metadata, &new.join(file), mark, &mut seen)?;
                }
            }
        }
    }
    let found = nar::read(&new)?;
    let made = Made {
        base_name: format!("{}-{name}", digits(&found.sha256)),
        nar_hash: NarHash::from_bytes(found.sha256).to_string(),
        nar_size_bytes: found.size_bytes,
        files: found.files,
        file_bytes: found.file_bytes,
    };
    fs::rename(&new, store_dir.join(&made.base_name))?;
    Ok(made)
}

/// The hash part of a store path: 32 digits of the alphabet that Nix uses.
fn digits(sha256: &[u8; 32]) -> String {
    let alphabet = b"0123456789abcdfghijklmnpqrsvwxyz";
    sha256
        .iter()
        .map(|byte| char::from(alphabet[usize::from(byte % 32)]))
        .collect()
}

fn copy_tree(from: &Path, to: &Path, mark: Option<&str>, seen: &mut Seen) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        let metadata = from.symlink_metadata()?;
        copy(&from, &metadata, &to, mark, seen)?;
        if metadata.is_dir() {
            copy_tree(&from, &to, mark, seen)?;
        }
    }
    Ok(())
}

/// Copies one entry; what is neither a directory, a file nor a symbolic link is left out, and so is what may not be read.
fn copy(
    from: &Path,
    metadata: &fs::Metadata,
    to: &Path,
    mark: Option<&str>,
    seen: &mut Seen,
) -> Result<()> {
    let failed = || format!("cannot copy {}", from.display());
    if metadata.is_dir() {
        return fs::create_dir_all(to).with_context(failed);
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(failed)?;
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).with_context(failed)?;
        return symlink(target, to).with_context(failed);
    }
    // One of a file's names is enough: some packages have a dozen for one big file.
    if !metadata.is_file()
        || (metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())))
    {
        return Ok(());
    }
    match fs::copy(from, to) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
        copied => copied.with_context(failed)?,
    };
    if let Some(mark) = mark {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(to)
            .with_context(failed)?;
        file.write_all(mark.as_bytes()).with_context(failed)?;
    }
    Ok(())
}
