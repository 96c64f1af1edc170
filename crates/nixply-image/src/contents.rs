//! What is known of an image without reading a layer: of a plan, or of an image that exists already.

use crate::finish::{linked_name, store_paths_of_history};
use crate::{Plan, PlanError, PlannedLayer, RootFileSpec};
use nixply_layer::{Compression, LayerContents, LayerSpec, Nix2containerPath, RootFileKind};
use nixply_oci::{
    ANNOTATION_LAYER_KEY, DiffId, Digest, History, LayerKey, Platform, RuntimeConfig, StoredImage,
};
use nixply_store::{NarHash, StoreDir, StorePath};

/// What the sizes of an image's layers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeMeasure {
    /// NAR sizes of the store paths, summed: a plan's layers are not made yet.
    NarSize,
    /// Bytes as they are stored and sent.
    StoredSize,
}

/// An image's layers, what they hold, and what a container runs.
#[derive(Debug, Clone)]
pub struct ImageContents {
    /// What the sizes are.
    pub measure: SizeMeasure,
    /// The digest of the manifest, where there is an image.
    pub digest: Option<Digest>,
    /// What the image runs on.
    pub platform: Platform,
    /// The creation time, where one is recorded.
    pub created: Option<String>,
    /// What a container runs.
    pub config: RuntimeConfig,
    /// The directory that the store paths lie in.
    pub store_dir: StoreDir,
    /// The closure's roots; empty where nobody recorded them.
    pub roots: Vec<StorePath>,
    /// The layers, bottom first.
    pub layers: Vec<LayerOutline>,
}

/// A layer as far as it is known.
#[derive(Debug, Clone)]
pub struct LayerOutline {
    /// What it was or will be made from.
    pub key: Option<LayerKey>,
    /// Its key had it been planned without compression: equal for layers whose diff IDs will be equal. Plans only.
    pub content_key: Option<LayerKey>,
    /// The digest of its bytes on the wire.
    pub digest: Option<Digest>,
    /// The hash of its uncompressed tar.
    pub diff_id: Option<DiffId>,
    /// Its size, in the image's measure.
    pub size_bytes: u64,
    /// What it holds.
    pub holds: LayerHolds,
}

/// What a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerHolds {
    /// Store paths, in the order in which they are named.
    StorePaths(Vec<HeldPath>),
    /// Files outside the store: their paths, where they are named. `/nix/store/…-bash/` stands for all links into that path.
    RootFiles(Vec<String>),
    /// Nobody says; what the history has instead.
    Unknown(Option<String>),
}

/// A store path in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPath {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR, where known.
    pub nar_hash: Option<NarHash>,
    /// The size of its NAR, where known.
    pub nar_size_bytes: Option<u64>,
}

impl LayerOutline {
    /// The store paths; none for other layers.
    #[must_use]
    pub fn paths(&self) -> &[HeldPath] {
        match &self.holds {
            LayerHolds::StorePaths(paths) => paths,
            _ => &[],
        }
    }
}

impl ImageContents {
    /// What a plan says.
    pub fn of_plan(plan: &Plan) -> Result<Self, PlanError> {
        let store_dir = plan.store_dir().unwrap_or_default();
        let layers = plan
            .layer_specs()?
            .into_iter()
            .zip(&plan.layers)
            .map(|(spec, layer)| planned_layer(spec, layer, &store_dir))
            .collect();
        Ok(Self {
            measure: SizeMeasure::NarSize,
            digest: None,
            platform: plan.platform.clone(),
            created: Some(
                plan.created
                    .clone()
                    .unwrap_or_else(|| crate::DEFAULT_CREATED.to_owned()),
            ),
            config: plan.config.clone(),
            roots: plan
                .roots
                .iter()
                .filter_map(|root| store_dir.parse(root).ok())
                .collect(),
            layers,
            store_dir,
        })
    }

    /// What the manifest and the config of an image say. Store paths are known where the history names them, as nixply
    /// and nixpkgs' dockerTools write it; nix2container's history names none.
    #[must_use]
    pub fn of_stored(image: &StoredImage) -> Self {
        let histories: Vec<&History> = image
            .config
            .history
            .iter()
            .filter(|history| !history.empty_layer)
            .collect();
        // A history of another length cannot be laid over the layers.
        let histories = (histories.len() == image.manifest.layers.len()).then_some(histories);
        let mut store_dir = None;
        let mut layers = Vec::with_capacity(image.manifest.layers.len());
        for (idx, descriptor) in image.manifest.layers.iter().enumerate() {
            let history = histories.as_ref().map(|histories| histories[idx]);
            layers.push(LayerOutline {
                key: descriptor
                    .annotations
                    .get(ANNOTATION_LAYER_KEY)
                    .and_then(|key| key.parse().ok()),
                content_key: None,
                digest: Some(descriptor.digest),
                diff_id: image.config.rootfs.diff_ids.get(idx).copied(),
                size_bytes: descriptor.size_bytes,
                holds: history.map_or(LayerHolds::Unknown(None), |history| {
                    held_by_history(history, &mut store_dir)
                }),
            });
        }
        Self {
            measure: SizeMeasure::StoredSize,
            digest: Some(image.manifest_descriptor.digest),
            platform: image.config.platform.clone(),
            created: image.config.created.clone(),
            config: image.config.config.clone().unwrap_or_default(),
            store_dir: store_dir.unwrap_or_default(),
            roots: Vec::new(),
            layers,
        }
    }

