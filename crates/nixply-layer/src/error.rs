//! Why a layer cannot be made.

use nixply_oci::DiffId;
use nixply_store::{StoreDir, StorePath};
use std::io;
use std::path::PathBuf;

/// Why a layer's bytes could not be made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteLayerError {
    /// A store path is not on this machine.
    #[error("store path `{}` does not exist", .path.display())]
    MissingStorePath {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file ended before the size it had when it was opened.
    #[error("`{}` shrank while it was read: expected {expected_bytes} bytes, found {found_bytes} bytes", .path.display())]
    Shrank {
        /// The file.
        path: PathBuf,
        /// Its size when it was opened.
        expected_bytes: u64,
        /// How many bytes it gave.
        found_bytes: u64,
    },
    /// A file goes on beyond the size it had when it was opened.
    #[error("`{}` grew while it was read: expected {expected_bytes} bytes, found more", .path.display())]
    Grew {
        /// The file.
        path: PathBuf,
        /// Its size when it was opened.
        expected_bytes: u64,
    },
    /// A tree holds something that neither a NAR nor a layer of store paths can hold.
    #[error("`{}` is a {found}: expected a regular file, a directory or a symbolic link", .path.display())]
    FileType {
        /// The file.
        path: PathBuf,
        /// What it is: `socket`, `named pipe`, `device`.
        found: &'static str,
    },
    /// A base name begins with `.wh.`, which deletes files in a layer (OCI image-spec v1.1.1, `layer.md`, "Whiteouts").
    #[error("`{}` cannot stand in a layer: names that begin with `.wh.` delete files there", .path.display())]
    Whiteout {
        /// The file.
        path: PathBuf,
    },
    /// Two entries of a directory have the same name once the suffix that Nix adds on macOS is taken off.
    #[error("two entries of a directory have the name `{}` in the layer", .path.display())]
    CaseHackCollision {
        /// One of the two.
        path: PathBuf,
    },
    /// An entry shall have an owner or a mode of its own, but the store path has no such entry, or it is named twice.
    #[error(
        "store path `{path}` has no entry `{entry}` whose owner and mode could be set, or it is named twice"
    )]
    NoSuchEntry {
        /// The store path.
        path: StorePath,
        /// The entry, relative to it.
        entry: String,
    },
    /// An entry of a store path shall have a mode with bits outside 07777.
    #[error("store path `{path}`: the mode of `{entry}` has bits outside 07777")]
    EntryMode {
        /// The store path.
        path: StorePath,
        /// The entry, relative to it.
        entry: String,
    },
    /// A store path is listed twice.
    #[error("store path `{path}` stands twice in one layer")]
    DuplicateStorePath {
        /// The path.
        path: StorePath,
    },
    /// The layer's store directory is not the one that the store has.
    #[error("the layer's store paths lie in `{expected}`, the given store is `{found}`")]
    OtherStoreDir {
        /// The directory in the spec.
        expected: StoreDir,
        /// The directory of the store.
        found: StoreDir,
    },
    /// dockerTools' format is known for layers of store paths only.
    #[error("root files cannot be written in dockerTools' format")]
    RootFilesInDockerTools,
    /// A root file cannot stand in a layer.
    #[error("root file `{path}`: {problem}")]
    RootFile {
        /// Its path, as given.
        path: String,
        /// What is wrong with it.
        problem: RootFileProblem,
    },
    /// The source of a root file does not have the content that the spec promises.
    #[error("`{}` has another content than planned: expected {expected}, found {found}", .path.display())]
    SourceContent {
        /// The source file.
        path: PathBuf,
        /// The expected SHA-256, or size.
        expected: String,
        /// The SHA-256, or size, that was found.
        found: String,
    },
    /// A tar that should be a layer is not on this machine.
    #[error("the layer's tar `{}` does not exist", .path.display())]
    MissingTar {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A tar that should be a layer is not the one that was planned.
    #[error("`{}` is not the tar that was planned: expected {expected}, found {found}", .path.display())]
    TarContent {
        /// The tar.
        path: PathBuf,
        /// The expected diff ID, or size.
        expected: String,
        /// The diff ID, or size, that was found.
        found: String,
    },
    /// nix2container: two store paths put different things at one place.
    #[error("`{name}` is different things: `{}` and `{}`", .first.display(), .second.display())]
    PathsCollide {
        /// The place in the layer.
        name: String,
        /// What stood there.
        first: PathBuf,
        /// What was to stand there, too.
        second: PathBuf,
    },
    /// nix2container: a rewrite makes a name that no file can have.
    #[error("store path `{path}`: a name that its rewrite makes {problem}")]
    RewrittenName {
        /// The store path whose names are rewritten.
        path: String,
        /// What is wrong with the name.
        problem: &'static str,
    },
    /// nix2container: a regular expression of a rule cannot be read.
    #[error("store path `{path}`: `{regex}` is no regular expression: {problem}")]
    Regex {
        /// The store path that the rule is for.
        path: String,
        /// The regular expression.
        regex: String,
        /// What is wrong with it.
        problem: String,
    },
    /// nix2container: the mode of a rule is not octal.
    #[error("store path `{path}`: mode `{mode}` is not 1 to 4 octal digits")]
    PermMode {
        /// The store path that the rule is for.
        path: String,
        /// The mode that was read.
        mode: String,
    },
    /// nix2container: a layer did not come out as it was when its hash was taken.
    #[error(
        "the layer made of `{path}` is not the one of image.json: expected {expected}, found {found}"
    )]
    OtherDiffId {
        /// The first store path of the layer.
        path: String,
        /// The expected diff ID.
        expected: DiffId,
        /// The diff ID that was found.
        found: DiffId,
    },
    /// The receiver of the bytes refused them.
    #[error("the layer's bytes could not be written")]
    Sink(#[source] io::Error),
}

