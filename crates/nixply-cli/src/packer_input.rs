//! What a packer is given beside the closure: volatile paths, the fleet's catalog, an earlier image.

use crate::document::Document;
use crate::error::{CliError, ExitStatus};
use crate::image::Request;
use crate::input::{Input, read_file, read_input, stored_place};
use crate::named_paths::{self, Given};
use crate::registries::Registries;
use crate::stored::{OpenArgs, StoredError, open_stored};
use crate::text;
use nixply_image::{ImageContents, ImageSpec, LayerHolds, LayerOutline, Plan};
use nixply_oci::Platform;
use nixply_pack::{Catalog, CatalogFit, Packer, Pipeline, PipelineError};
use nixply_store::{Closure, StoreDir, StorePath};
use std::path::Path;

/// A packer and all that it depends on beside the closure and the number of layers.
#[derive(Debug)]
pub(crate) struct PackerInput {
    pub(crate) packer: Packer,
    pub(crate) volatile: Vec<StorePath>,
    pub(crate) catalog: Option<Catalog>,
    pub(crate) prior: Vec<Vec<StorePath>>,
    pub(crate) pipeline: Option<Pipeline>,
    /// Whose mistake it is where these do not go together.
    pub(crate) origin: ExitStatus,
}

/// Reads what the command line names, and what the specification names where the command line does not.
///
/// A packer of the command line wins over the specification with everything that belongs to it: `--packer popularity`
/// takes a specification with a catalog, too, and leaves the catalog out.
pub(crate) fn packer_input(
    request: &Request<'_>,
    spec: &ImageSpec,
    base: &Path,
    closure: Option<&Closure>,
    platform: &Platform,
) -> Result<PackerInput, CliError> {
    let options = &request.options.plan;
    let default_store_dir = StoreDir::default();
    let store_dir = closure.map_or(&default_store_dir, Closure::store_dir);
    let named = |name: &str| {
        Packer::resolve(name, true)
            .map_err(|error| CliError::from_error(origin(options.packer.is_some()), &error))
    };
    let mut chosen = options.packer.as_deref().map(named).transpose()?;
    let pipeline = match (&options.layering_pipeline, &spec.layering_pipeline) {
        (Some(file), _) => Some(read_pipeline(file)?),
        (None, Some(steps)) if chosen.is_none() => Some(pipeline_of_spec(spec, steps)?),
        _ => None,
    };
    if options.layering_pipeline.is_some() {
        chosen = Some(Packer::Pipeline);
    }
    let of_spec = |takes: fn(Packer) -> bool| chosen.is_none_or(takes);

    let paths = |given, texts| named_paths::read(given, texts, store_dir, closure);
    let volatile = if !options.volatile.is_empty() {
        paths(Given::Option("--volatile"), &options.volatile)?
    } else if of_spec(takes_structure) {
        paths(Given::Field("volatile"), &spec.volatile)?
    } else {
        Vec::new()
    };
    let catalog = match (&options.catalog, &spec.catalog) {
        (Some(file), _) => Some(read_catalog(file)?),
        (None, Some(file)) if of_spec(|packer| packer == Packer::Fleet) => {
            Some(read_catalog(&base.join(file))?)
        }
        _ => None,
    };
    let prior = match (&options.prior, &spec.prior) {
        (Some(image), _) => read_prior(image, platform, request.registries)?,
        (None, Some(image)) if of_spec(takes_structure) => {
            let is_file = !image.starts_with("docker://");
            let file = is_file.then(|| base.join(image).display().to_string());
            read_prior(file.as_ref().unwrap_or(image), platform, request.registries)?
        }
        _ => Vec::new(),
    };
    let name = (options.packer.as_deref()).or(spec.packer.as_deref());
    let packer = match pipeline {
        Some(_) => Packer::Pipeline,
        None => Packer::resolve(name.unwrap_or("auto"), catalog.is_some())
            .map_err(|error| CliError::from_error(origin(options.packer.is_some()), &error))?,
    };
    let on_command_line = options.packer.is_some()
        || options.layering_pipeline.is_some()
        || options.catalog.is_some()
        || options.prior.is_some()
        || !options.volatile.is_empty();
    Ok(PackerInput {
        packer,
        volatile,
        catalog,
        prior,
        pipeline,
        origin: origin(on_command_line),
    })
}

/// Reads a layering pipeline from a file.
fn read_pipeline(file: &Path) -> Result<Pipeline, CliError> {
    let message = || format!("cannot use `{}` as a layering pipeline", file.display());
    let json = serde_json::from_slice(&read_file(file)?)
        .map_err(|error| CliError::context(ExitStatus::Input, message(), &error))?;
    Pipeline::from_json(json).map_err(|error| pipeline_error(message(), &error))
}

/// The layering pipeline of a specification, which has no packer then.
fn pipeline_of_spec(spec: &ImageSpec, steps: &serde_json::Value) -> Result<Pipeline, CliError> {
    if let Some(packer) = &spec.packer {
        let message = format!(
            "fields `packer` and `layering_pipeline`: both decide the layers, `{}` and the steps",
            text::printable(packer)
        );
        return Err(CliError::new(ExitStatus::Input, message).hint("give one of the two"));
    }
    let message = "field `layering_pipeline`".to_owned();
    Pipeline::from_json(steps.clone()).map_err(|error| pipeline_error(message, &error))
}

