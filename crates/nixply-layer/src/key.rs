//! The layer key: what a layer is made from, as one hash (`docs/format.md`, "Layer key").

use crate::FORMAT_VERSION;
use crate::spec::{
    DockerToolsHeader, FileContent, LayerContents, LayerFormat, LayerSpec, RootFile, RootFileKind,
    StorePathContent,
};
use data_encoding::HEXLOWER;
use nixply_oci::{LayerKey, canonical_json};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The version of what is written here about dockerTools' format.
const DOCKER_TOOLS_VERSION: u32 = 1;

impl LayerSpec {
    /// The hash of everything that the layer's bytes follow from; see `docs/format.md`, "Layer key".
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a value of texts and integers always has canonical JSON"
    )]
    pub fn key(&self) -> LayerKey {
        let bytes = canonical_json(&self.key_value()).expect("texts and integers");
        LayerKey::of(&bytes)
    }

    /// The value whose canonical JSON is hashed.
    pub(crate) fn key_value(&self) -> Value {
        json!({
            "compression": self.compression.encoder_id(),
            "contents": contents_value(&self.contents, &self.format),
            "format": format_value(&self.format),
        })
    }
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

fn contents_value(contents: &LayerContents, format: &LayerFormat) -> Value {
    match contents {
        LayerContents::Store { store_dir, paths } => {
            let mut paths: Vec<&StorePathContent> = paths.iter().collect();
            // Only in dockerTools' format does the order of the paths reach the bytes.
            if *format == LayerFormat::Nixply {
                paths.sort_by(|a, b| a.path.cmp(&b.path));
            }
            let pair = |content: &StorePathContent| {
                json!([
                    store_dir.display(&content.path),
                    content.nar_hash.to_string()
                ])
            };
            json!({"store_dir": store_dir.as_str(), "paths": paths.into_iter().map(pair).collect::<Vec<_>>()})
        }
        LayerContents::Root { files } => {
            let mut files: Vec<&RootFile> = files.iter().collect();
            files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
            json!({"files": files.into_iter().map(file_value).collect::<Vec<_>>()})
        }
    }
}

fn file_value(file: &RootFile) -> Value {
    let mut value = json!({
        "path": file.path,
        "mode": format!("{:04o}", file.mode),
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
        }
    }
    value
}
