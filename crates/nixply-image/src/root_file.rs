//! Root files in specifications and plans: what stands in an image outside the store.

use nixply_layer::{
    CapabilitiesError, FileContent, RootFile, RootFileKind, StoreRoot, WriteLayerError,
};
use nixply_oci::BlobHasher;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// One file, directory or symbolic link, as JSON: `{"path":"etc/passwd","type":"file","mode":"0644","content":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFileSpec {
    /// Where it stands, from the root; a leading `/` is allowed in a specification and absent in a plan.
    pub path: String,
    /// `file`, `directory` or `symlink`.
    #[serde(rename = "type")]
    pub kind: RootFileType,
    /// Octal digits, `4755` for example. The default is 0644 for files and 0755 for directories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The numeric owner.
    #[serde(default)]
    pub uid: u64,
    /// The numeric group.
    #[serde(default)]
    pub gid: u64,
    /// A file's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// A file whose bytes are taken; in a specification relative to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
    /// In a plan: the SHA-256 of the source's bytes, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// In a plan: the size of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// A file's capabilities in the form of setcap(8): `cap_net_bind_service+ep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
    /// A symbolic link's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why it is there; no part of a plan.
    #[serde(skip)]
    pub origin: FileOrigin,
    /// Fields that this version does not know: ignored in a plan, an error in a specification.
    #[serde(flatten, skip_serializing)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// Why a root file is there. It decides what gives way where two come to stand at one place of a base image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileOrigin {
    /// Somebody asked for it by its path.
    #[default]
    Listed,
    /// It follows from something else, such as users.
    Derived,
    /// A directory that is there only for what it holds. One that a base has stays as it is.
    Implied,
}

/// The kinds of root files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootFileType {
    /// A regular file, from `content` or `source`.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to `target`.
    Symlink,
}

