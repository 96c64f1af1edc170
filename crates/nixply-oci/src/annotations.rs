//! The annotation keys that nixply writes and reads.

/// Layer descriptor annotation: the [`LayerKey`](crate::LayerKey) that the layer was made from, in its text form.
///
/// Whoever finds it in a manifest knows the layer's digest without reading a file of the store.
pub const ANNOTATION_LAYER_KEY: &str = "dev.nixply.layer.key";

/// Layer descriptor annotation: the [`DiffId`](crate::DiffId), so that a manifest alone tells it.
pub const ANNOTATION_LAYER_DIFF_ID: &str = "dev.nixply.layer.diff-id";

/// Index entry annotation of OCI image-spec v1.1.1 `annotations.md`: the tag (or name) of the manifest.
pub const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Index entry annotation that containerd, Docker's containerd store and podman read as the whole image name.
pub const ANNOTATION_CONTAINERD_IMAGE_NAME: &str = "io.containerd.image.name";

/// Manifest annotation of OCI image-spec v1.1.1 `annotations.md`: the digest of the base image, whose layers are the lowest.
pub const ANNOTATION_BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Manifest annotation of OCI image-spec v1.1.1 `annotations.md`: the base image's reference.
pub const ANNOTATION_BASE_NAME: &str = "org.opencontainers.image.base.name";
