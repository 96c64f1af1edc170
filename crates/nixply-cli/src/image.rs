//! From the command line to a plan, and from a plan to an image.

use crate::base::{self, BaseLayers, BaseRequest};
use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::input::{Input, read_input, spec_closure, store_path_of};
use crate::left_out::note_left_out;
use crate::named_paths::{self, Given};
use crate::options::{
    ImageOptions, LayerFormatName, NameOptions, StoreOptions, WorkOptions, created,
};
use crate::packer_input::{note_unknown, packer_input};
use crate::registries::Registries;
use crate::text;
use nixply_image::{
    BaseError, BaseImage, DEFAULT_MAX_LAYERS, ImageSpec, LayerFormatRecord, NixDatabaseSpec, Plan,
    PlannedImage, PlannedLayer, PlanningError, compose_root, doubts, inherit, inherit_env,
    plan_image, resolve_layer_tars, unknown_config_keys,
};
use nixply_layer::{Compression, CompressionPool};
use nixply_oci::{LayerSource, Platform, RuntimeConfig};
use nixply_pack::{DOCKER_MAX_LAYERS, PackError};
use nixply_store::Closure;
use std::path::Path;
use std::sync::Arc;

/// Everything on the command line that a plan depends on.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) image: &'a str,
    pub(crate) options: &'a ImageOptions,
    pub(crate) name: Option<&'a NameOptions>,
    /// The compression where neither the command line nor a specification names one.
    pub(crate) default_compression: Compression,
    /// Where a prior image may be.
    pub(crate) registries: &'a Registries,
    /// Where store paths are that are linked into the root.
    pub(crate) store: &'a StoreOptions,
}

/// Plans the image that the command line asks for.
pub(crate) fn plan(request: &Request<'_>) -> Result<Plan, CliError> {
    let (plan, closure) = plan_input(read_input(request.image)?, request)?;
    warn_of_doubts(&plan);
    // A large closure is hundreds of thousands of strings, and the end of the process frees them for nothing.
    std::mem::forget(closure);
    Ok(plan)
}

/// The same for an input that was read, with the closure that was planned, which a plan does not have.
pub(crate) fn plan_input(
    input: Input,
    request: &Request<'_>,
) -> Result<(Plan, Option<Closure>), CliError> {
    let (mut plan, closure) = match input {
        Input::Plan(plan) => (replan(*plan, request)?, None),
        Input::Decided(plan) => {
            let compression = request.options.plan.compression;
            let plan = plan
                .with_compression(compression.unwrap_or(request.default_compression))
                .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
            (replan(plan, request)?, None)
        }
        Input::Closure(closure) => {
            plan_spec(Some(closure), ImageSpec::empty(), Path::new("."), request)?
        }
        Input::Spec(spec, base) => {
            check_config(&spec)?;
            let closure = spec_closure(&spec, &base)?;
            plan_spec(closure, *spec, &base, request)?
        }
    };
    if let Some(name) = request.name {
        plan.name = name.name.clone().or(plan.name);
        plan.tag = name.tag.clone().or(plan.tag);
    }
    warn_of_many_layers(&plan);
    Ok((plan, closure))
}

/// Warns of what a container of the image will most likely fail on.
pub(crate) fn warn_of_doubts(plan: &Plan) {
    for doubt in doubts(plan) {
        text::warning(&doubt.to_string());
    }
}

pub(crate) fn warn_of_many_layers(plan: &Plan) {
    if plan.layers.len() > DOCKER_MAX_LAYERS {
        text::warning(&format!(
            "the image has {} layers; Docker's graph drivers refuse more than {DOCKER_MAX_LAYERS}",
            plan.layers.len()
        ));
    }
}

/// A key that no runtime reads is told; where Nix wrote the specification, it has told it already.
fn check_config(spec: &ImageSpec) -> Result<(), CliError> {
    let unknown = unknown_config_keys(&spec.config)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    for key in unknown {
        text::warning(&format!(
            "field `config` has the key `{key}`, which neither OCI nor Docker knows; it is passed on as it is"
        ));
    }
    Ok(())
}

/// A plan decides the layers already; what a container runs and how layers are compressed can still be changed.
fn replan(mut plan: Plan, request: &Request<'_>) -> Result<Plan, CliError> {
    let options = &request.options.plan;
    if let Some(option) = options.deciding() {
        return Err(CliError::new(
            ExitStatus::Usage,
            format!(
                "{option} has no meaning here: `{}` decides the layers already",
                request.image
            ),
        )
        .hint(where_decided(option)));
    }
    if let Some(compression) = options.compression {
        plan = plan
            .with_compression(compression)
            .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    }
    request.options.config.apply(&mut plan.config)?;
    plan.annotations
        .extend(request.options.config.annotation.iter().cloned());
    plan.created = request.options.config.created.clone().or(plan.created);
    if let Some(platform) = &request.options.config.platform {
        if plan.base.is_some() && !plan.platform.serves(platform) {
            let error = BaseError::Platform {
                found: Box::new(plan.platform),
                wanted: Box::new(platform.clone()),
            };
            return Err(base::planning_error(&error));
        }
        plan.platform.clone_from(platform);
    }
    Ok(plan)
}