/// Why a root file cannot be part of an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootFileError {
    /// The mode is not octal, or has more than permission, setuid, setgid and sticky bits.
    #[error("root file `{path}`: mode `{mode}` is not 1 to 4 octal digits")]
    Mode {
        /// The root file.
        path: String,
        /// The mode that was read.
        mode: String,
    },
    /// The capabilities are none.
    #[error("root file `{path}`: capabilities `{capabilities}`")]
    Capabilities {
        /// The root file.
        path: String,
        /// The text that was read.
        capabilities: String,
        /// Why.
        source: CapabilitiesError,
    },
    /// A field that this version does not know; a misspelt option must not pass silently.
    #[error("root file `{path}`: unknown field `{field}`")]
    UnknownField {
        /// The root file.
        path: String,
        /// The field.
        field: String,
    },
    /// The path, or the set of paths, cannot be part of a layer.
    #[error(transparent)]
    Layer(#[from] WriteLayerError),
    /// A field stands where it has no meaning, or one is missing.
    #[error("root file `{path}` of type {kind}: {problem}")]
    Fields {
        /// The root file.
        path: String,
        /// The type that was given.
        kind: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// The source cannot be read.
    #[error("root file `{path}`: cannot read its source `{}`", .source_path.display())]
    Source {
        /// The root file.
        path: String,
        /// The source.
        source_path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The digest of a source in a plan is not a SHA-256.
    #[error("root file `{path}`: `{sha256}` is not a SHA-256 in hexadecimal")]
    Sha256 {
        /// The root file.
        path: String,
        /// The text that was read.
        sha256: String,
    },
}

/// Names each source absolutely and takes its size and SHA-256, so that a plan fixes what a file will hold.
/// Relative sources are taken from `base`, those in the store directory from where `store` has it.
pub(crate) fn resolve_root_files(
    files: &[RootFileSpec],
    base: &Path,
    store: &StoreRoot,
) -> Result<Vec<RootFileSpec>, RootFileError> {
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    files
        .iter()
        .map(|file| {
            let mut file = file.clone();
            if let Some(field) = file.unknown.keys().next() {
                let field = field.clone();
                return Err(RootFileError::UnknownField {
                    path: file.path,
                    field,
                });
            }
            // Where a path begins is clear, and a directory may be written as one.
            let path = file.path.trim_start_matches('/');
            let path = match file.kind {
                RootFileType::Directory => path.trim_end_matches('/'),
                RootFileType::File | RootFileType::Symlink => path,
            };
            file.path = String::from(path);
            if let Some(source) = &file.source {
                let source = base.join(source);
                let (sha256, size_bytes) =
                    hash_file(&store.locate_file(&source)).map_err(|error| {
                        RootFileError::Source {
                            path: file.path.clone(),
                            source_path: source.clone(),
                            source: error,
                        }
                    })?;
                file.source = Some(source);
                file.sha256 = Some(nixply_oci::Digest::from_bytes(sha256).hex());
                file.size_bytes = Some(size_bytes);
            }
            file.to_layer()?;
            Ok(file)
        })
        .collect()
}

fn hash_file(path: &Path) -> std::io::Result<([u8; 32], u64)> {
    // A pipe or a device may never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("expected a regular file"));
    }
    let mut file = std::fs::File::open(path)?;
    let mut hasher = BlobHasher::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

impl RootFileSpec {
    /// A directory. `mode` is in octal digits.
    #[must_use]
    pub fn directory(path: String, mode: &str, uid: u64, gid: u64) -> Self {
        Self {
            mode: Some(mode.to_owned()),
            uid,
            gid,
            ..Self::new(path, RootFileType::Directory)
        }
    }

    /// An entry of root's that says nothing else yet.
    pub(crate) fn new(path: String, kind: RootFileType) -> Self {
        Self {
            path,
            kind,
            mode: None,
            uid: 0,
            gid: 0,
            content: None,
            source: None,
            sha256: None,
            size_bytes: None,
            capabilities: None,
            target: None,
            origin: FileOrigin::Listed,
            unknown: BTreeMap::new(),
        }
    }

    /// A symbolic link.
    pub(crate) fn symlink(path: String, target: String) -> Self {
        Self {
            target: Some(target),
            ..Self::new(path, RootFileType::Symlink)
        }
    }

    /// A file of root's that everybody may read.
    pub(crate) fn text(path: &str, content: String) -> Self {
        Self {
            content: Some(content),
            ..Self::new(path.to_owned(), RootFileType::File)
        }
    }

    /// Whether another one is the same file, whyever it is there.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let other = Self {
            origin: self.origin,
            ..other.clone()
        };
        *self == other
    }

    /// The file as a layer takes it. A source must have been resolved.
    pub fn to_layer(&self) -> Result<RootFile, RootFileError> {
        let fields = |problem| RootFileError::Fields {
            path: self.path.clone(),
            kind: match self.kind {
                RootFileType::File => "file",
                RootFileType::Directory => "directory",
                RootFileType::Symlink => "symlink",
            },
            problem,
        };
        if self.kind != RootFileType::File && (self.content.is_some() || self.source.is_some()) {
            return Err(fields("`content` and `source` belong to files"));
        }
        if self.kind != RootFileType::File && self.capabilities.is_some() {
            return Err(fields("`capabilities` belong to files"));
        }
        if self.kind != RootFileType::Symlink && self.target.is_some() {
            return Err(fields("`target` belongs to symlinks"));
        }
        let (kind, default_mode) = match self.kind {
            RootFileType::Directory => (RootFileKind::Directory, 0o755),
            RootFileType::Symlink => {
                let target = self
                    .target
                    .clone()
                    .ok_or_else(|| fields("expected a `target`"))?;
                if self.mode.is_some() {
                    return Err(fields("a symlink has no mode of its own"));
                }
                (RootFileKind::Symlink { target }, 0o777)
            }
            RootFileType::File => match (&self.content, &self.source) {
                (Some(content), None) => (
                    RootFileKind::File(FileContent::Inline(content.clone().into_bytes())),
                    0o644,
                ),
                (None, Some(source)) => (RootFileKind::File(self.source_content(source)?), 0o644),
                _ => return Err(fields("expected either `content` or `source`")),
            },
        };
        Ok(RootFile {
            path: self.path.trim_start_matches('/').to_owned(),
            kind,
            mode: self.mode_bits()?.unwrap_or(default_mode),
            uid: self.uid,
            gid: self.gid,
            capabilities: self.parse_capabilities()?,
        })
    }

    fn parse_capabilities(&self) -> Result<Option<nixply_layer::FileCapabilities>, RootFileError> {
        let Some(text) = &self.capabilities else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|source| RootFileError::Capabilities {
                path: self.path.clone(),
                capabilities: text.clone(),
                source,
            })
    }

    fn source_content(&self, source: &Path) -> Result<FileContent, RootFileError> {
        let text = self.sha256.clone().unwrap_or_default();
        let sha256: nixply_oci::Digest =
            format!("sha256:{text}")
                .parse()
                .map_err(|_| RootFileError::Sha256 {
                    path: self.path.clone(),
                    sha256: text,
                })?;
        Ok(FileContent::Source {
            path: source.to_owned(),
            sha256: *sha256.as_bytes(),
            size_bytes: self.size_bytes.unwrap_or(0),
        })
    }

    fn mode_bits(&self) -> Result<Option<u32>, RootFileError> {
        let Some(mode) = &self.mode else {
            return Ok(None);
        };
        parse_mode(mode)
            .map(Some)
            .ok_or_else(|| RootFileError::Mode {
                path: self.path.clone(),
                mode: mode.clone(),
            })
    }
}

