//! Whether a path holds an image, told by as little of it as that takes.

use super::files::read_start;
use super::tar_members::member_name;
use crate::LayoutError;
use crate::compression::Compression;
use crate::documents::{BLOBS, DOCKER_MANIFEST, DockerManifestItem, INDEX, OCI_LAYOUT};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use tar::{Archive, Entries};

/// More than any manifest of a docker archive; a file of that name may be anything.
const MANIFEST_MAX_BYTES: u64 = 4 << 20;

/// What the name of an archive's member says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Image,
    /// An image has such members, and something else may have them.
    Undecided,
    Other,
}

/// True where a path is an OCI layout directory or an image archive, compressed as a whole or not.
///
/// An image archive holds nothing but what the two forms name, and almost every name is a SHA-256. So the first members
/// tell, and a tar of any size that is something else is told by its first member as a rule. Whether the image is whole,
/// [`open_image`](super::open_image) says.
///
/// # Errors
///
/// [`LayoutError::File`] where the path cannot be read.
pub fn is_image(path: &Path) -> Result<bool, LayoutError> {
    let read_error = |error| LayoutError::file("read", path)(error);
    let metadata = fs::metadata(path).map_err(read_error)?;
    if metadata.is_dir() {
        return Ok(path.join(OCI_LAYOUT).is_file() && path.join(INDEX).is_file());
    }
    let file = File::open(path).map_err(read_error)?;
    let mut start = [0; 4];
    let n = read_start(&file, &mut start).map_err(read_error)?;
    // What cannot be read as a tar, from its first byte or further on, is no image.
    Ok(match Compression::sniff(&start[..n]) {
        Compression::None => Archive::new(file).entries_with_seek().map(are_of_an_image),
        compression => compression
            .reader(BufReader::new(file))
            .and_then(|tar| Archive::new(tar).entries().map(are_of_an_image)),
    }
    .unwrap_or(false))
}

fn are_of_an_image<R: Read>(entries: Entries<'_, R>) -> bool {
    for entry in entries {
        let Ok(mut entry) = entry else {
            return false;
        };
        let name = entry.path_bytes();
        let Ok(name) = std::str::from_utf8(&name) else {
            return false;
        };
        // The directory itself, as `tar -c .` names it.
        let Some(name) = member_name(name).or_else(|| matches!(name, "." | "./").then(String::new))
        else {
            return false;
        };
        match verdict(&name) {
            Verdict::Image if name == DOCKER_MANIFEST => return is_docker_manifest(&mut entry),
            Verdict::Image => return true,
            Verdict::Other => return false,
            Verdict::Undecided => {}
        }
    }
    false
}

fn verdict(name: &str) -> Verdict {
    let is_digest = |text: &str| {
        text.len() == 64
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match name {
        OCI_LAYOUT | DOCKER_MANIFEST => return Verdict::Image,
        "" | INDEX | "repositories" | "blobs" | BLOBS => return Verdict::Undecided,
        _ => {}
    }
    if let Some(blob) = name
        .strip_prefix(BLOBS)
        .and_then(|name| name.strip_prefix('/'))
    {
        return if is_digest(blob) {
            Verdict::Image
        } else {
            Verdict::Other
        };
    }
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    if is_digest(first) {
        return match rest {
            "layer.tar" => Verdict::Image,
            "" | "VERSION" | "json" => Verdict::Undecided,
            _ => Verdict::Other,
        };
    }
    // go-containerregistry writes `sha256:…`, the config, and `….tar.gz`.
    let file = if rest.is_empty() { first } else { "" };
    match file.split_once('.') {
        Some((digest, "tar" | "tar.gz")) if is_digest(digest) => Verdict::Image,
        Some((digest, "json")) if is_digest(digest) => Verdict::Undecided,
        None if file.strip_prefix("sha256:").is_some_and(is_digest) => Verdict::Undecided,
        _ => Verdict::Other,
    }
}

/// Other archives have a `manifest.json`, too; that of images is a list of them.
fn is_docker_manifest(manifest: &mut impl Read) -> bool {
    let mut bytes = Vec::new();
    let is_read = manifest
        .take(MANIFEST_MAX_BYTES)
        .read_to_end(&mut bytes)
        .is_ok();
    is_read && serde_json::from_slice::<Vec<DockerManifestItem>>(&bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_an_image() {
        let digest = "0123456789abcdef".repeat(4);
        for (name, expected) in [
            ("oci-layout".to_owned(), Verdict::Image),
            ("manifest.json".to_owned(), Verdict::Image),
            (format!("blobs/sha256/{digest}"), Verdict::Image),
            (format!("{digest}/layer.tar"), Verdict::Image),
            (format!("{digest}.tar"), Verdict::Image),
            (format!("{digest}.tar.gz"), Verdict::Image),
            (format!("sha256:{digest}"), Verdict::Undecided),
            (String::new(), Verdict::Undecided),
            ("blobs".to_owned(), Verdict::Undecided),
            ("index.json".to_owned(), Verdict::Undecided),
            (digest.clone(), Verdict::Undecided),
            (format!("{digest}/VERSION"), Verdict::Undecided),
            (format!("{digest}.json"), Verdict::Undecided),
            (format!("{digest}/x"), Verdict::Other),
            (format!("{digest}.tar/x"), Verdict::Other),
            ("blobs/sha256/x".to_owned(), Verdict::Other),
            ("hello-1.0/manifest.json".to_owned(), Verdict::Other),
        ] {
            assert_eq!(verdict(&name), expected, "{name}");
        }
    }
}
