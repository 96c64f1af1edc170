//! The layer key: what a layer is made from, as one hash (`docs/format.md`, "Layer key").

use crate::FORMAT_VERSION;
use crate::nix2container::Nix2containerTar;
use crate::spec::{
    DockerToolsHeader, EntryPermissions, FileContent, FinishedTar, LayerContents, LayerFormat,
    LayerSpec, RootFile, RootFileKind, StorePathContent,
};
use data_encoding::HEXLOWER;
use nixply_oci::{LayerKey, canonical_json};
use nixply_store::StoreDir;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The version of what is written here about dockerTools' format.
const DOCKER_TOOLS_VERSION: u32 = 1;

impl LayerSpec {
    /// The hash of everything that the layer's bytes follow from; see `docs/format.md`, "Layer key".
    #[must_use]
    pub fn key(&self) -> LayerKey {
        LayerKey::of(&self.key_bytes())
    }

    /// The canonical JSON that is hashed.
    ///
    /// A layer may hold all of 100,000 store paths, so their list is written as text at once; all else is small.
    fn key_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(br#"{"compression":"#);
        write_small(&json!(self.compression.encoder_id()), &mut out);
        out.extend_from_slice(br#","contents":"#);
        match &self.contents {
            LayerContents::Store { store_dir, paths } => {
                write_store_contents(store_dir, paths, &self.format, &mut out);
            }
            LayerContents::Root { files } => write_small(&root_contents(files), &mut out),
            LayerContents::Tar(FinishedTar { diff_id, .. })
            | LayerContents::Nix2container(Nix2containerTar { diff_id, .. }) => {
                write_small(&json!({"diff_id": diff_id.to_string()}), &mut out);
            }
        }
        out.extend_from_slice(br#","format":"#);
        let format = match self.contents {
            // The diff ID is the bytes: however they came to be, they are the same.
            LayerContents::Tar(_) | LayerContents::Nix2container(_) => json!({"name": "tar"}),
            _ => format_value(&self.format),
        };
        write_small(&format, &mut out);
        out.push(b'}');
        out
    }
}

#[expect(
    clippy::expect_used,
    reason = "a value of texts and integers always has canonical JSON"
)]
fn write_small(value: &Value, out: &mut Vec<u8>) {
    out.extend(canonical_json(value).expect("texts and integers"));
}

fn format_value(format: &LayerFormat) -> Value {
    match format {
        LayerFormat::Nixply => json!({"name": "nixply", "version": FORMAT_VERSION}),
        LayerFormat::DockerTools(DockerToolsHeader {
            mtime_secs,
            uid,
            gid,
            uname,
            gname,
        }) => json!({
            "name": "dockerTools",
            "version": DOCKER_TOOLS_VERSION,
            "mtime": mtime_secs,
            "uid": uid,
            "gid": gid,
            "uname": uname,
            "gname": gname,
        }),
    }
}

/// The paths, each with its NAR hash, and the store directory.
fn write_store_contents(
    store_dir: &StoreDir,
    paths: &[StorePathContent],
    format: &LayerFormat,
    out: &mut Vec<u8>,
) {
    let mut paths: Vec<&StorePathContent> = paths.iter().collect();
    // Only in dockerTools' format does the order of the paths reach the bytes.
    if *format == LayerFormat::Nixply {
        paths.sort_by(|a, b| a.path.cmp(&b.path));
    }
    let mut dir = Vec::new();
    write_small(&json!(store_dir.as_str()), &mut dir);
    // A base name and a hash have no character that JSON escapes.
    let open_dir = &dir[..dir.len() - 1];
    out.extend_from_slice(br#"{"paths":["#);
    for (n, content) in paths.into_iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"[" } else { b",[" });
        out.extend_from_slice(open_dir);
        out.push(b'/');
        out.extend_from_slice(content.path.base_name().as_bytes());
        out.extend_from_slice(br#"",""#);
        out.extend_from_slice(content.nar_hash.to_string().as_bytes());
        out.push(b'"');
        if !content.permissions.is_empty() {
            out.push(b',');
            write_small(&permissions_value(&content.permissions), out);
        }
        out.push(b']');
    }
    out.extend_from_slice(br#"],"store_dir":"#);
    out.extend_from_slice(&dir);
    out.push(b'}');
}

/// A list of entry, mode, owner and group, in byte order of the entries.
fn permissions_value(permissions: &[EntryPermissions]) -> Value {
    let mut permissions: Vec<&EntryPermissions> = permissions.iter().collect();
    permissions.sort_unstable();
    permissions
        .into_iter()
        .map(|entry| json!([entry.path, octal(entry.mode), entry.uid, entry.gid]))
        .collect()
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn root_contents(files: &[RootFile]) -> Value {
    let mut files: Vec<&RootFile> = files.iter().collect();
    files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    json!({"files": files.into_iter().map(file_value).collect::<Vec<_>>()})
}

fn file_value(file: &RootFile) -> Value {
    let mut value = json!({
        "path": file.path,
        "mode": octal(file.mode),
        "uid": file.uid,
        "gid": file.gid,
    });
    match &file.kind {
        RootFileKind::Directory => value["type"] = json!("directory"),
        RootFileKind::Symlink { target } => {
            value["type"] = json!("symlink");
            value["target"] = json!(target);
            // Whatever the spec says, a link is written as 0777.
            value["mode"] = json!("0777");
        }
        RootFileKind::File(content) => {
            let sha256: [u8; 32] = match content {
                FileContent::Inline(bytes) => Sha256::digest(bytes).into(),
                FileContent::Source { sha256, .. } => *sha256,
            };
            value["type"] = json!("file");
            value["sha256"] = json!(HEXLOWER.encode(&sha256));
            value["size_bytes"] = json!(content.size_bytes());
            // Absent without them, so that keys are what they were before there were any.
            if let Some(capabilities) = file.capabilities {
                value["capabilities"] = json!(capabilities.to_hex());
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;
    use nixply_store::{NarHash, StorePath};

    /// The list of paths is written by hand: what is hashed must be what the writer of canonical JSON makes of it.
    #[test]
    fn the_text_of_store_contents_is_canonical_json() {
        let content = |digit: u8, name: &str| StorePathContent {
            path: StorePath::new(&format!("{}-{name}", "0123456789abcdfghijklmnpqrsvwxyz"))
                .unwrap(),
            nar_hash: NarHash::from_bytes([digit; 32]),
            nar_size_bytes: 1,
            permissions: Vec::new(),
        };
        for store_dir in ["/nix/store", "/a \"quoted\" \\ \u{fc}/store"] {
            let spec = LayerSpec {
                contents: LayerContents::Store {
                    store_dir: StoreDir::new(store_dir).unwrap(),
                    paths: vec![content(0xff, "b+-._?="), content(3, "a")],
                },
                format: LayerFormat::Nixply,
                compression: Compression::default(),
            };
            let bytes = spec.key_bytes();
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            let path = |name: &str| format!("{store_dir}/0123456789abcdfghijklmnpqrsvwxyz-{name}");
            let pairs = json!([
                [path("a"), NarHash::from_bytes([3; 32]).to_string()],
                [path("b+-._?="), NarHash::from_bytes([0xff; 32]).to_string()],
            ]);
            assert_eq!(
                value["contents"],
                json!({"paths": pairs, "store_dir": store_dir})
            );
            assert_eq!(canonical_json(&value).unwrap(), bytes);
        }
    }
}
