//! `nixply build`: the builder of a derivation.
//!
//! Nix runs `nixply build` with nothing but a file of attributes: `.attrs.json`, which a derivation with
//! `__structuredAttrs` has. The attribute `nixply` says what to make; each kind of output is a module here. So an image
//! needs no shell, no standard environment and no network to be built. `nix/derivations.nix` writes these attributes.

mod archive;
mod catalog;
mod manifest;
mod merged;
mod oci_layout;
mod plan;
mod program;
mod pull;
mod spec;

use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::image::{self, check_present};
use crate::input::read_file;
use crate::nix_words;
use crate::options::{StoreOptions, WorkOptions};
use crate::progress::{Progress, Show};
use crate::registries::RegistryOptions;
use nixply_image::{Plan, PlannedImage, PlannedLayer};
use nixply_oci::LayerPlace;
use nixply_store::{Closure, read_attrs_graphs};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The schema of the attribute `nixply` that this version reads.
const SCHEMA: &str = "nixply.build/1";

/// The name that `exportReferencesGraph` gives the closure.
const CLOSURE: &str = "closure";

/// Makes what a derivation asks for; Nix runs it as the builder
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<(), CliError> {
    nix_words::speak();
    let derivation = Derivation::read(&environment::derivation_attributes())?;
    match derivation.output.as_str() {
        "spec" => spec::run(&derivation.request()?, &derivation),
        "plan" => plan::run(&derivation.request()?, &derivation),
        "archive" => archive::run(&derivation.request()?, &derivation),
        "oci-layout" => oci_layout::run(&derivation.request()?, &derivation),
        "manifest" => manifest::run(&derivation.request()?, &derivation),
        "merged" => merged::run(&derivation.request()?, &derivation),
        "program" => program::run(&derivation.request()?, &derivation),
        "pull" => pull::run(&derivation.request()?, &derivation),
        "catalog" => catalog::run(&derivation.request()?, &derivation),
        unknown => Err(CliError::new(
            ExitStatus::Input,
            format!("this nixply makes no output `{unknown}`"),
        )
        .hint("use the Nix files and the binary of one version of nixply")),
    }
}

/// The attributes of a derivation, as far as they are about nixply.
#[derive(Debug)]
struct Derivation {
    /// All attributes as JSON: a closure among them may be large, and only plans want it.
    attributes: Vec<u8>,
    /// What is to be made.
    output: String,
    /// What that output wants to know.
    request: Map<String, Value>,
    /// Where it goes.
    out: PathBuf,
}

impl Derivation {
    fn read(file: &Path) -> Result<Self, CliError> {
        #[derive(Deserialize)]
        struct Attributes {
            nixply: Map<String, Value>,
            outputs: BTreeMap<String, PathBuf>,
        }
        let attributes = read_file(file).map_err(|error| {
            error.hint("`nixply build` is run by Nix; `nixply export` makes an image by hand")
        })?;
        let Attributes {
            mut nixply,
            mut outputs,
        } = serde_json::from_slice(&attributes).map_err(|error| {
            let message = format!("cannot use `{}`", file.display());
            CliError::context(ExitStatus::Input, message, &error)
        })?;
        let mut text = |field: &str| match nixply.remove(field) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(CliError::new(
                ExitStatus::Input,
                format!("the attribute `nixply` has no text `{field}`"),
            )),
        };
        let schema = text("schema")?;
        if schema != SCHEMA {
            let message =
                format!("the attribute `nixply` has schema `{schema}`, expected `{SCHEMA}`");
            return Err(CliError::new(ExitStatus::Input, message)
                .hint("use the Nix files and the binary of one version of nixply"));
        }
        let output = text("output")?;
        let out = outputs.remove("out").ok_or_else(|| {
            CliError::new(ExitStatus::Input, "the derivation has no output `out`")
        })?;
        Ok(Self {
            attributes,
            output,
            request: nixply,
            out,
        })
    }

    /// What the output wants to know, in its own shape.
    fn request<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        serde_json::from_value(Value::Object(self.request.clone())).map_err(|error| {
            let message = format!("cannot use the request for output `{}`", self.output);
            CliError::context(ExitStatus::Input, message, &error)
        })
    }

    /// The closure that Nix exports under the name `closure`.
    fn closure(&self) -> Result<Closure, CliError> {
        let mut graphs = read_attrs_graphs(&self.attributes)
            .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
        graphs.remove(CLOSURE).ok_or_else(|| {
            let message = format!("the derivation exports no references graph `{CLOSURE}`");
            CliError::new(ExitStatus::Input, message)
        })
    }

    /// Writes a whole output that is one file. Nix throws away what a failed builder leaves.
    fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        std::fs::write(&self.out, bytes).map_err(|error| self.cannot_write(&error))
    }

    fn cannot_write(&self, error: &std::io::Error) -> CliError {
        let message = format!("cannot write `{}`", self.out.display());
        CliError::context(ExitStatus::Failed, message, error)
    }
}

/// What every output that is made from a plan wants to know.
#[derive(Debug, Deserialize)]
struct PlanRequest {
    plan: PathBuf,
    /// The tag of a plan that has none: the hash in the plan's own store path, which the plan cannot know.
    #[serde(default)]
    tag: Option<String>,
}

impl PlanRequest {
    fn read(&self) -> Result<Plan, CliError> {
        let bytes = read_file(&self.plan)?;
        let mut plan = Plan::from_json(&bytes).map_err(|error| {
            let message = format!("cannot use `{}`", self.plan.display());
            CliError::context(ExitStatus::Input, message, &error)
        })?;
        plan.tag = plan.tag.or_else(|| self.tag.clone());
        Ok(plan)
    }
}

/// Refuses an image whose base layers would have to be fetched: a builder has no network as a rule, and no credentials.
fn check_in_reach(plan: &Plan) -> Result<(), CliError> {
    let fetched = plan.layers.iter().find_map(|layer| match layer {
        PlannedLayer::Base(base) => match &base.source {
            LayerPlace::Registry { registry } => Some(registry),
            LayerPlace::Disk { .. } => None,
        },
        _ => None,
    });
    match fetched {
        None => Ok(()),
        Some(reference) => Err(CliError::new(
            ExitStatus::Input,
            format!("the layers of the base image are in a registry, and a derivation fetches none: {reference}"),
        )
        .hint("take the base from `nixply.lib.pullImage`; to push and load the image, it can stay in the registry")),
    }
}

/// Joins a plan to the store; every path of it is named by the plan, and so there.
fn image(plan: Plan) -> Result<(PlannedImage, WorkOptions), CliError> {
    let work = WorkOptions {
        jobs: Some(environment::build_cores()),
        store: StoreOptions::default(),
    };
    check_present(&plan, &work, |_| false)?;
    let registries = RegistryOptions::default().registries(&[])?;
    Ok((image::image(plan, &work, &registries)?, work))
}

/// A line a layer, which `nix log` keeps.
fn progress(image: &PlannedImage) -> Progress {
    Progress::new("writing", false, image, Show::All)
}
