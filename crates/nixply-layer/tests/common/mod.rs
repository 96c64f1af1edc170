//! The synthetic store of `fixtures/layers/tree.json`, made on disk, and what tests ask of layers.
#![allow(
    dead_code,
    reason = "each test program uses its own part of this module"
)]

use nixply_layer::{
    Compression, CompressionPool, DockerToolsHeader, EntryPermissions, FileContent, LayerContents,
    LayerFormat, LayerSpec, RootFile, RootFileKind, StorePathContent, StoreRoot, WriteLayerError,
    write_layer_tar,
};
use nixply_oci::DiffId;
use nixply_store::{NarHash, StoreDir, StorePath};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// `fixtures/layers`.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/layers")
}

/// A JSON file of `fixtures/layers`.
pub(crate) fn fixture(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixtures().join(name)).unwrap()).unwrap()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// The synthetic store, in a directory of its own.
pub(crate) struct SyntheticStore {
    pub(crate) directory: tempfile::TempDir,
}

impl SyntheticStore {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |value: &Value| {
            let relative = percent_decoded(value.as_str().unwrap());
            directory.path().join(OsStr::from_bytes(&relative))
        };
        for entry in fixture("tree.json")["entries"].as_array().unwrap() {
            let path = at(&entry["path"]);
            match entry["type"].as_str().unwrap() {
                "directory" => fs::create_dir(&path).unwrap(),
                "hard_link" => fs::hard_link(at(&entry["of"]), &path).unwrap(),
                "symlink" => {
                    let target = percent_decoded(entry["target"].as_str().unwrap());
                    std::os::unix::fs::symlink(OsStr::from_bytes(&target), &path).unwrap();
                }
                kind => {
                    let repeat = usize::try_from(entry["repeat"].as_u64().unwrap_or(1)).unwrap();
                    fs::write(&path, entry["content"].as_str().unwrap().repeat(repeat)).unwrap();
                    let mode = if kind == "executable" { 0o755 } else { 0o644 };
                    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
        }
        Self { directory }
    }

    pub(crate) fn root(&self) -> StoreRoot {
        self.root_named("/nix/store")
    }

    pub(crate) fn root_named(&self, store_dir: &str) -> StoreRoot {
        let store_dir = StoreDir::new(store_dir).unwrap();
        StoreRoot::new(store_dir, self.directory.path().to_owned())
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(relative)
    }
}

/// The base names of the synthetic store, in the order in which the dockerTools fixtures have them.
pub(crate) fn order() -> Vec<String> {
    serde_json::from_value(fixture("tree.json")["order"].clone()).unwrap()
}

/// A store path whose NAR hash is made up of its name.
pub(crate) fn content(base_name: &str) -> StorePathContent {
    StorePathContent {
        path: StorePath::new(base_name).unwrap(),
        nar_hash: NarHash::from_bytes(*DiffId::of(base_name.as_bytes()).as_bytes()),
        nar_size_bytes: base_name.len() as u64,
        permissions: Vec::new(),
    }
}

/// A layer of store paths, uncompressed.
pub(crate) fn store_spec(base_names: &[String], format: LayerFormat) -> LayerSpec {
    LayerSpec {
        contents: LayerContents::Store {
            store_dir: StoreDir::default(),
            paths: base_names.iter().map(|name| content(name)).collect(),
        },
        format,
        compression: Compression::None,
    }
}

/// A layer of root files, uncompressed.
pub(crate) fn root_spec(files: Vec<RootFile>) -> LayerSpec {
    LayerSpec {
        contents: LayerContents::Root { files },
        format: LayerFormat::Nixply,
        compression: Compression::None,
    }
}

/// The root files of `tree.json`.
pub(crate) fn root_files() -> Vec<RootFile> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let tree = fixture("tree.json");
    let files = tree["root_files"].as_array().unwrap().iter();
    files
        .map(|file| RootFile {
            path: text(&file["path"]),
            kind: match file["type"].as_str().unwrap() {
                "directory" => RootFileKind::Directory,
                "symlink" => RootFileKind::Symlink {
                    target: text(&file["target"]),
                },
                _ => RootFileKind::File(FileContent::Inline(text(&file["content"]).into_bytes())),
            },
            mode: u32::from_str_radix(file["mode"].as_str().unwrap(), 8).unwrap(),
            uid: file["uid"].as_u64().unwrap(),
            gid: file["gid"].as_u64().unwrap(),
            capabilities: file["capabilities"]
                .as_str()
                .map(|text| text.parse().unwrap()),
        })
        .collect()
}

pub(crate) fn docker_tools() -> LayerFormat {
    LayerFormat::DockerTools(DockerToolsHeader::default())
}

/// The uncompressed tar of a layer.
pub(crate) fn tar(spec: &LayerSpec, store: &StoreRoot) -> Result<Vec<u8>, WriteLayerError> {
    let mut bytes = Vec::new();
    write_layer_tar(spec, store, &mut bytes)?;
    Ok(bytes)
}

pub(crate) fn pool(threads: usize) -> CompressionPool {
    CompressionPool::new(threads).unwrap()
}

/// A program that may use ports below 1024.
pub(crate) fn program_with_capabilities() -> RootFile {
    RootFile {
        path: "bin/serve".to_owned(),
        kind: RootFileKind::File(FileContent::Inline(b"x".to_vec())),
        mode: 0o755,
        uid: 0,
        gid: 0,
        capabilities: Some("cap_net_bind_service+ep".parse().unwrap()),
    }
}

/// The same layer, with entries of its first store path that have an owner and a mode of their own.
pub(crate) fn with_permissions(
    mut spec: LayerSpec,
    permissions: &[(&str, u32, u64, u64)],
) -> LayerSpec {
    if let LayerContents::Store { paths, .. } = &mut spec.contents {
        paths[0].permissions = permissions
            .iter()
            .map(|&(path, mode, uid, gid)| EntryPermissions {
                path: path.to_owned(),
                mode,
                uid,
                gid,
            })
            .collect();
    }
    spec
}