    /// All store paths, layer by layer from the bottom.
    pub fn paths(&self) -> impl Iterator<Item = &HeldPath> {
        self.layers.iter().flat_map(LayerOutline::paths)
    }

    /// The sizes of all layers together.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.layers
            .iter()
            .map(|layer| layer.size_bytes)
            .fold(0, u64::saturating_add)
    }

    /// Says what a layer holds that does not say so itself: the store paths that somebody found in it. A layer without
    /// any holds root files.
    pub fn set_found(&mut self, layer_idx: usize, paths: Vec<StorePath>) {
        self.layers[layer_idx].holds = if paths.is_empty() {
            LayerHolds::RootFiles(Vec::new())
        } else {
            LayerHolds::StorePaths(paths.into_iter().map(named).collect())
        };
    }
}

fn named(path: StorePath) -> HeldPath {
    HeldPath {
        path,
        nar_hash: None,
        nar_size_bytes: None,
    }
}

fn planned_layer(
    spec: Option<LayerSpec>,
    layer: &PlannedLayer,
    store_dir: &StoreDir,
) -> LayerOutline {
    let (size_bytes, holds) = match layer {
        PlannedLayer::Store {
            nar_size_bytes,
            paths,
            ..
        } => {
            let held = paths.iter().filter_map(|planned| {
                Some(HeldPath {
                    path: store_dir.parse(&planned.path).ok()?,
                    nar_hash: Some(planned.nar_hash),
                    nar_size_bytes: Some(planned.nar_size_bytes),
                })
            });
            (*nar_size_bytes, LayerHolds::StorePaths(held.collect()))
        }
        PlannedLayer::Root {
            files, contents, ..
        } => {
            let names = files.iter().map(|file| file.path.clone());
            let linked = contents.iter().map(|content| linked_name(&content.path));
            (
                files
                    .iter()
                    .map(root_file_bytes)
                    .fold(0, u64::saturating_add),
                LayerHolds::RootFiles(names.chain(linked).collect()),
            )
        }
        PlannedLayer::Tar { size_bytes, .. } => (*size_bytes, LayerHolds::RootFiles(Vec::new())),
        PlannedLayer::Database { .. } => {
            let weight_bytes = spec.as_ref().map_or(0, LayerSpec::weight_bytes);
            let paths = spec.as_ref().map_or_else(Vec::new, file_paths);
            (weight_bytes, LayerHolds::RootFiles(paths))
        }
        PlannedLayer::Base(base) => {
            let paths = base
                .paths
                .iter()
                .filter_map(|path| store_dir.parse(path).ok());
            let held: Vec<HeldPath> = paths.map(named).collect();
            let holds = if held.is_empty() {
                LayerHolds::Unknown(Some("base image".to_owned()))
            } else {
                LayerHolds::StorePaths(held)
            };
            (base.stored().size_bytes, holds)
        }
        PlannedLayer::Nix2container {
            size_bytes, paths, ..
        } => (*size_bytes, nix2container_holds(paths, store_dir)),
    };
    let uncompressed = spec.map(|spec| LayerSpec {
        compression: Compression::None,
        ..spec
    });
    let (digest, diff_id) = match layer {
        PlannedLayer::Base(base) => (
            base.descriptor.as_ref().map(|descriptor| descriptor.digest),
            Some(base.diff_id),
        ),
        PlannedLayer::Tar { diff_id, .. } => (None, Some(*diff_id)),
        _ => (None, None),
    };
    LayerOutline {
        key: layer.key(),
        content_key: uncompressed.map(|spec| spec.key()),
        digest,
        diff_id,
        size_bytes,
        holds,
    }
}

/// The regular files among root files.
fn file_paths(spec: &LayerSpec) -> Vec<String> {
    let LayerContents::Root { files } = &spec.contents else {
        return Vec::new();
    };
    let files = files.iter();
    files
        .filter(|file| matches!(file.kind, RootFileKind::File(_)))
        .map(|file| file.path.clone())
        .collect()
}

