//! Putting finished tars over a base image: through its symbolic links, and without changing its directories.
//!
//! A tar is a script's work on a tree of its own, in which `bin` is a directory whatever the base has there. What would damage
//! the base is written down as a [`TarPlacement`], by which the tar is rewritten whenever the layer is made; a tar that damages
//! nothing stays as it is, byte for byte.

use super::error::LinkProblem;
use super::follow::{follow, target_elsewhere};
use super::over::is_in;
use super::{BaseError, BaseTree, TreeReader};
use crate::root_file::parse_mode;
use nixply_layer::{
    FinishedTar, PlacedDirectory, StoredEntry, StoredEntryKind, TarPlacement, hash_placed,
    plain_name, read_placed_entries,
};
use nixply_oci::Digest;
use nixply_store::StoreDir;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

/// The name that hides another one of the layers below begins with this.
const WHITEOUT: &[u8] = b".wh.";

/// The name that hides all that the layers below have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// How much is read at once. Chosen, not measured: far above the cost of a call.
const BUFFER_BYTES: usize = 128 << 10;

/// Finds the place of each entry of tars above what `tree` tells, the first tar lowest, and the hash that each tar then has.
pub(crate) fn put_tars_over(
    tars: Vec<FinishedTar>,
    mut tree: BaseTree,
    store_dir: &StoreDir,
) -> Result<Vec<FinishedTar>, BaseError> {
    let mut left = tars.len();
    let mut placed = Vec::with_capacity(left);
    for tar in tars {
        left -= 1;
        let entries = Entries::read(&tar)?;
        let placement = placement(&entries, &tree, store_dir, &tar.path)?;
        if left > 0 {
            tree = tree_with(&tree, &tar, &placement, store_dir)?;
        }
        placed.push(with_placement(tar, placement)?);
    }
    Ok(placed)
}

/// What the next tar stands above.
fn tree_with(
    tree: &BaseTree,
    tar: &FinishedTar,
    placement: &TarPlacement,
    store_dir: &StoreDir,
) -> Result<BaseTree, BaseError> {
    let mut reader = TreeReader::above(tree, store_dir.clone());
    let file = File::open(&tar.path).map_err(|error| unusable(&tar.path, error))?;
    let wants_text = TreeReader::wants_text;
    read_placed_entries(file, placement, wants_text, &mut |entry| reader.add(entry))
        .map_err(|error| unusable(&tar.path, error))?;
    reader.end_layer();
    Ok(reader.finish())
}

fn with_placement(tar: FinishedTar, placement: TarPlacement) -> Result<FinishedTar, BaseError> {
    if placement.is_empty() {
        return Ok(tar);
    }
    let failed = |source: io::Error| unusable(&tar.path, source);
    let file = File::open(&tar.path).map_err(failed)?;
    let file = BufReader::with_capacity(BUFFER_BYTES, file);
    let (diff_id, size_bytes) = hash_placed(file, &placement).map_err(failed)?;
    Ok(FinishedTar {
        diff_id,
        size_bytes,
        placement,
        ..tar
    })
}

