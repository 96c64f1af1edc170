//! Several docker archives as one: `docker load` of it loads all their images.

use crate::LayoutError;
use crate::documents::{DOCKER_MANIFEST, DockerManifestItem};
use crate::open::{ImageFiles, TarFiles, read_json};
use crate::tar_out::TarWriter;
use nixply_oci::{HashingWriter, ImageError, canonical_json};
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
    // Of each member, the hash of its content and the archive that had it first.
    let mut there: BTreeMap<String, ([u8; 32], &Path)> = BTreeMap::new();
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
                if let Some((sha256, first)) = there.get(member) {
                    // Not every archive calls its members by digests.
                    if *first != archive && *sha256 != hash_member(&files, member, archive)? {
                        return Err(LayoutError::TwoContents {
                            member: member.clone(),
                            first: (*first).to_owned(),
                            second: archive.clone(),
                        });
                    }
                    continue;
                }
                let mut file = files.open(member)?;
                tar.start_file(member, file.size_bytes)
                    .map_err(LayoutError::Output)?;
                let mut out = HashingWriter::new(tar.content());
                io::copy(&mut file.content, &mut out).map_err(LayoutError::Output)?;
                let (_, sha256, size_bytes) = out.finish();
                tar.end_file(size_bytes).map_err(LayoutError::Output)?;
                there.insert(member.clone(), (sha256, archive));
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

fn hash_member(files: &TarFiles, member: &str, archive: &Path) -> Result<[u8; 32], LayoutError> {
    let mut hasher = HashingWriter::new(io::sink());
    io::copy(&mut files.open(member)?.content, &mut hasher).map_err(|source| {
        LayoutError::Archive {
            path: archive.to_owned(),
            source,
        }
    })?;
    Ok(hasher.finish().1)
}
