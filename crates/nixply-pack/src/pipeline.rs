//! Layering pipelines: nixpkgs' small language for custom layers, `layeringPipeline` of its dockerTools.
//!
//! A pipeline is a list of steps, a step a list of an operation's name and its arguments:
//! `[["split_paths", ["/nix/store/…-app"]], ["over", "rest", ["popularity_contest"]], ["flatten"], ["limit_layers", 40]]`.
//! The reference graph of the closure goes in; each step gets what the step before has made: a graph, a list, or named
//! parts. All graphs that are left in the end are layers, in order. The operations do what those of nixpkgs'
//! `flatten-references-graph` do, and `tests/pipeline.rs` holds them to recorded outcomes of that program;
//! `docs/packing.md`, "Layering pipelines", says what each does and where this one goes on while that one fails.
//!
//! # Order
//!
//! The vertices of the whole graph stand by (NAR size, store path): nixpkgs sorts by size, and Nix exports a closure by
//! path. Every operation that takes a part of a graph keeps that order, as igraph does; two graphs that become one stand
//! one behind the other; only `popularity_contest` makes an order of its own. So no result depends on how igraph walks a
//! graph, and none here on how we do.

mod error;
mod graph;
mod operation;
mod run;

pub use error::PipelineError;

use crate::dag::Dag;
use nixply_store::Closure;
use operation::Step;
use serde_json::Value;

/// A layering pipeline whose operations and arguments are in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    steps: Vec<Step>,
    json: Value,
}

impl Pipeline {
    /// Reads a pipeline as nixpkgs has it: a list of lists.
    ///
    /// # Errors
    /// [`PipelineError`], which names the operation and where it stands.
    pub fn from_json(json: Value) -> Result<Self, PipelineError> {
        Ok(Self {
            steps: operation::steps(&json)?,
            json,
        })
    }

    /// The pipeline as it was read.
    #[must_use]
    pub const fn as_json(&self) -> &Value {
        &self.json
    }
}

/// The layers that a pipeline makes of a closure, bottom first; none is empty.
pub(crate) fn layers(
    closure: &Closure,
    dag: &Dag,
    pipeline: &Pipeline,
) -> Result<Vec<Vec<u32>>, PipelineError> {
    let mut run = run::Run::new(closure, dag);
    let graphs = run.graphs(&pipeline.steps)?;
    let paths = graphs.into_iter().map(graph::Graph::into_paths);
    Ok(paths.filter(|paths| !paths.is_empty()).collect())
}