fn pipeline_error(message: String, error: &PipelineError) -> CliError {
    CliError::context(ExitStatus::Input, message, error)
        .hint("docs/packing.md, \"Layering pipelines\", has the operations")
}

/// True of the packers that take volatile paths and a prior image.
fn takes_structure(packer: Packer) -> bool {
    matches!(packer, Packer::Solo | Packer::Fleet)
}

/// Whose mistake a wrong word is: the command line's or the specification's.
pub(crate) fn origin(on_command_line: bool) -> ExitStatus {
    if on_command_line {
        ExitStatus::Usage
    } else {
        ExitStatus::Input
    }
}

/// Reads a catalog from a file.
pub(crate) fn read_catalog(file: &Path) -> Result<Catalog, CliError> {
    let bytes = read_file(file)?;
    Catalog::from_json(&bytes).map_err(|error| {
        let message = format!("cannot use `{}` as a catalog", file.display());
        let failed = CliError::context(ExitStatus::Input, message, &error)
            .hint("`nixply catalog CLOSURE --sets SETS.json` makes one");
        match Document::of(&bytes) {
            None | Some(Document::Catalog) => failed,
            Some(other) => other.instead_of("a catalog", failed),
        }
    })
}

/// The layers of an earlier image, bottom first: of a plan, or of an image that exists already.
fn read_prior(
    image: &str,
    platform: &Platform,
    registries: &Registries,
) -> Result<Vec<Vec<StorePath>>, CliError> {
    let Some(place) = stored_place(image)? else {
        let is_absent = !image.contains('#') && Path::new(image).symlink_metadata().is_err();
        let first_run = is_absent.then(|| {
            "where nothing was built yet, leave --prior out; a prior image in a registry \
             (`docker://REF`) may be absent"
                .to_owned()
        });
        return match read_input(image).map_err(|error| error.maybe_hint(first_run))? {
            Input::Plan(plan) | Input::Decided(plan) => layers_of_plan(&plan),
            Input::Closure(_) | Input::Spec(..) => Err(CliError::new(
                ExitStatus::Input,
                format!("--prior: `{image}` is neither a plan nor an image, so it has no layers"),
            )),
        };
    };
    let args = OpenArgs {
        platform: Some(platform.clone()),
        reference: None,
    };
    let source = match open_stored(place, &args, registries) {
        Ok(source) => source,
        Err(StoredError::Registry(error)) if error.is_absent() => {
            text::warning(&format!(
                "there is no prior image `{image}`; going on without one"
            ));
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let contents = ImageContents::of_stored(source.image());
    let says_nothing = |layer: &LayerOutline| matches!(layer.holds, LayerHolds::Unknown(_));
    if contents.layers.iter().all(says_nothing) {
        text::warning(&format!(
            "no layer of the prior image `{image}` says which store paths it holds; going on without it"
        ));
    }
    Ok(layers_of(&contents))
}

fn layers_of_plan(plan: &Plan) -> Result<Vec<Vec<StorePath>>, CliError> {
    let contents = ImageContents::of_plan(plan)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    Ok(layers_of(&contents))
}

fn layers_of(contents: &ImageContents) -> Vec<Vec<StorePath>> {
    let paths = |layer: &LayerOutline| {
        let paths: Vec<StorePath> = layer.paths().iter().map(|held| held.path.clone()).collect();
        (!paths.is_empty()).then_some(paths)
    };
    contents.layers.iter().filter_map(paths).collect()
}

/// With less than this of the paths, in percent, the catalog is likely of another pin. A project's own paths are few.
const FEW_PERCENT: usize = 75;

/// Whether a catalog is likely of another pin.
pub(crate) fn knows_few(fit: &CatalogFit) -> bool {
    fit.known_paths.saturating_mul(100) < fit.paths.saturating_mul(FEW_PERCENT)
}

/// What to do about a catalog of another pin.
pub(crate) const MAKE_AGAIN: &str = "make the catalog again for this pin: `nixply catalog`";

/// Says where a catalog does not know the paths of a closure, other than those that no catalog can know.
/// `unknown_paths` leaves out the volatile ones; where the catalog is of another pin, most may have been taken as such.
pub(crate) fn note_unknown(catalog: &Catalog, closure: &Closure, unknown_paths: usize) {
    let fit = catalog.fit(closure);
    let is_few = knows_few(&fit);
    if unknown_paths == 0 && !is_few {
        return;
    }
    let percent =
        u128::from(fit.known_nar_size_bytes) * 100 / u128::from(fit.nar_size_bytes).max(1);
    let knows = format!(
        "the catalog knows {} of {} ({percent} % of the bytes); the others are packed without it",
        fit.known_paths,
        text::count(fit.paths, "store path"),
    );
    text::note(&knows, is_few.then_some(MAKE_AGAIN));
}
