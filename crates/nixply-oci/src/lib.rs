//! OCI image types, digests, canonical JSON, and the traits that join makers of images to places for them.
//!
//! # Duty
//!
//! This crate owns what an image *is* on the wire: digests ([`DiffId`], [`LayerDigest`], [`Digest`]), descriptors,
//! the manifest, the config, the index, image references, media types, and the exact bytes of their JSON
//! ([`canonical_json`]). It does no I/O of its own and knows neither Nix nor any registry.
//!
//! # Design
//!
//! A [`Layer`] is lazy and repeatable: it may know its digests before a byte is made, its bytes are made only when a
//! sink asks for them, and they come out the same each time. An [`Image`] is an ordered list of layers and a pure
//! function from what the layers turned out to be to the config and the manifest. Sinks (a registry, a layout
//! directory, an archive) see only these two traits, so they never learn where bytes come from; makers never learn
//! where bytes go.
//!
//! # Sources
//!
//! OCI image-spec v1.1.1 (`config.md`, `descriptor.md`, `image-index.md`, `image-layout.md`, `layer.md`,
//! `manifest.md`) and distribution-spec v1.1.1.

mod annotations;
mod canonical;
mod config;
mod descriptor;
mod digest;
mod image;
mod layer_source;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod repository_name;
mod stored;

pub use annotations::{
    ANNOTATION_BASE_DIGEST, ANNOTATION_BASE_NAME, ANNOTATION_CONTAINERD_IMAGE_NAME,
    ANNOTATION_LAYER_DIFF_ID, ANNOTATION_LAYER_KEY, ANNOTATION_REF_NAME,
};
pub use canonical::{CanonicalJsonError, canonical_json};
pub use config::{EmptyObject, History, ImageConfig, RootFs, RootFsType, RuntimeConfig};
pub use descriptor::Descriptor;
pub use digest::{BlobHasher, DiffId, Digest, DigestError, HashingWriter, LayerDigest, LayerKey};
pub use image::{FinishedImage, Image, ImageError, Layer, LayerError, LayerRecord};
pub use layer_source::{LayerPlace, LayerSource};
pub use manifest::{ImageIndex, ImageManifest, SCHEMA_VERSION};
pub use media_type::MediaType;
pub use platform::{Platform, PlatformError};
pub use reference::{ImageReference, ReferenceError};
pub use repository_name::RepositoryName;
pub use stored::{ImageSource, SourceError, StoredImage};