/// Permission bits with setuid, setgid and sticky, from up to four octal digits with or without a leading zero.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    let octal = (1..=4).contains(&text.trim_start_matches('0').len().max(1))
        && text.len() <= 5
        && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// A mode as plans have it.
pub(crate) fn mode_text(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> RootFileSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn defaults_and_setuid() {
        let file = read(r#"{"path":"/a","type":"file","content":"x"}"#)
            .to_layer()
            .unwrap();
        assert_eq!((file.path.as_str(), file.mode, file.uid), ("a", 0o644, 0));
        let sudo = read(r#"{"path":"b","type":"file","mode":"4755","uid":7,"content":""}"#);
        assert_eq!(sudo.to_layer().unwrap().mode, 0o4755);
        let directory = read(r#"{"path":"tmp","type":"directory","mode":"01777"}"#);
        assert_eq!(directory.to_layer().unwrap().mode, 0o1777);
    }

    #[test]
    fn wrong_fields_are_named() {
        for (json, message) in [
            (
                r#"{"path":"a","type":"file"}"#,
                "root file `a` of type file: expected either `content` or `source`",
            ),
            (
                r#"{"path":"a","type":"directory","content":""}"#,
                "root file `a` of type directory: `content` and `source` belong to files",
            ),
            (
                r#"{"path":"a","type":"symlink"}"#,
                "root file `a` of type symlink: expected a `target`",
            ),
            (
                r#"{"path":"a","type":"symlink","target":"b","mode":"777"}"#,
                "root file `a` of type symlink: a symlink has no mode of its own",
            ),
            (
                r#"{"path":"a","type":"directory","capabilities":"cap_kill+ep"}"#,
                "root file `a` of type directory: `capabilities` belong to files",
            ),
            (
                r#"{"path":"a","type":"file","content":"","mode":"rwx"}"#,
                "root file `a`: mode `rwx` is not 1 to 4 octal digits",
            ),
            (
                r#"{"path":"a","type":"file","content":"","mode":"17777"}"#,
                "root file `a`: mode `17777` is not 1 to 4 octal digits",
            ),
        ] {
            assert_eq!(read(json).to_layer().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn capabilities_belong_to_files() {
        let json = r#"{"path":"a","type":"file","content":"","capabilities":"cap_net_raw+ep"}"#;
        let file = read(json).to_layer().unwrap();
        assert_eq!(file.capabilities, "cap_net_raw=ep".parse().ok());
        let error = read(&json.replace("raw+ep", "row+ep"))
            .to_layer()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "root file `a`: capabilities `cap_net_row+ep`"
        );
    }

    #[test]
    fn a_source_is_fixed_by_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "abc").unwrap();
        let spec = read(r#"{"path":"a","type":"file","source":"f"}"#);
        let resolved = resolve_root_files(&[spec], dir.path(), &StoreRoot::default()).unwrap();
        assert_eq!(resolved[0].size_bytes, Some(3));
        assert_eq!(
            resolved[0].sha256.as_deref(),
            Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        let missing = read(r#"{"path":"a","type":"file","source":"g"}"#);
        let error = resolve_root_files(&[missing], dir.path(), &StoreRoot::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("root file `a`: cannot read its source"),
            "{error}"
        );
    }
}
