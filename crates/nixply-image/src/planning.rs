//! From a closure and options to a plan.

use crate::base::{
    Below, check_store_dir, put_on, put_over, put_tars_over, tree_below, without_base,
};
use crate::nix_database::{check_database_dirs, database_layer};
use crate::{
    BaseDatabase, BaseError, BaseImage, LayerFormatRecord, LayerReasonRecord, LinkedContent,
    NixOwner, OnCollision, PackerRecord, Plan, PlanError, PlannedLayer, PlannedPath,
    PlannedPermissions, RootFileError, RootFileSpec, VolatilePath,
};
use nixply_layer::{
    Compression, EntryPermissions, FinishedTar, LayerContents, StorePathContent, StoreRoot,
};
use nixply_oci::{
    ANNOTATION_BASE_DIGEST, ANNOTATION_BASE_NAME, CanonicalJsonError, Digest, Platform,
    RuntimeConfig, canonical_json,
};
use nixply_pack::{
    Budget, Catalog, CatalogError, LayerReason, PackError, PackOptions, PackedLayer, Packer,
    Packing, Pipeline, pack,
};
use nixply_store::{Closure, PathIdx, StoreDir, StorePath};
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
pub(crate) mod tests;

/// The most layers where nobody says otherwise: dockerTools' default, which leaves Docker's limit of 125 some room for
/// images built on top.
pub const DEFAULT_MAX_LAYERS: usize = 100;

/// A layer names the package sets that hold all of it up to so many; more would fill the plan with the same list.
const MAX_NAMED_SETS: usize = 4;

/// Everything that a plan depends on beside the closure.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// What decides the layers.
    pub packer: Packer,
    /// The image that this one is built on. Its config is the caller's to merge ([`inherit`](crate::inherit)).
    pub base: Option<BaseImage>,
    /// The most layers that the image may have, those of the base and the root layer included.
    pub max_layers: usize,
    /// Paths that are new in every version of the image; none: they are found by structure.
    pub volatile: Vec<StorePath>,
    /// The fleet's catalog.
    pub catalog: Option<Catalog>,
    /// The layers of an earlier image, bottom first.
    pub prior: Vec<Vec<StorePath>>,
    /// The steps that make the layers, with [`Packer::Pipeline`].
    pub pipeline: Option<Pipeline>,
    /// How layers are compressed.
    pub compression: Compression,
    /// How layers are written.
    pub layer_format: LayerFormatRecord,
    /// What the image runs on.
    pub platform: Platform,
    /// What a container runs.
    pub config: RuntimeConfig,
    /// What stands outside the store, resolved.
    pub root_files: Vec<RootFileSpec>,
    /// What the root has of contents.
    pub contents: Vec<LinkedContent>,
    /// What happens where two contents come to have different things at one place of the base.
    pub on_collision: OnCollision,
    /// Where the store is. It is read only where links of contents give way to directories of the base.
    pub store: StoreRoot,
    /// Entries of store paths with another owner or mode than all others have.
    pub permissions: BTreeMap<StorePath, Vec<EntryPermissions>>,
    /// Finished tars: one layer each, above all others, the first one lowest.
    pub layer_tars: Vec<FinishedTar>,
    /// Who owns Nix's database of all paths of the image; none: the image has no database.
    pub nix_database: Option<NixOwner>,
    /// The image's name.
    pub name: Option<String>,
    /// The image's tag.
    pub tag: Option<String>,
    /// The image's creation time.
    pub created: Option<String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What the plan names as its tool.
    pub tool: Option<String>,
}

impl PlanOptions {
    fn has_root(&self) -> bool {
        !self.root_files.is_empty() || !self.contents.is_empty()
    }