/// Where a plan takes what an option of the command line says too late.
fn where_decided(option: &str) -> String {
    let argument = match option {
        "--base" => "fromImage",
        "--no-inherit-config" => "inheritConfig",
        "--max-layers" => "maxLayers",
        "--packer" => "packer",
        "--layering-pipeline" => "layeringPipeline",
        "--catalog" => "catalog",
        "--prior" => "prior",
        "--volatile" => "volatile",
        "--layer-format" => "layerFormat",
        _ => return format!("give {option} to the `nixply plan` that makes the plan"),
    };
    format!(
        "set it where the plan is made: `{argument}` in the Nix expression, {option} of `nixply plan`"
    )
}

/// Plans the image of a specification with a closure that was read.
pub(crate) fn plan_spec(
    closure: Option<Closure>,
    spec: ImageSpec,
    base: &Path,
    request: &Request<'_>,
) -> Result<(Plan, Option<Closure>), CliError> {
    let options = &request.options.plan;
    let (roots, given) = if options.roots.is_empty() {
        (&spec.roots, Given::Field("roots"))
    } else {
        (&options.roots, Given::Option("--root"))
    };
    let closure = match closure {
        Some(closure) if !roots.is_empty() => Some(restrict(&closure, roots, given)?),
        closure => closure,
    };
    let store_dir = closure.as_ref().map(|closure| closure.store_dir().clone());
    let store = request.store.root(store_dir.unwrap_or_default());
    let compression = match (options.compression, &spec.compression) {
        (Some(compression), _) => compression,
        (None, Some(text)) => text
            .parse()
            .map_err(|error| CliError::context(ExitStatus::Input, "field `compression`", &error))?,
        (None, None) => request.default_compression,
    };
    let layer_format = match options.layer_format {
        Some(LayerFormatName::Dockertools) => LayerFormatRecord::dockertools(),
        Some(LayerFormatName::Nixply) => LayerFormatRecord::Nixply,
        None => spec.layer_format.clone().unwrap_or_default(),
    };
    let asked_platform =
        (request.options.config.platform.clone()).or_else(|| spec.platform.clone());
    let nix_database = spec.nix_database.and_then(NixDatabaseSpec::owner);
    let base_image = read_base(
        &spec,
        base,
        options.base.as_deref(),
        &BaseRequest {
            platform: asked_platform.as_ref(),
            compression,
            layer_format: layer_format.clone(),
            needs_tree: spec.says_root() || !spec.layer_tars.is_empty() || nix_database.is_some(),
            store: &store,
            registries: request.registries,
        },
    )?;
    let tree = base_image.as_ref().and_then(|base| base.tree.as_ref());
    let root = compose_root(&spec, base, closure.as_ref(), &store, tree).map_err(|error| {
        CliError::from_error(ExitStatus::Input, &error).maybe_hint(error.hint())
    })?;
    note_left_out(&root.left_out);
    if nix_database.is_none() && closure.is_some() {
        base::note_database(base_image.as_ref());
    }
    let platform = asked_platform
        .or_else(|| base_image.as_ref().map(|base| base.platform.clone()))
        .unwrap_or_else(this_platform);
    let packer = packer_input(request, &spec, base, closure.as_ref(), &platform)?;
    let config = config_on(base_image.as_ref(), &spec, request)?;
    let mut annotations = spec.annotations;
    annotations.extend(request.options.config.annotation.iter().cloned());
    let spec_created = spec
        .created
        .map(|text| {
            created(&text).map_err(|problem| {
                let message = format!("field `created` is `{text}`, {problem}");
                CliError::new(ExitStatus::Input, message)
            })
        })
        .transpose()?;
    let layer_tars = resolve_layer_tars(&spec.layer_tars, base)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    let options = nixply_image::PlanOptions {
        packer: packer.packer,
        base: base_image,
        max_layers: options
            .max_layers
            .or(spec.max_layers)
            .unwrap_or(DEFAULT_MAX_LAYERS),
        volatile: packer.volatile,
        catalog: packer.catalog.clone(),
        prior: packer.prior,
        pipeline: packer.pipeline,
        compression,
        layer_format,
        platform,
        config,
        root_files: root.files,
        contents: root.contents,
        on_collision: spec.on_collision,
        store,
        permissions: root.permissions,
        layer_tars,
        nix_database,
        name: spec.name,
        tag: spec.tag,
        created: request.options.config.created.clone().or(spec_created),
        annotations,
        tool: Some(environment::tool()),
    };
    let plan = plan_image(closure.as_ref(), options)
        .map_err(|error| planning_error(&error, packer.origin))?;
    if let (Some(catalog), Some(closure)) = (&packer.catalog, &closure) {
        note_unknown(catalog, closure, plan.packer.unknown_paths.unwrap_or(0));
    }
    Ok((plan, closure))
}

