//! What a layer is made from.

use crate::capabilities::FileCapabilities;
use crate::compression::Compression;
use crate::nix2container::Nix2containerTar;
use crate::placement::TarPlacement;
use nixply_oci::DiffId;
use nixply_store::{NarHash, StoreDir, StorePath};
use std::path::{Path, PathBuf};

/// Everything that a layer's bytes follow from, together with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// What the layer holds.
    pub contents: LayerContents,
    /// The bytes of the tar.
    pub format: LayerFormat,
    /// The compression of the tar.
    pub compression: Compression,
}

/// What a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerContents {
    /// Store paths, whole.
    Store {
        /// The directory that the paths have in the image.
        store_dir: StoreDir,
        /// The paths. Nixply's own format sorts them; dockerTools' keeps their order.
        paths: Vec<StorePathContent>,
    },
    /// Files outside the store.
    Root {
        /// The files, in any order. Directories that they need and that are not listed are added, mode 0755, root's.
        files: Vec<RootFile>,
    },
    /// A tar that somebody else made; it is only compressed. No format of nixply's reaches its bytes.
    Tar(FinishedTar),
    /// A tar that nix2container wrote down how to make.
    Nix2container(Nix2containerTar),
}

/// A tar that exists already: what is left of a script's work, dockerTools' customisation layer, or a layer that
/// nix2container pulled, whose file may be compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedTar {
    /// The file on this machine; not part of the layer.
    pub path: PathBuf,
    /// The hash of the tar as it stands in the layer, which is checked while it streams.
    pub diff_id: DiffId,
    /// The number of the file's bytes, or of the layer's tar where entries are placed.
    pub size_bytes: u64,
    /// What is changed in the file's tar.
    pub placement: TarPlacement,
}

/// A store path and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePathContent {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR serialization; stands for its content in the layer's key.
    pub nar_hash: NarHash,
    /// The size of its NAR serialization; about what has to be read.
    pub nar_size_bytes: u64,
    /// Entries with another owner or mode than all others have, in any order.
    pub permissions: Vec<EntryPermissions>,
}

/// The owner and the mode of one entry of a store path in the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryPermissions {
    /// The entry, relative to the store path, such as `bin/sudo`; empty for the store path itself.
    pub path: String,
    /// Permission bits with setuid, setgid and sticky, up to 07777. Symbolic links are always written as 0777.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
}

/// How the tar of a layer is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerFormat {
    /// Nixply's own format, version [`FORMAT_VERSION`](crate::FORMAT_VERSION).
    Nixply,
    /// The bytes that nixpkgs' dockerTools writes for a layer of store paths.
    DockerTools(DockerToolsHeader),
}

/// The header fields that a user of dockerTools can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerToolsHeader {
    /// The time of every entry, in seconds since 1970: `created` up to 2024, `mtime` in newer versions.
    pub mtime_secs: u64,
    /// The user ID of every entry.
    pub uid: u64,
    /// The group ID of every entry.
    pub gid: u64,
    /// The user name of every entry.
    pub uname: String,
    /// The group name of every entry.
    pub gname: String,
}

impl Default for DockerToolsHeader {
    /// What dockerTools writes when its user chooses nothing.
    fn default() -> Self {
        Self {
            mtime_secs: 1,
            uid: 0,
            gid: 0,
            uname: "root".to_owned(),
            gname: "root".to_owned(),
        }
    }
}

/// A file, directory or symbolic link outside the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFile {
    /// Where it stands, relative to the root of the image, without a leading or trailing slash: `etc/passwd`.
    pub path: String,
    /// What it is.
    pub kind: RootFileKind,
    /// Permission bits with setuid, setgid and sticky, up to 07777. Symbolic links are always written as 0777.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// What a program may do beyond its user when it is run; regular files only.
    pub capabilities: Option<FileCapabilities>,
}

/// What a [`RootFile`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootFileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(FileContent),
    /// A symbolic link.
    Symlink {
        /// What it points at, verbatim.
        target: String,
    },
}

/// Where the bytes of a regular file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// From memory.
    Inline(Vec<u8>),
    /// From a file, which is checked while it streams.
    Source {
        /// The file on this machine; not part of the layer.
        path: PathBuf,
        /// The SHA-256 of its bytes.
        sha256: [u8; 32],
        /// The number of its bytes.
        size_bytes: u64,
    },
}

impl FileContent {
    /// The number of bytes.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Source { size_bytes, .. } => *size_bytes,
        }
    }
}

