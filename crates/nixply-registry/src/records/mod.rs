//! Layer records: knowing what a layer is without reading it.
//!
//! A record maps a layer key to what the layer turned out to be, and to the repositories that hold it. Its sources, in
//! this order: the image itself, this machine's [`RecordStore`], the manifests at the tags that are pushed to, images that
//! the user names, the layer index. Any of them may be missing; none of them can fail a push. Who is trusted for what
//! stands in `docs/security.md`.

mod index;
mod index_artifact;
mod manifest;
mod store;
mod survey;

pub(crate) use index::{IndexedImage, LayerIndex};
pub(crate) use index_artifact::{ARTIFACT_TYPE, ReadIndex, read_index, write_index};
pub use store::{RecordStore, StoredRecord};
pub(crate) use survey::IndexState;
pub use survey::{KnownLayer, Survey};