/// What a container runs: what the specification and the command line say, over what the base says.
fn config_on(
    base: Option<&BaseImage>,
    spec: &ImageSpec,
    request: &Request<'_>,
) -> Result<RuntimeConfig, CliError> {
    let mut config = spec.config.clone();
    request.options.config.apply(&mut config)?;
    Ok(match base {
        Some(base) if spec.inherit_config && !request.options.plan.no_inherit_config => {
            inherit(&base.config, config)
        }
        Some(base) => inherit_env(&base.config, config),
        None => config,
    })
}

/// Why there is no plan; `origin` is whose fault a packer is that does not fit.
fn planning_error(error: &PlanningError, origin: ExitStatus) -> CliError {
    let status = match error {
        PlanningError::Base(error) => return base::planning_error(error),
        PlanningError::Pack(PackError::NotForPacker { .. } | PackError::NoCatalog) => origin,
        PlanningError::Pack(PackError::Pipeline(_)) => ExitStatus::Input,
        PlanningError::Pack(_) => ExitStatus::Failed,
        _ => ExitStatus::Input,
    };
    let hint = matches!(error, PlanningError::Pack(PackError::NoCatalog))
        .then(|| "give one with `--catalog`; `nixply catalog` makes it".to_owned());
    CliError::from_error(status, error).maybe_hint(hint)
}

/// The base that the command line names, or the specification.
fn read_base(
    spec: &ImageSpec,
    directory: &Path,
    option: Option<&str>,
    request: &BaseRequest<'_>,
) -> Result<Option<BaseImage>, CliError> {
    match (option, &spec.base) {
        (Some(place), _) => base::read(place, request).map(Some),
        (None, Some(spec)) => base::read_spec(spec, directory, request).map(Some),
        (None, None) => Ok(None),
    }
}

fn restrict(closure: &Closure, roots: &[String], given: Given) -> Result<Closure, CliError> {
    let roots = named_paths::read(given, roots, closure.store_dir(), Some(closure))?;
    closure
        .restrict(&roots)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))
}

/// Linux on this machine's architecture.
pub(crate) fn this_platform() -> Platform {
    let system = format!("{}-linux", std::env::consts::ARCH);
    Platform::of_nix_system(&system).unwrap_or_else(|| Platform::linux(std::env::consts::ARCH))
}

/// Joins a plan to the store of this machine, and to where the layers of its base image are.
pub(crate) fn image(
    plan: Plan,
    work: &WorkOptions,
    registries: &Registries,
) -> Result<PlannedImage, CliError> {
    let store = work.store.root(plan.store_dir().unwrap_or_default());
    let pool = pool(work.jobs())?;
    let base_layers: Arc<dyn LayerSource> = Arc::new(BaseLayers::new(registries));
    PlannedImage::over_base(plan, &store, &pool, &base_layers)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))
}

/// Names every store path that is not there before the first layer is made, rather than one of them in the middle.
/// A layer that is known need not be made, so its paths need not be there.
pub(crate) fn check_present(
    plan: &Plan,
    work: &WorkOptions,
    is_known: impl Fn(usize) -> bool,
) -> Result<(), CliError> {
    let store = work.store.root(plan.store_dir().unwrap_or_default());
    let mut missing = Vec::new();
    let mut missing_tars = Vec::new();
    for (layer_idx, layer) in plan.layers.iter().enumerate() {
        if is_known(layer_idx) {
            continue;
        }
        if let PlannedLayer::Tar { path, .. } = layer
            && store.locate_file(path).symlink_metadata().is_err()
        {
            missing_tars.push(path.display().to_string());
        }
        if let PlannedLayer::Nix2container { paths, .. } = layer {
            let is_missing = |path: &&str| {
                let place = store.locate_file(Path::new(path));
                place.symlink_metadata().is_err()
            };
            missing.extend(
                paths
                    .iter()
                    .map(|path| path.path.as_str())
                    .filter(is_missing),
            );
        }
        let PlannedLayer::Store { paths, .. } = layer else {
            continue;
        };
        for planned in paths {
            let Ok(path) = store.store_dir().parse(&planned.path) else {
                continue;
            };
            // A symbolic link may point anywhere: it is there all the same.
            if store.locate(&path).symlink_metadata().is_err() {
                missing.push(planned.path.as_str());
            }
        }
    }
    // A tar lies in a store path as a rule, and then that is what can be fetched.
    missing.extend(missing_tars.iter().map(|tar| {
        let store_path = store_path_of(Path::new(tar));
        store_path.map_or(tar.as_str(), |path| &tar[..path.len()])
    }));
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} not in the store: {}",
        text::count(missing.len(), "store path"),
        missing.join(" ")
    );
    Err(CliError::new(ExitStatus::Input, message).hint(format!(
        "build or fetch first: `nix-store -r {}`",
        missing.join(" ")
    )))
}

/// The threads that compress.
pub(crate) fn pool(jobs: usize) -> Result<CompressionPool, CliError> {
    CompressionPool::new(jobs)
        .map_err(|error| CliError::context(ExitStatus::Failed, "cannot start threads", &error))
}
