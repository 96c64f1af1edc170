//! What several test files need.

use nixply_layout::{
    ImageNames, LayoutError, OpenOptions, OpenedImage, WriteOptions, WriteReport, open_image,
    write_archive, write_docker_archive,
};
use nixply_oci::{Image, ImageSource};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Plenty of memory and two jobs.
pub(crate) fn options() -> WriteOptions {
    options_of(2, 1 << 30)
}

pub(crate) fn options_of(jobs: usize, memory_budget_bytes: u64) -> WriteOptions {
    WriteOptions {
        jobs,
        memory_budget_bytes,
        spool_dir: std::env::temp_dir(),
    }
}

pub(crate) fn names(references: &[&str]) -> ImageNames {
    ImageNames {
        references: references.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub(crate) fn archive_of(image: &dyn Image, references: &[&str]) -> Vec<u8> {
    archive_with(image, references, &options()).unwrap().0
}

pub(crate) fn archive_with(
    image: &dyn Image,
    references: &[&str],
    options: &WriteOptions,
) -> Result<(Vec<u8>, WriteReport), LayoutError> {
    let mut out = Vec::new();
    let report = write_archive(image, &names(references), &mut out, options, &())?;
    Ok((out, report))
}

pub(crate) fn docker_archive_of(image: &dyn Image, references: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    write_docker_archive(image, &names(references), &mut out, &options(), &()).unwrap();
    out
}

/// Writes bytes to a file in a directory that lives as long as the guard.
pub(crate) fn file_of(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.tar");
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

pub(crate) fn open(path: &Path) -> Result<OpenedImage, LayoutError> {
    open_as(path, None)
}

pub(crate) fn open_as(path: &Path, reference: Option<&str>) -> Result<OpenedImage, LayoutError> {
    open_image(
        path,
        &OpenOptions {
            platform: None,
            reference,
            spool_dir: &std::env::temp_dir(),
        },
    )
}

/// Reads every layer, bottom first.
pub(crate) fn layers_of(image: &OpenedImage) -> Vec<Vec<u8>> {
    (0..image.image().manifest.layers.len())
        .map(|layer_idx| {
            let mut bytes = Vec::new();
            image
                .open_layer(layer_idx)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            bytes
        })
        .collect()
}

/// A member of a tar that a test makes.
pub(crate) enum Member<'a> {
    File(&'a str, &'a [u8]),
    Symlink(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}

/// A tar whose members may have names that no honest tar has.
pub(crate) fn tar_of(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let (name, content): (&str, &[u8]) = match member {
            Member::File(name, content) => (name, content),
            Member::Symlink(name, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name_literal(target).unwrap();
                (name, b"")
            }
            Member::HardLink(name, target) => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_link_name_literal(target).unwrap();
                (name, b"")
            }
        };
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The members of a tar by name and content, directories with a slash and no content.
pub(crate) fn members_of(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    tar::Archive::new(tar)
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            (name, content)
        })
        .collect()
}
