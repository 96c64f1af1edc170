//! Several docker archives as one: `docker load` of it loads all their images.

use crate::LayoutError;
use crate::documents::{DOCKER_MANIFEST, DockerManifestItem};
use crate::open::{ImageFiles, TarFiles, read_json};
use crate::tar_out::TarWriter;
use nixply_oci::{ImageError, canonical_json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes the images of docker archives, compressed as a whole or not, as one docker archive: the members that their
/// `manifest.json` name, in the order of archives and images, then one `manifest.json`. A member that several images name
/// stands once; nothing is made again, so all image IDs stay.
///
/// # Errors
///
/// [`LayoutError::NotAnImage`] where one of them is no docker archive, [`LayoutError::TwoContents`] where two members of one
/// name are not the same, and what is broken or missing in an archive.
pub fn merge_docker_archives(
    archives: &[PathBuf],
    spool_dir: &Path,
    out: &mut dyn Write,
) -> Result<(), LayoutError> {
    let mut tar = TarWriter::new(out);
    let mut there: BTreeMap<String, (u64, &Path)> = BTreeMap::new();
    let mut images: Vec<DockerManifestItem> = Vec::new();
    for archive in archives {
        let files = TarFiles::open(archive, spool_dir)?;
        if !files.has(DOCKER_MANIFEST) {
            return Err(LayoutError::NotAnImage {
                path: archive.clone(),
            });
        }
        let items: Vec<DockerManifestItem> = read_json(&files, DOCKER_MANIFEST)?;
        for item in items {
            let layers = item.layers.iter().flatten();
            for member in layers.chain([&item.config]) {
                let mut file = files.open(member)?;
                if let Some((size_bytes, first)) = there.get(member) {
                    // Members are called by digests, so a size tells.
                    if *size_bytes != file.size_bytes {
                        return Err(LayoutError::TwoContents {
                            member: member.clone(),
                            first: (*first).to_owned(),
                            second: archive.clone(),
                        });
                    }
                    continue;
                }
                there.insert(member.clone(), (file.size_bytes, archive));
                tar.start_file(member, file.size_bytes)
                    .map_err(LayoutError::Output)?;
                io::copy(&mut file.content, tar.content())
                    .and_then(|_| tar.end_file(file.size_bytes))
                    .map_err(LayoutError::Output)?;
            }
            if !images.contains(&item) {
                images.push(item);
            }
        }
    }
    let manifest = canonical_json(&images).map_err(|source| ImageError::Json {
        what: "docker manifest",
        source,
    })?;
    tar.file(DOCKER_MANIFEST, &manifest)
        .and_then(|()| tar.finish())
        .map_err(LayoutError::Output)
}