impl LayerSpec {
    /// About how many bytes have to be read to make the layer.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let sizes: &mut dyn Iterator<Item = u64> = match &self.contents {
            LayerContents::Store { paths, .. } => &mut paths.iter().map(|p| p.nar_size_bytes),
            LayerContents::Root { files } => &mut files.iter().map(|file| match &file.kind {
                RootFileKind::File(content) => content.size_bytes(),
                RootFileKind::Directory | RootFileKind::Symlink { .. } => 0,
            }),
            LayerContents::Tar(tar) => return tar.size_bytes,
            LayerContents::Nix2container(layer) => return layer.size_bytes,
        };
        sizes.fold(0, u64::saturating_add)
    }

    /// A few words for progress and errors: the biggest store path or the first root file, and how many more.
    #[must_use]
    pub fn title(&self) -> String {
        let (first, count) = match &self.contents {
            LayerContents::Store { paths, .. } => {
                // The first of equals, so that the title does not hang on the order of iteration.
                let biggest = paths
                    .iter()
                    .rev()
                    .max_by_key(|content| content.nar_size_bytes);
                (biggest.map(|c| c.path.base_name()), paths.len())
            }
            LayerContents::Root { files } => {
                (files.iter().map(|f| f.path.as_str()).min(), files.len())
            }
            LayerContents::Tar(tar) => return tar_title(&tar.path),
            LayerContents::Nix2container(layer) => {
                (layer.first_path().rsplit('/').next(), layer.paths.len())
            }
        };
        match (first, count) {
            (None, _) => "nothing".to_owned(),
            (Some(first), 1) => first.to_owned(),
            (Some(first), count) => format!("{first} and {} more", count - 1),
        }
    }
}

/// The name of a tar's store path without its hash and what lies in it, or the file's name where it is not in a store.
#[must_use]
pub fn tar_title(path: &Path) -> String {
    let text = path.to_string_lossy();
    let inside = text.rsplit_once("/store/").map_or("", |(_, inside)| inside);
    let (base_name, rest) = inside.split_once('/').unwrap_or((inside, ""));
    match StorePath::new(base_name) {
        Ok(path) if rest.is_empty() => path.name().to_owned(),
        Ok(path) => format!("{}/{rest}", path.name()),
        Err(_) => text.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

/// Where a store directory lies on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRoot {
    store_dir: StoreDir,
    physical: PathBuf,
}

impl StoreRoot {
    /// A store directory whose paths are read from `physical`, such as the `nix/store` below the root of a chroot store.
    #[must_use]
    pub fn new(store_dir: StoreDir, physical: PathBuf) -> Self {
        Self {
            store_dir,
            physical,
        }
    }

    /// A store directory that lies where its name says.
    #[must_use]
    pub fn at_own_path(store_dir: StoreDir) -> Self {
        let physical = PathBuf::from(store_dir.as_str());
        Self {
            store_dir,
            physical,
        }
    }

    /// The name of the store directory.
    #[must_use]
    pub fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// Where a store path lies.
    #[must_use]
    pub fn locate(&self, path: &StorePath) -> PathBuf {
        self.physical.join(path.base_name())
    }

    /// Where a file lies: one in the store directory below its place, any other where its name says.
    #[must_use]
    pub fn locate_file(&self, file: &Path) -> PathBuf {
        match file.strip_prefix(self.store_dir.as_str()) {
            Ok(inside) => self.physical.join(inside),
            Err(_) => file.to_owned(),
        }
    }
}

impl Default for StoreRoot {
    /// `/nix/store` at its own path.
    fn default() -> Self {
        Self::at_own_path(StoreDir::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_has_the_name_of_its_store_path() {
        let title = |path: &str| tar_title(Path::new(path));
        let base = "0123456789abcdfghijklmnpqrsvwxyz";
        let in_store = format!("/nix/store/{base}-x-customisation-layer/layer.tar");
        assert_eq!(title(&in_store), "x-customisation-layer/layer.tar");
        assert_eq!(title(&format!("/mnt/nix/store/{base}-a.tar")), "a.tar");
        assert_eq!(title("/tmp/store/b.tar"), "b.tar");
        assert_eq!(title("c.tar"), "c.tar");
    }

    #[test]
    fn files_of_the_store_are_found_where_it_lies() {
        let root = StoreRoot::new(StoreDir::default(), "/mnt/store".into());
        let inside = root.locate_file(Path::new("/nix/store/x/layer.tar"));
        assert_eq!(inside, Path::new("/mnt/store/x/layer.tar"));
        let outside = root.locate_file(Path::new("/nix/storex/layer.tar"));
        assert_eq!(outside, Path::new("/nix/storex/layer.tar"));
    }
}