    /// The layers above the store paths: one for the root, and the finished tars.
    fn own_layers(&self) -> usize {
        usize::from(self.has_root())
            + self.layer_tars.len()
            + usize::from(self.nix_database.is_some())
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanningError {
    /// The packer cannot keep to the budget.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A path that shall be new in every version of the image is not in this one.
    #[error("`{path}` is given as volatile, but the image does not hold it")]
    Volatile {
        /// The path.
        path: StorePath,
    },
    /// The catalog cannot be written, so it has no hash.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A root file cannot be part of an image.
    #[error(transparent)]
    RootFile(#[from] RootFileError),
    /// Nix's database cannot be made.
    #[error(transparent)]
    Database(#[from] PlanError),
    /// The layering pipeline takes a path out that Nix's database would say is there.
    #[error(
        "the layering pipeline removes `{path}`, but the image has Nix's database, which knows it: expected no \
         `remove_paths`, or no database"
    )]
    Removed {
        /// The first such path.
        path: String,
    },
    /// The layering pipeline cannot be written, so it has no hash.
    #[error("the layering pipeline cannot be written")]
    Pipeline(#[source] CanonicalJsonError),
    /// The image cannot be built on its base.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// There is no store path, no root file and no layer tar.
    #[error("the image would be empty: it has neither store paths nor root files nor layer tars")]
    Empty,
}

/// Packs a closure into layers and puts the root files, where there are any, into one more on top, below what is new in
/// every version of the image. The layers of a base stand below all of it; store paths that they hold are not packed again.
pub fn plan_image(
    closure: Option<&Closure>,
    mut options: PlanOptions,
) -> Result<Plan, PlanningError> {
    let is_empty = options.own_layers() == 0 && options.base.is_none();
    if closure.is_none() && is_empty {
        return Err(PlanningError::Empty);
    }
    let packer = packer_record(&options)?;
    let mut plan = Plan::empty(options.platform.clone(), packer, options.compression);
    plan.layer_format = options.layer_format.clone();
    if let Some(base) = options.base.take() {
        over_base(&base, closure, &mut options)?;
        set_base_annotations(&base, &mut options.annotations);
        if options.nix_database.is_some() {
            check_all_known(&base, closure)?;
        } else if base.database == BaseDatabase::LeftOut {
            return Err(BaseError::Database.into());
        }
        put_on(&mut plan, base);
    }
    let base_layers = plan.layers.len();
    if let Some(closure) = closure {
        plan.roots = (closure.roots().into_iter())
            .map(|idx| path_text(closure, idx))
            .collect();
        let new = without_base(closure, &plan, &mut options.permissions);
        check_room(&plan, usize::from(new.is_some()), &options)?;
        if let Some(new) = new.as_deref() {
            // What the base holds is not new, whoever says so.
            let is_held =
                |path: &StorePath| closure.find(path).is_some() && new.find(path).is_none();
            options.volatile.retain(|path| !is_held(path));
            pack_into(&mut plan, new, &options)?;
        }
    } else {
        if let Some(path) = options.volatile.first().cloned() {
            return Err(PlanningError::Volatile { path });
        }
        check_room(&plan, 0, &options)?;
    }
    if options.has_root() {
        let mut files = options.root_files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let contents = LayerContents::Root {
            files: plan.root_files(&files, &options.contents)?,
        };
        let key = plan.layer_spec(contents).key();
        let place = root_files_place(&plan).max(base_layers);
        let layer = PlannedLayer::Root {
            key,
            files,
            contents: options.contents,
        };
        plan.layers.insert(place, layer);
    }
    for tar in over_layers(options.layer_tars, &plan, base_layers)? {
        let layer = plan.tar_layer(tar);
        plan.layers.push(layer);
    }
    if let Some((closure, owner)) = closure.zip(options.nix_database) {
        let layer = database_layer(&plan, closure, owner)?;
        plan.layers.push(layer);
    }
    // A pipeline may have taken all store paths out.
    if plan.layers.is_empty() && plan.base.is_none() {
        return Err(PlanningError::Empty);
    }
    plan.tool = options.tool;
    plan.name = options.name;
    plan.tag = options.tag;
    plan.config = options.config;
    plan.created = options.created;
    plan.annotations = options.annotations;
    Ok(plan)
}

/// Packs store paths into layers above those that the plan has.
fn pack_into(
    plan: &mut Plan,
    closure: &Closure,
    options: &PlanOptions,
) -> Result<(), PlanningError> {
    let volatile = find_all(closure, &options.volatile)?;
    let packing = pack(
        closure,
        &PackOptions {
            packer: options.packer,
            budget: Budget {
                max_layers: options.max_layers,
                reserved_layers: plan.layers.len() + options.own_layers(),
            },
            volatile: &volatile,
            catalog: options.catalog.as_ref(),
            prior: &options.prior,
            pipeline: options.pipeline.as_ref(),
        },
    )?;
    if options.nix_database.is_some() {
        check_all_packed(closure, &packing)?;
    }
    let described = Described {
        closure,
        catalog: options.catalog.as_ref(),
        permissions: &options.permissions,
    };
    fill(plan, &described, packing);
    Ok(())
}

/// Checks that a packing has every path: a layering pipeline may have removed some.
fn check_all_packed(closure: &Closure, packing: &Packing) -> Result<(), PlanningError> {
    let layers = packing.layers.iter();
    let packed: BTreeSet<PathIdx> = layers
        .flat_map(|layer| layer.paths.iter().copied())
        .collect();
    match closure.indices().find(|idx| !packed.contains(idx)) {
        Some(idx) => Err(PlanningError::Removed {
            path: path_text(closure, idx),
        }),
        None => Ok(()),
    }
}

/// Root files stand on top, but below what is new in every version: whoever fetches again all that lies above the first
/// layer that changed would fetch them with every deployment (`docs/packing.md`, "Order"). dockerTools has them on top.
fn root_files_place(plan: &Plan) -> usize {
    let changes_always = |layer: &&PlannedLayer| {
        let reason = match layer {
            PlannedLayer::Store { reason, .. } => *reason,
            _ => None,
        };
        reason == Some(LayerReasonRecord::Volatile)
    };
    let on_top = match plan.layer_format {
        LayerFormatRecord::Nixply => plan.layers.iter().rev().take_while(changes_always).count(),
        LayerFormatRecord::Dockertools(_) => 0,
    };
    plan.layers.len() - on_top
}

/// Checks that the image can stand on its base, and puts what stands outside the store where the base's links lead.
fn over_base(
    base: &BaseImage,
    closure: Option<&Closure>,
    options: &mut PlanOptions,
) -> Result<(), BaseError> {
    if !base.platform.serves(&options.platform) {
        return Err(BaseError::Platform {
            found: Box::new(base.platform.clone()),
            wanted: Box::new(options.platform.clone()),
        });
    }
    let Some(tree) = &base.tree else {
        return if options.has_root() || options.nix_database.is_some() {
            Err(BaseError::UnknownTree)
        } else {
            Ok(())
        };
    };
    let has_files = options.has_root() || !options.layer_tars.is_empty();
    if has_files && tree.usual_directories.is_none() {
        return Err(BaseError::UnknownDirectories);
    }
    let store_dir = closure.map_or_else(StoreDir::default, |closure| closure.store_dir().clone());
    if closure.is_some() {
        check_store_dir(tree, &store_dir)?;
    }
    if options.nix_database.is_some() {
        check_database_dirs(tree, &store_dir)?;
    }
    let files = std::mem::take(&mut options.root_files);
    let contents = std::mem::take(&mut options.contents);
    let below = Below {
        tree,
        store: &options.store,
        on_collision: options.on_collision,
    };
    (options.root_files, options.contents) = put_over(files, contents, below)?;
    Ok(())
}

/// Puts finished tars over the layers that a plan has: those of a base, `base_layers` of them, and the root files.
fn over_layers(
    tars: Vec<FinishedTar>,
    plan: &Plan,
    base_layers: usize,
) -> Result<Vec<FinishedTar>, BaseError> {
    let is_root = |layer: &PlannedLayer| matches!(layer, PlannedLayer::Root { .. });
    let is_alone = tars.len() < 2 && plan.base.is_none() && !plan.layers.iter().any(is_root);
    if tars.is_empty() || is_alone {
        return Ok(tars);
    }
    let tree = tree_below(plan, base_layers)?.ok_or(BaseError::UnknownTree)?;
    put_tars_over(tars, tree, &plan.store_dir().unwrap_or_default())
}

/// Checks that a layer is left for the store paths and one for the root files beside those of the base.
fn check_room(plan: &Plan, store_layers: usize, options: &PlanOptions) -> Result<(), BaseError> {
    let own_layers = store_layers + options.own_layers();
    if plan.layers.is_empty() || plan.layers.len() + own_layers <= options.max_layers {
        return Ok(());
    }
    Err(BaseError::NoRoom {
        base_layers: plan.layers.len(),
        own_layers,
        max_layers: options.max_layers,
    })
}

/// Checks that the closure knows all store paths of the base: Nix's database says of each what it refers to.
fn check_all_known(base: &BaseImage, closure: Option<&Closure>) -> Result<(), BaseError> {
    let is_known = |path: &str| {
        closure.is_some_and(|closure| {
            let parsed = closure.store_dir().parse(path);
            parsed.is_ok_and(|path| closure.find(&path).is_some())
        })
    };
    // Finished tars hold store paths, too; nobody packs by these, but they are there.
    let tree = base.tree.iter();
    let mut held = tree.flat_map(|tree| tree.store_paths.keys());
    match held.find(|path| !is_known(path)) {
        Some(path) => Err(BaseError::UnknownPath { path: path.clone() }),
        None => Ok(()),
    }
}

/// Says what the image is built on, where the user does not.
fn set_base_annotations(base: &BaseImage, annotations: &mut BTreeMap<String, String>) {
    let digest = base.digest.map(|digest| digest.to_string());
    for (key, value) in [
        (ANNOTATION_BASE_DIGEST, digest),
        (ANNOTATION_BASE_NAME, base.name.clone()),
    ] {
        if let Some(value) = value {
            annotations.entry(key.to_owned()).or_insert(value);
        }
    }
}

fn packer_record(options: &PlanOptions) -> Result<PackerRecord, PlanningError> {
    let id = options.packer.id();
    let catalog = options.catalog.as_ref();
    let hash =
        catalog.map(|catalog| Ok::<_, CatalogError>(Digest::of(catalog.to_json()?.as_bytes())));
    let pipeline = (options.pipeline.as_ref())
        .map(|pipeline| canonical_json(pipeline.as_json()))
        .transpose()
        .map_err(PlanningError::Pipeline)?;
    Ok(PackerRecord {
        name: id.name.to_owned(),
        version: id.version,
        max_layers: options.max_layers,
        catalog: hash.transpose()?,
        level: catalog.map(Catalog::level),
        unknown_paths: None,
        pipeline: pipeline.map(|json| Digest::of(&json)),
    })
}

fn find_all(closure: &Closure, paths: &[StorePath]) -> Result<Vec<PathIdx>, PlanningError> {
    let find = |path: &StorePath| {
        closure
            .find(path)
            .ok_or_else(|| PlanningError::Volatile { path: path.clone() })
    };
    paths.iter().map(find).collect()
}

/// What is known of the paths that were packed.
struct Described<'a> {
    closure: &'a Closure,
    catalog: Option<&'a Catalog>,
    permissions: &'a BTreeMap<StorePath, Vec<EntryPermissions>>,
}

impl Described<'_> {
    fn permissions(&self, path: &StorePath) -> &[EntryPermissions] {
        self.permissions.get(path).map_or(&[], Vec::as_slice)
    }
}

/// Puts a packing into a plan that has none.
fn fill(plan: &mut Plan, described: &Described<'_>, packing: Packing) {
    let closure = described.closure;
    let text = |idx| path_text(closure, idx);
    plan.volatile = (packing.volatile.into_iter())
        .map(|(path, reason)| VolatilePath {
            path: text(path),
            reason: reason.into(),
        })
        .collect();
    plan.packer.unknown_paths = described.catalog.map(|_| packing.unknown.len());
    for layer in packing.layers {
        let planned = store_layer(plan, described, layer);
        plan.layers.push(planned);
    }
}

fn path_text(closure: &Closure, idx: PathIdx) -> String {
    closure.store_dir().display(&closure.info(idx).path)
}

fn store_layer(plan: &Plan, described: &Described<'_>, layer: PackedLayer) -> PlannedLayer {
    let Described {
        closure, catalog, ..
    } = *described;
    let mut order = layer.paths;
    // nixply's own format knows a set of paths; dockerTools writes them in the packer's order.
    if plan.layer_format == LayerFormatRecord::Nixply {
        order.sort_unstable();
    }
    let contents = LayerContents::Store {
        store_dir: closure.store_dir().clone(),
        paths: order
            .iter()
            .map(|idx| {
                let info = closure.info(*idx);
                StorePathContent {
                    path: info.path.clone(),
                    nar_hash: info.nar_hash,
                    nar_size_bytes: info.nar_size_bytes,
                    permissions: described.permissions(&info.path).to_vec(),
                }
            })
            .collect(),
    };
    let hosts: BTreeMap<PathIdx, PathIdx> = (layer.riders.iter())
        .map(|rider| (rider.path, rider.host))
        .collect();
    let paths: Vec<PlannedPath> = order
        .iter()
        .map(|idx| {
            let info = closure.info(*idx);
            PlannedPath {
                path: path_text(closure, *idx),
                nar_hash: info.nar_hash,
                nar_size_bytes: info.nar_size_bytes,
                rides_on: hosts.get(idx).map(|host| path_text(closure, *host)),
                permissions: PlannedPermissions::group(described.permissions(&info.path)),
            }
        })
        .collect();
    PlannedLayer::Store {
        key: plan.layer_spec(contents).key(),
        nar_size_bytes: paths
            .iter()
            .map(|path| path.nar_size_bytes)
            .fold(0, u64::saturating_add),
        reason: LayerReasonRecord::of(layer.reason),
        head: match layer.reason {
            LayerReason::Group { head } => Some(path_text(closure, head)),
            _ => None,
        },
        sets: catalog.map_or_else(Vec::new, |catalog| set_names(catalog, &layer.sets)),
        set_count: catalog.map(|_| layer.sets.len()),
        paths,
    }
}

/// The names of package sets, where they are few.
fn set_names(catalog: &Catalog, sets: &[u32]) -> Vec<String> {
    if sets.len() > MAX_NAMED_SETS {
        return Vec::new();
    }
    let name = |&set: &u32| catalog.set_names().get(set as usize).cloned();
    sets.iter().filter_map(name).collect()
}
