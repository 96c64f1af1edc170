//! Reading OCI layout directories, without any code of nixply: what is compared has to be read by someone else.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The digest of the one manifest that a layout's index names.
pub(crate) fn manifest_digest(layout: &Path) -> Result<String> {
    let index = read_json(&layout.join("index.json"))?;
    let manifests = index["manifests"]
        .as_array()
        .context("index.json has no manifests")?;
    ensure!(
        manifests.len() == 1,
        "{} has {} manifests, not one",
        layout.display(),
        manifests.len()
    );
    Ok(manifests[0]["digest"]
        .as_str()
        .context("a manifest in index.json has no digest")?
        .to_owned())
}

/// The sizes of the layers of that manifest, by digest.
pub(crate) fn layers(layout: &Path) -> Result<BTreeMap<String, u64>> {
    let digest = manifest_digest(layout)?;
    let manifest = read_json(&layout.join("blobs").join(digest.replace(':', "/")))?;
    let layers = manifest["layers"]
        .as_array()
        .context("the manifest has no layers")?;
    let entry = |layer: &Value| {
        Some((
            layer["digest"].as_str()?.to_owned(),
            layer["size"].as_u64()?,
        ))
    };
    layers
        .iter()
        .map(|layer| entry(layer).context("a layer has no digest or no size"))
        .collect()
}

fn read_json(file: &Path) -> Result<Value> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_sizes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("index.json", r#"{"manifests":[{"digest":"sha256:aa"}]}"#);
        write(
            "blobs/sha256/aa",
            r#"{"layers":[{"digest":"sha256:bb","size":3}]}"#,
        );
        assert_eq!(manifest_digest(dir.path()).unwrap(), "sha256:aa");
        assert_eq!(
            layers(dir.path()).unwrap(),
            BTreeMap::from([("sha256:bb".to_owned(), 3)])
        );
        write("index.json", r#"{"manifests":[]}"#);
        assert!(manifest_digest(dir.path()).is_err());
    }
}
