//! Reading images that exist already.
//!
//! An OCI layout is a directory or a tar, a docker archive a tar, and a tar may be compressed as a whole: all are a set of
//! named files ([`files::ImageFiles`]) from which two readers ([`oci`], [`docker`]) make the same [`OpenedImage`]. What a
//! path holds is told by content. A file that is both, as [`write_archive`](crate::write_archive) and Docker since 25 make
//! it, is read as an OCI layout, which names its blobs by digest.

mod docker;
mod files;
mod oci;
mod tar_members;
mod tell;
mod verify;

use crate::LayoutError;
use crate::documents::{DOCKER_MANIFEST, LAYOUT_VERSION, OCI_LAYOUT, OciLayout};
use crate::names::ImageName;
use files::DirectoryFiles;
pub(crate) use files::{ImageFiles, TarFiles, read_json};
use nixply_oci::{
    Descriptor, Digest, ImageConfig, ImageSource, Platform, SourceError, StoredImage,
};
use std::fs;
use std::io::Read;
use std::path::Path;
use verify::VerifyingReader;

pub use tell::is_image;

/// Which of several images to open, and where to uncompress.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions<'a> {
    /// The platform of the image; without one, there must be no choice.
    pub platform: Option<&'a Platform>,
    /// The name or the digest of the image; without one, there must be no choice.
    pub reference: Option<&'a str>,
    /// Where an archive that is compressed as a whole is uncompressed, in a file without a name.
    pub spool_dir: &'a Path,
}

/// The two forms of an image on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageForm {
    /// An OCI layout, as a directory or as a tar.
    OciLayout,
    /// A tar as `docker save` made it before Docker 25. It holds no manifest, so that the one that
    /// [`ImageSource::image`] gives is made up here: its digest is not the one that the image has in a registry.
    DockerArchive,
}

/// An image on disk, whose manifest and config are read and checked.
#[derive(Debug)]
pub struct OpenedImage {
    form: ImageForm,
    files: Box<dyn ImageFiles>,
    image: StoredImage,
    /// The files of the layers, bottom first.
    layer_files: Vec<String>,
}

impl OpenedImage {
    /// The form that the image was found in.
    #[must_use]
    pub fn form(&self) -> ImageForm {
        self.form
    }

    /// The digest that finds this image among several: that of its manifest, or of its config where it has no manifest.
    #[must_use]
    pub fn reference(&self) -> Digest {
        match self.form {
            ImageForm::OciLayout => self.image.manifest_descriptor.digest,
            ImageForm::DockerArchive => self.image.manifest.config.digest,
        }
    }

    /// Opens a layer as [`ImageSource::open_layer`] does, with this crate's own errors.
    pub fn read_layer(&self, layer_idx: usize) -> Result<impl Read + use<'_>, LayoutError> {
        let (Some(descriptor), Some(file)) = (
            self.image.manifest.layers.get(layer_idx),
            self.layer_files.get(layer_idx),
        ) else {
            return Err(LayoutError::NoSuchLayer {
                path: self.files.path().to_owned(),
                layer_idx,
                n_layers: self.layer_files.len(),
            });
        };
        open_blob(&*self.files, file, descriptor)
    }
}

impl ImageSource for OpenedImage {
    fn image(&self) -> &StoredImage {
        &self.image
    }

    fn open_layer(&self, layer_idx: usize) -> Result<Box<dyn Read + '_>, SourceError> {
        match self.read_layer(layer_idx) {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) => Err(SourceError(error.into())),
        }
    }
}