impl WriteLayerError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingStorePath { path } => {
                Some(format!("build or fetch it: `nix-store -r {}`", path.display()))
            }
            Self::Shrank { .. } | Self::Grew { .. } => Some(
                "something writes to the store; `nix-store --verify --check-contents` finds what was damaged"
                    .to_owned(),
            ),
            Self::MissingTar { .. } => Some(
                "build or fetch the store path that holds it: `nix-store -r`".to_owned(),
            ),
            Self::TarContent { .. } => Some(
                "plan again: the file was changed since, or it was damaged; `nix-store --verify --check-contents` tells"
                    .to_owned(),
            ),
            Self::OtherDiffId { .. } => Some(
                "a store path is not what it was when image.json was made: build the image again on this machine"
                    .to_owned(),
            ),
            Self::SourceContent { .. } => Some("plan again: the file was changed since".to_owned()),
            _ => None,
        }
    }
}

/// What is wrong with a root file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootFileProblem {
    /// The path is empty or has an empty part: `a//b`, `a/`.
    #[error("the path has an empty part")]
    EmptyComponent,
    /// The path begins with a slash.
    #[error("the path is absolute: expected one relative to the root of the image")]
    Absolute,
    /// The path has a part `.` or `..`.
    #[error("the path has a part `.` or `..`")]
    DotComponent,
    /// The path or the link target holds a NUL byte.
    #[error("the path or the link target holds a NUL byte")]
    Nul,
    /// A part of the path begins with `.wh.` (OCI image-spec v1.1.1, `layer.md`, "Whiteouts").
    #[error("names that begin with `.wh.` delete files in a layer")]
    Whiteout,
    /// The path is listed twice.
    #[error("the path is listed twice")]
    Duplicate,
    /// Another file is listed below a path that is no directory.
    #[error("it is not a directory, yet other files are listed below it")]
    ParentNotDirectory,
    /// The path lies in the store directory, whose contents come from store paths only.
    #[error("the path lies in the store directory")]
    InStore,
    /// The mode has bits outside 07777.
    #[error("the mode has bits outside 07777")]
    Mode,
    /// The owner or the group is no number that a kernel takes: it would become another one, such as root's, or none.
    #[error(
        "{id} is no user or group ID: expected at most {}",
        crate::root_files::MAX_ID
    )]
    Id {
        /// The number.
        id: u64,
    },
    /// Only a program that is run has capabilities.
    #[error("only a regular file has capabilities")]
    Capabilities,
    /// A symbolic link points at nothing.
    #[error("the link target is empty")]
    EmptyTarget,
}