/// The store paths that stand in the layer under their own names; the contents of the others are root files.
fn nix2container_holds(paths: &[Nix2containerPath], store_dir: &StoreDir) -> LayerHolds {
    let moved = |path: &Nix2containerPath| {
        let options = path.options.as_ref();
        options.is_some_and(|options| !options.rewrite.regex.is_empty())
    };
    let held: Vec<HeldPath> = paths
        .iter()
        .filter(|path| !moved(path))
        .filter_map(|path| store_dir.parse(&path.path).ok().map(named))
        .collect();
    if held.is_empty() {
        return LayerHolds::RootFiles(Vec::new());
    }
    LayerHolds::StorePaths(held)
}

fn root_file_bytes(file: &RootFileSpec) -> u64 {
    let inline = file
        .content
        .as_ref()
        .map(|content| u64::try_from(content.len()).unwrap_or(u64::MAX));
    inline.or(file.size_bytes).unwrap_or(0)
}

/// What a history entry says of its layer. The first layer with store paths decides the store directory.
fn held_by_history(history: &History, store_dir: &mut Option<StoreDir>) -> LayerHolds {
    let comment = history.comment.as_deref().or(history.created_by.as_deref());
    let unknown = || LayerHolds::Unknown(comment.map(str::to_owned));
    if let Some(files) = crate::finish::root_files_of_history(history) {
        return LayerHolds::RootFiles(files);
    }
    let named_paths = store_paths_of_history(history).or_else(|| dockertools_paths(history));
    let Some(texts) = named_paths.filter(|paths| !paths.is_empty()) else {
        return unknown();
    };
    let mut paths = Vec::with_capacity(texts.len());
    for text in texts {
        if store_dir.is_none() {
            *store_dir = text
                .rsplit_once('/')
                .and_then(|(dir, _)| StoreDir::new(dir).ok());
        }
        match store_dir.as_ref().map(|dir| dir.parse(&text)) {
            Some(Ok(path)) => paths.push(named(path)),
            // A layer of a base image is named by its place in an archive.
            _ => return unknown(),
        }
    }
    // dockerTools names the store path that the root files were copied from; it is not in the layer.
    if let [only] = paths.as_slice()
        && only.path.name().ends_with("-customisation-layer")
    {
        return LayerHolds::RootFiles(Vec::new());
    }
    LayerHolds::StorePaths(paths)
}

/// The store paths that nixpkgs' dockerTools names: `store paths: ['/nix/store/…', …]`, a list as Python prints it. No
/// store path holds a quote or a backslash, so nothing needs to be unescaped.
fn dockertools_paths(history: &History) -> Option<Vec<String>> {
    let list = history.comment.as_deref()?.strip_prefix("store paths: [")?;
    list.strip_suffix(']')?
        .split(", ")
        .map(|item| {
            let text = item.strip_prefix('\'')?.strip_suffix('\'')?;
            (!text.contains(['\'', '\\'])).then(|| text.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "/nix/store/1111111111111111111111111111111a-app-1.0";
    const B: &str = "/nix/store/2222222222222222222222222222222b-lib-2";

    fn held(comment: &str) -> LayerHolds {
        let history = History {
            comment: Some(comment.to_owned()),
            ..History::default()
        };
        held_by_history(&history, &mut None)
    }

    fn names(holds: &LayerHolds) -> Vec<&str> {
        match holds {
            LayerHolds::StorePaths(paths) => paths.iter().map(|held| held.path.name()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn histories_of_nixply_and_of_dockertools_name_store_paths() {
        let json = format!("store paths: [\"{A}\",\"{B}\"]");
        let python = format!("store paths: ['{A}', '{B}']");
        assert_eq!(names(&held(&json)), ["app-1.0", "lib-2"]);
        assert_eq!(names(&held(&python)), ["app-1.0", "lib-2"]);
    }

    #[test]
    fn other_layers_of_dockertools_hold_no_store_path_that_is_named() {
        let customisation =
            "store paths: ['/nix/store/3333333333333333333333333333333c-x-customisation-layer']";
        assert_eq!(held(customisation), LayerHolds::RootFiles(Vec::new()));
        let base = "store paths: ['0123abcd/layer.tar']";
        assert_eq!(held(base), LayerHolds::Unknown(Some(base.to_owned())));
        for odd in [
            "store paths: []",
            "store paths: ['",
            "store paths: [a]",
            "nix2container",
        ] {
            assert_eq!(held(odd), LayerHolds::Unknown(Some(odd.to_owned())));
        }
    }

    #[test]
    fn root_files_are_named_by_nixply() {
        assert_eq!(
            held("root files: [\"etc/passwd\"]"),
            LayerHolds::RootFiles(vec!["etc/passwd".to_owned()])
        );
    }
}