/// Opens an image at a path: an OCI layout, which is a directory or a tar, or a docker archive, which is a tar; a tar may be
/// compressed as a whole with gzip or zstd.
///
/// # Errors
///
/// [`LayoutError::NotAnImage`] where the path holds none of these; [`LayoutError::Ambiguous`] and
/// [`LayoutError::NoSuchImage`], which name what is there, where not exactly one image fits; what is broken or missing in
/// the image.
pub fn open_image(path: &Path, options: &OpenOptions<'_>) -> Result<OpenedImage, LayoutError> {
    let is_dir = fs::metadata(path)
        .map_err(LayoutError::file("read", path))?
        .is_dir();
    let files: Box<dyn ImageFiles> = if is_dir {
        Box::new(DirectoryFiles::new(path))
    } else {
        Box::new(TarFiles::open(path, options.spool_dir)?)
    };
    if files.has(OCI_LAYOUT) {
        check_layout_version(&*files)?;
        oci::open(files, options)
    } else if !is_dir && files.has(DOCKER_MANIFEST) {
        docker::open(files, options)
    } else {
        Err(LayoutError::NotAnImage {
            path: path.to_owned(),
        })
    }
}

/// Checks that a directory is an OCI layout of a version that is known here.
pub(crate) fn check_layout_directory(dir: &Path) -> Result<(), LayoutError> {
    check_layout_version(&DirectoryFiles::new(dir))
}

fn check_layout_version(files: &dyn ImageFiles) -> Result<(), LayoutError> {
    let layout: OciLayout = read_json(files, OCI_LAYOUT)?;
    if layout.image_layout_version == LAYOUT_VERSION {
        Ok(())
    } else {
        Err(LayoutError::LayoutVersion {
            path: files.path().to_owned(),
            found: layout.image_layout_version,
        })
    }
}

/// Opens a blob whose bytes are checked against its descriptor.
fn open_blob<'f>(
    files: &'f dyn ImageFiles,
    name: &str,
    descriptor: &Descriptor,
) -> Result<VerifyingReader<Box<dyn Read + 'f>>, LayoutError> {
    let file = files.open(name)?;
    if file.size_bytes != descriptor.size_bytes {
        return Err(LayoutError::BlobSize {
            path: files.path().to_owned(),
            blob: descriptor.digest,
            expected_bytes: descriptor.size_bytes,
            found_bytes: file.size_bytes,
        });
    }
    Ok(VerifyingReader::new(
        file.content,
        files.path(),
        descriptor.digest,
        descriptor.size_bytes,
    ))
}

/// Checks that a config has a diff ID for each layer.
fn check_layer_count(
    files: &dyn ImageFiles,
    config: &ImageConfig,
    n_layers: usize,
) -> Result<(), LayoutError> {
    let n_diff_ids = config.rootfs.diff_ids.len();
    if n_diff_ids == n_layers {
        Ok(())
    } else {
        Err(LayoutError::LayerCount {
            path: files.path().to_owned(),
            n_layers,
            n_diff_ids,
        })
    }
}

/// True where two names mean the same image: written alike, or alike once Docker has completed them.
fn names_match(wanted: &str, found: &str) -> bool {
    let completed = |name| ImageName::parse(name).map(|name| name.full);
    wanted == found
        || matches!((completed(wanted), completed(found)), (Ok(wanted), Ok(found)) if wanted == found)
}

/// What was asked for, in words.
fn wanted(options: &OpenOptions<'_>) -> String {
    match (options.reference, options.platform) {
        (Some(reference), Some(platform)) => format!("`{reference}` for {platform}"),
        (Some(reference), None) => format!("`{reference}`"),
        (None, Some(platform)) => format!("platform {platform}"),
        (None, None) => "an image".to_owned(),
    }
}

/// The one that is left, or an error that names those that fit, or those that were there.
fn the_only<T>(
    mut fitting: Vec<T>,
    files: &dyn ImageFiles,
    options: &OpenOptions<'_>,
    label: impl Fn(&T) -> String,
    all: Vec<String>,
) -> Result<T, LayoutError> {
    let path = files.path().to_owned();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => Err(LayoutError::Ambiguous {
            path,
            found: fitting.iter().chain([&last]).map(label).collect(),
        }),
        (None, _) => Err(LayoutError::NoSuchImage {
            path,
            wanted: wanted(options),
            found: all,
        }),
    }
}
