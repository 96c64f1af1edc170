//! Why bytes could not be read as a closure.

use crate::excerpt::excerpt;
use crate::{ClosureError, NarHashError, StoreDirError, StorePathError};
use std::fmt;

/// Why bytes could not be read as a closure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no input, or white space only.
    #[error("the input is empty")]
    EmptyInput,
    /// The input is something else than a closure.
    #[error(
        "the input is not a closure: expected `nix path-info --json`, a derivation's `.attrs.json`, closureInfo's \
         `registration` or `nix-store --dump-db`, found {found}"
    )]
    NotAClosure {
        /// What the input is.
        found: String,
    },
    /// The JSON ends early.
    #[error("the JSON ends early, at line {line} column {column}")]
    TruncatedJson {
        /// The line of the end, from 1.
        line: usize,
        /// The column of the end, in bytes.
        column: usize,
    },
    /// The JSON is malformed.
    #[error("the JSON is malformed at line {line} column {column}: {message}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, in bytes from 1.
        column: usize,
        /// What the JSON reader says.
        message: String,
    },
    /// Arrays and objects in the JSON stand in each other deeper than any closure's.
    #[error("the JSON is nested too deeply at line {line} column {column}")]
    TooDeep {
        /// The line, from 1.
        line: usize,
        /// The column, in bytes from 1.
        column: usize,
    },
    /// The JSON says a version of Nix's format that is not known here.
    #[error("version {found} of Nix's path info JSON is not known: expected 2 or 3")]
    UnknownVersion {
        /// The version.
        found: String,
    },
    /// Nix knows the names of paths that are not in its store.
    #[error("{} not in the Nix store: {}", not_in_store(.paths), list(.paths))]
    InvalidPaths {
        /// All of them, in the order of the input.
        paths: Vec<String>,
    },
    /// A path's record is something else than an object.
    #[error("the record of {entry} is {found}: expected an object")]
    NotARecord {
        /// The path or the number of the record, for a message.
        entry: String,
        /// What it is.
        found: String,
    },
    /// A record lacks something that every record must have.
    #[error("the record of {entry} has no `{field}`")]
    MissingField {
        /// The path or the number of the record, for a message.
        entry: String,
        /// The name of the field.
        field: &'static str,
    },
    /// A field has a value of the wrong type.
    #[error("`{field}` of {entry} is {found}: expected {expected}")]
    FieldType {
        /// The path or the number of the record, for a message.
        entry: String,
        /// The name of the field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A NAR hash that is none.
    #[error("`narHash` of {entry}: {error}")]
    NarHash {
        /// The path, for a message.
        entry: String,
        /// What is wrong with it.
        error: NarHashError,
    },
    /// A field that should hold store paths holds another name.
    #[error("`{field}` of {entry}: {error}")]
    StorePath {
        /// The path or the number of the record, for a message.
        entry: String,
        /// The name of the field.
        field: &'static str,
        /// What is wrong with the name.
        error: StorePathError,
    },
    /// The store directory is none.
    #[error(transparent)]
    StoreDir(#[from] StoreDirError),
    /// Paths are given by base names, and nothing says in which directory they lie.
    #[error("the input names its paths without their directory and has no `storeDir`")]
    NoStoreDir,
    /// A path lies in another store than the others.
    #[error("`storeDir` of {entry} is `{found}`: expected `{expected}` as before")]
    OtherStoreDir {
        /// The path, for a message.
        entry: String,
        /// Its store directory.
        found: String,
        /// The store directory of the paths before it.
        expected: String,
    },
    /// A line of `registration` or `--dump-db` text is not what it should be.
    #[error("line {line}: expected {expected}, found {found}")]
    Registration {
        /// The line, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
        /// What the text as a whole seems to be instead, if it is one of Nix's other lists.
        instead: Option<OtherList>,
    },
    /// The derivation exports no closure.
    #[error("the derivation's attributes hold no closure")]
    NoGraph,
    /// The derivation exports several closures.
    #[error("the derivation's attributes hold {} closures: {}", .names.len(), .names.join(", "))]
    SeveralGraphs {
        /// Their names, in byte order.
        names: Vec<String>,
    },
    /// The records are well-formed and yet no closure.
    #[error(transparent)]
    Closure(#[from] ClosureError),
}

/// What a message is about. Its text is made only when there is a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// The record of a path.
    Path(&'a str),
    /// The record at a place in an array, from 1, whose path is not known.
    Entry(usize),
    /// The outermost object.
    Document,
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "`{}`", excerpt(path)),
            Self::Entry(n) => write!(f, "entry {n}"),
            Self::Document => f.write_str("the document"),
        }
    }
}

/// Texts of Nix that look like a registration at first, and lack what a closure needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherList {
    /// Store paths, one a line: closureInfo's `store-paths`, or `nix-store -qR`.
    StorePaths,
    /// What `exportReferencesGraph` writes without structured attributes: no hashes, no sizes.
    PlainReferencesGraph,
}

impl ReadError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::EmptyInput | Self::TruncatedJson { .. } => {
                "look whether the command that wrote it failed".to_owned()
            }
            Self::NotAClosure { .. } => "`nix path-info --json -r PATH` writes a closure".to_owned(),
            Self::UnknownVersion { .. } => {
                "let Nix write a known one: `nix path-info --json --json-format 2`".to_owned()
            }
            Self::InvalidPaths { paths } => {
                format!("build or fetch: `nix-store -r {}`", paths.join(" "))
            }
            Self::Registration {
                instead: Some(OtherList::StorePaths),
                ..
            } => "this is a list of store paths; the closure is in `registration` beside it, or in \
                  `nix-store --dump-db $(cat FILE)`"
                .to_owned(),
            Self::Registration {
                instead: Some(OtherList::PlainReferencesGraph),
                ..
            } => "this is an exportReferencesGraph without hashes: set `__structuredAttrs = true` and read \
                  `.attrs.json`, or use closureInfo's `registration`"
                .to_owned(),
            Self::NoGraph => "set `exportReferencesGraph.closure = [ … ]` in the derivation".to_owned(),
            Self::SeveralGraphs { .. } => "leave one of them in `exportReferencesGraph`".to_owned(),
            Self::Closure(error) => return error.hint(),
            _ => return None,
        };
        Some(hint)
    }
}

fn not_in_store(paths: &[String]) -> String {
    if paths.len() == 1 {
        "1 store path is".to_owned()
    } else {
        format!("{} store paths are", paths.len())
    }
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