fn unusable(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> BaseError {
    BaseError::Tar {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

/// What a tar has, by names without dots.
#[derive(Debug, Default)]
struct Entries {
    /// Directories that are entries, with what they say of themselves.
    directories: BTreeMap<Vec<u8>, PlacedDirectory>,
    /// All that is no directory.
    files: BTreeSet<Vec<u8>>,
    /// What those of them that are symbolic links say.
    symlinks: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What the tar takes away from the layers below it.
    whiteouts: Whiteouts,
}

/// What a tar takes away from the layers below it.
#[derive(Debug, Default)]
struct Whiteouts {
    hidden: BTreeSet<Vec<u8>>,
    /// Directories of which all is taken away that they hold.
    emptied: BTreeSet<Vec<u8>>,
}

impl Whiteouts {
    /// As they are in the image.
    fn placed(&self, placement: &TarPlacement) -> Self {
        let hidden = self.hidden.iter().map(|name| {
            // What is hidden is a link itself, and not what it leads to.
            let (parent, base_name) = split(name);
            join(&placement.place(parent), base_name)
        });
        let emptied = self.emptied.iter();
        Self {
            hidden: hidden.collect(),
            emptied: emptied
                .map(|name| placement.place(name).into_owned())
                .collect(),
        }
    }

    /// Whether what the layers below have at a path is taken away.
    fn take_away(&self, path: &[u8]) -> bool {
        self.emptied.contains(&b""[..])
            || self.hidden.contains(path)
            || ancestors(path).any(|path| self.hidden.contains(path) || self.emptied.contains(path))
    }
}

impl Entries {
    fn read(tar: &FinishedTar) -> Result<Self, BaseError> {
        let mut entries = Self::default();
        let file = File::open(&tar.path).map_err(|error| unusable(&tar.path, error))?;
        let as_it_is = TarPlacement::default();
        let mut add = |entry| entries.add(&entry);
        let found = read_placed_entries(file, &as_it_is, |_| false, &mut add)
            .map_err(|error| unusable(&tar.path, error))?;
        if found == tar.diff_id {
            return Ok(entries);
        }
        Err(BaseError::Bytes {
            expected: Digest::from_bytes(*tar.diff_id.as_bytes()),
            found: Digest::from_bytes(*found.as_bytes()),
        })
    }

    /// Takes an entry, unless it is the root, or has a name that stays as it is.
    fn add(&mut self, entry: &StoredEntry) {
        let Some(name) = plain_name(&entry.name).filter(|name| !name.is_empty()) else {
            return;
        };
        if entry.kind == StoredEntryKind::Directory {
            let StoredEntry { mode, uid, gid, .. } = *entry;
            self.directories
                .insert(name, PlacedDirectory { mode, uid, gid });
            return;
        }
        let (parent, base_name) = split(&name);
        if base_name == OPAQUE {
            self.whiteouts.emptied.insert(parent.to_vec());
        } else if let Some(hidden) = base_name.strip_prefix(WHITEOUT) {
            self.whiteouts.hidden.insert(join(parent, hidden));
        }
        if let StoredEntryKind::Symlink { target } = &entry.kind {
            self.symlinks.insert(name.clone(), target.clone());
        } else {
            self.symlinks.remove(&name);
        }
        self.files.insert(name);
    }

    /// Whether a link of the base is still there above the tar: neither replaced nor taken away, nor what holds it.
    fn leaves(&self, link: &str) -> bool {
        let link = link.as_bytes();
        let mut all = ancestors(link).chain([link]);
        // An opaque directory has nothing of what is below it: it is there in place of the link.
        let is_replaced =
            self.directories.contains_key(link) && self.whiteouts.emptied.contains(link);
        !is_replaced
            && !self.whiteouts.take_away(link)
            && all.all(|path| !self.files.contains(path))
    }

    /// Every directory that an entry is or stands in, each after the one that holds it.
    fn all_directories(&self) -> BTreeSet<&[u8]> {
        let own = self.directories.keys().map(Vec::as_slice);
        let names = own.clone().chain(self.files.iter().map(Vec::as_slice));
        own.chain(names.flat_map(ancestors)).collect()
    }
}

fn placement(
    entries: &Entries,
    tree: &BaseTree,
    store_dir: &StoreDir,
    tar: &Path,
) -> Result<TarPlacement, BaseError> {
    let link = |at: &str| {
        let target = tree.links.get(at)?;
        entries.leaves(at).then_some(target.as_str())
    };
    let mut placement = TarPlacement::default();
    let directories = entries.all_directories();
    for directory in &directories {
        // A link of the base that is not text leads nowhere.
        let Ok(directory) = std::str::from_utf8(directory) else {
            continue;
        };
        let failed = |link, problem| BaseError::TarLink {
            tar: tar.to_owned(),
            path: directory.to_owned(),
            link,
            problem,
        };
        let followed = follow(directory, true, &link)
            .map_err(|nowhere| failed(nowhere.link, nowhere.problem))?;
        if let Some(link) = followed.first_link {
            if is_in(&followed.place, store_dir) {
                return Err(failed(link, LinkProblem::IntoStore));
            }
            if *placement.place(directory.as_bytes()) != *followed.place.as_bytes() {
                placement.moved.insert(directory.to_owned(), followed.place);
            }
        }
    }
    placement.targets = kept_targets(entries, &placement, &link);
    check_emptied(entries, &placement, tar)?;
    check_places(entries, &placement, tar)?;
    check_directories(entries, &placement, tree, tar)?;
    keep_unusual(entries, &directories, tree, &mut placement);
    Ok(placement)
}

/// What links say that stand elsewhere than in the tar, where they would lead elsewhere from there. A link that is not text stays
/// as it is.
fn kept_targets<'l>(
    entries: &Entries,
    placement: &TarPlacement,
    link: &dyn Fn(&str) -> Option<&'l str>,
) -> BTreeMap<String, String> {
    let lead = |path: &str| Some(follow(path, true, link).ok()?.place);
    let kept = entries.symlinks.iter().filter_map(|(name, target)| {
        let place = placement.place(name);
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let target = target_elsewhere(text(name)?, text(&place)?, text(target)?, &lead)?;
        Some((text(name)?.to_owned(), target))
    });
    kept.collect()
}

/// No opaque whiteout empties what a link of the base leads to.
fn check_emptied(entries: &Entries, placement: &TarPlacement, tar: &Path) -> Result<(), BaseError> {
    for directory in &entries.whiteouts.emptied {
        let (parent, base_name) = split(directory);
        let itself = join(&placement.place(parent), base_name);
        if *placement.place(directory) != *itself {
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            return Err(BaseError::TarLink {
                tar: tar.to_owned(),
                path: text(directory),
                link: text(&itself),
                problem: LinkProblem::Emptied,
            });
        }
    }
    Ok(())
}

/// No two entries come to stand at one place, but directories.
fn check_places(entries: &Entries, placement: &TarPlacement, tar: &Path) -> Result<(), BaseError> {
    if placement.moved.is_empty() {
        return Ok(());
    }
    let mut taken: BTreeMap<Vec<u8>, (&[u8], bool)> = BTreeMap::new();
    let files = entries.files.iter().map(|name| (name.as_slice(), false));
    let directories = entries
        .directories
        .keys()
        .map(|name| (name.as_slice(), true));
    for (name, is_directory) in files.chain(directories) {
        let place = placement.place(name).into_owned();
        let Some((first, is_first_directory)) = taken.insert(place.clone(), (name, is_directory))
        else {
            continue;
        };
        if first != name && !(is_directory && is_first_directory) {
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            return Err(BaseError::TarSamePlace {
                tar: tar.to_owned(),
                first: text(first),
                second: text(name),
                place: text(&place),
            });
        }
    }
    Ok(())
}

/// No file or link replaces a directory that no whiteout has taken away.
fn check_directories(
    entries: &Entries,
    placement: &TarPlacement,
    tree: &BaseTree,
    tar: &Path,
) -> Result<(), BaseError> {
    let whiteouts = entries.whiteouts.placed(placement);
    for name in &entries.files {
        let place = placement.place(name);
        let Ok(path) = std::str::from_utf8(&place) else {
            continue;
        };
        if tree.is_directory(path) && !whiteouts.take_away(&place) {
            let name = String::from_utf8_lossy(name);
            return Err(BaseError::HidesDirectory {
                what: format!("`{name}` of the layer tar `{}`", tar.display()),
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

/// Lists the directories that the base has with an unusual mode or owner and of which the tar says nothing.
fn keep_unusual(
    entries: &Entries,
    directories: &BTreeSet<&[u8]>,
    tree: &BaseTree,
    placement: &mut TarPlacement,
) {
    let says_something =
        |(_, owner): &(&Vec<u8>, &PlacedDirectory)| **owner != PlacedDirectory::USUAL;
    let told: BTreeSet<Vec<u8>> = (entries.directories.iter())
        .filter(says_something)
        .map(|(name, _)| placement.place(name).into_owned())
        .collect();
    let mut kept = BTreeMap::new();
    for directory in directories {
        let place = placement.place(directory);
        for place in ancestors(&place).chain([&*place]) {
            let Ok(text) = std::str::from_utf8(place) else {
                continue;
            };
            if let Some(owner) = tree.directories.get(text)
                && !told.contains(place)
                && let Some(mode) = parse_mode(&owner.mode)
            {
                let (uid, gid) = (owner.uid, owner.gid);
                kept.insert(text.to_owned(), PlacedDirectory { mode, uid, gid });
            }
        }
    }
    placement.directories = kept;
}

/// The directories that a path stands in, outermost first, without the root.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate();
    ends.filter(|(_, byte)| **byte == b'/')
        .map(|(end, _)| &path[..end])
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(end) => (&path[..end], &path[end + 1..]),
        None => (b"", path),
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `usr/bin/` a directory with mode 0755, `tmp/=1777` one with another mode, `a -> b` a link, anything else a file.
    fn placed(lines: &[&str]) -> Result<TarPlacement, String> {
        let mut entries = Entries::default();
        for line in lines {
            let (name, mode) = line.split_once('=').unwrap_or((line, "755"));
            let (name, target) = name.split_once(" -> ").unwrap_or((name, ""));
            let kind = if name.ends_with('/') {
                StoredEntryKind::Directory
            } else if !target.is_empty() {
                let target = target.as_bytes().to_vec();
                StoredEntryKind::Symlink { target }
            } else {
                StoredEntryKind::Other
            };
            entries.add(&StoredEntry {
                name: name.as_bytes().to_vec(),
                kind,
                mode: u32::from_str_radix(mode, 8).unwrap(),
                uid: 0,
                gid: 0,
            });
        }
        let tree = r#"{
            "links": {
                "bin": "usr/bin", "lib": "/usr/lib", "usr/lib64": "../lib", "usr/bin/X11": ".",
                "a": "a", "sw": "/nix/store/x/bin", "all": "/"
            },
            "directories": {
                "tmp": {"mode": "1777", "uid": 0, "gid": 0},
                "usr/lib": {"mode": "0750", "uid": 1, "gid": 2}
            },
            "usual_directories": {"": "opt/srv/usr", "usr": "bin", "usr/bin": "sub"}
        }"#;
        let tree: BaseTree = serde_json::from_str(tree).unwrap();
        let tar = Path::new("/x/layer.tar");
        placement(&entries, &tree, &StoreDir::default(), tar).map_err(|error| error.to_string())
    }

    fn moved(lines: &[&str]) -> Vec<String> {
        let moved = placed(lines).unwrap().moved.into_iter();
        moved.map(|(from, to)| format!("{from} -> {to}")).collect()
    }

    #[test]
    fn directories_go_through_links_and_what_is_in_them() {
        assert_eq!(
            moved(&["./", "./bin/", "./bin/sh", "./etc/"]),
            ["bin -> usr/bin"]
        );
        assert_eq!(moved(&["bin/x"]), ["bin -> usr/bin"]);
        assert_eq!(moved(&["usr/lib64/ld.so"]), ["usr/lib64 -> usr/lib"]);
        assert_eq!(
            moved(&["bin/X11/xterm", "bin/sub/x"]),
            ["bin -> usr/bin", "bin/X11 -> usr/bin"]
        );
        assert_eq!(moved(&["all/x"]), ["all -> "]);
        assert!(placed(&["usr/bin/sh", "etc/passwd"]).unwrap().is_empty());
    }

    #[test]
    fn links_that_the_tar_replaces_or_takes_away_are_not_there() {
        let none: [&str; 0] = [];
        assert_eq!(moved(&["bin"]), none);
        assert_eq!(moved(&[".wh.bin", "bin/x"]), none);
        assert_eq!(moved(&["usr/.wh.lib64", "usr/lib64/x"]), none);
        assert_eq!(moved(&["usr/.wh..wh..opq", "usr/lib64/x"]), none);
        assert_eq!(moved(&[".wh.usr", "usr/lib64/x"]), none);
        assert_eq!(moved(&[".wh..wh..opq", "bin/x"]), none);
        assert_eq!(moved(&["bin/.wh.x"]), ["bin -> usr/bin"]);
    }

    #[test]
    fn links_that_move_lead_to_what_they_led_to() {
        let targets = |lines: &[&str]| {
            let targets = placed(lines).unwrap().targets.into_iter();
            targets
                .map(|(name, target)| format!("{name} -> {target}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            targets(&[
                "bin/app -> ../opt/app/run",
                "bin/lib -> ../lib/x",
                "bin/sh -> bash",
                "bin/top -> /opt/x",
                "opt/x -> ../bin/sh",
                "all/deep/x -> ../y",
            ]),
            ["bin/app -> /opt/app/run"]
        );
        // The link of the base is not there any more.
        assert_eq!(
            targets(&["bin/lib -> ../lib/x", "lib -> usr/lib"]),
            ["bin/lib -> /lib/x"]
        );
    }

    #[test]
    fn an_opaque_directory_replaces_a_link_and_empties_nothing_behind_it() {
        let none: [&str; 0] = [];
        let opaque = "bin/.wh..wh..opq";
        assert_eq!(moved(&["bin/", opaque, "bin/new"]), none);
        assert_eq!(
            moved(&["bin/sub/", "bin/sub/.wh..wh..opq"]),
            ["bin -> usr/bin"]
        );
        for directory in ["bin", "bin/X11"] {
            let opaque = format!("{directory}/.wh..wh..opq");
            let link = directory.replace("bin/", "usr/bin/");
            assert_eq!(
                placed(&[&opaque, "bin/new"]).unwrap_err(),
                format!(
                    "`{directory}` of the layer tar `/x/layer.tar` cannot stand there: `{link}` of the base image is a \
                     symbolic link to a directory that an opaque whiteout would empty"
                )
            );
        }
    }

    #[test]
    fn directories_stay_as_they_are_unless_the_tar_says_something() {
        let kept = |lines: &[&str]| {
            let kept = placed(lines).unwrap().directories.into_iter();
            kept.map(|(path, owner)| format!("{path} {:o} {}", owner.mode, owner.uid))
                .collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(kept(&["tmp/"]), ["tmp 1777 0"]);
        assert_eq!(kept(&["tmp/x"]), ["tmp 1777 0"]);
        assert_eq!(kept(&["tmp/=1777", "tmp/x"]), none);
        assert_eq!(kept(&["tmp/=700"]), none);
        assert_eq!(kept(&["lib/x/y"]), ["usr/lib 750 1"]);
        assert_eq!(kept(&["lib/=700", "usr/lib/"]), none);
        assert_eq!(kept(&[".wh.tmp", "tmp"]), none);
    }

    #[test]
    fn what_cannot_stand_anywhere_is_refused_by_name() {
        assert_eq!(
            placed(&["a/x"]).unwrap_err(),
            "`a` of the layer tar `/x/layer.tar` cannot stand there: `a` of the base image is a symbolic link that \
             leads back to itself"
        );
        assert_eq!(
            placed(&["sw/sub/x"]).unwrap_err(),
            "`sw` of the layer tar `/x/layer.tar` cannot stand there: `sw` of the base image is a symbolic link into \
             the store, whose paths must not change"
        );
        assert_eq!(
            placed(&["bin/x", "usr/bin/x"]).unwrap_err(),
            "`bin/x` and `usr/bin/x` of the layer tar `/x/layer.tar` are both `usr/bin/x`, since the base image has \
             symbolic links"
        );
        assert!(placed(&["bin/x/", "usr/bin/x/", "bin/x/a"]).is_ok());
        assert!(placed(&["bin/x/", "usr/bin/x"]).is_err());
        assert_eq!(
            placed(&["opt"]).unwrap_err(),
            "`opt` of the layer tar `/x/layer.tar` would replace the directory `opt` of the base image"
        );
        assert!(placed(&["lib"]).is_ok());
        assert!(placed(&[".wh.opt", "opt"]).is_ok());
        assert!(placed(&["bin/sub"]).is_err());
        for whiteout in ["usr/bin/.wh.sub", "bin/.wh.sub", "usr/.wh.bin"] {
            assert_eq!(placed(&[whiteout, "bin/sub"]).err(), None, "{whiteout}");
        }
    }
}
