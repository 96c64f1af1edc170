//! What is wrong with a layering pipeline.

use super::operation::NAMES;

/// Why a layering pipeline makes no layers. Steps are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// Something else stands where a pipeline or a step should.
    #[error("layering pipeline{}: expected {expected}, found `{found}`", at(.place))]
    Form {
        /// Where it stands; empty for the pipeline as a whole.
        place: String,
        /// What should stand there.
        expected: &'static str,
        /// What stands there, as JSON.
        found: String,
    },
    /// No operation has that name.
    #[error("layering pipeline{}: `{name}` is not an operation: expected {}", at(.place), names())]
    Unknown {
        /// Where it stands.
        place: String,
        /// The name that was read.
        name: String,
    },
    /// The arguments do not fit the operation.
    #[error("layering pipeline{}: `{operation}` takes {expected}, found `{found}`", at(.place))]
    Arguments {
        /// Where it stands.
        place: String,
        /// The operation.
        operation: &'static str,
        /// What it takes.
        expected: &'static str,
        /// The arguments that were read, as JSON.
        found: String,
    },
    /// An operation is given what it can do nothing with.
    #[error("layering pipeline{}: `{operation}` works on {expected}, but is given {found}", at(.place))]
    Input {
        /// Where it stands.
        place: String,
        /// The operation.
        operation: &'static str,
        /// What it works on.
        expected: &'static str,
        /// What the step before has made.
        found: &'static str,
    },
    /// The steps multiply the parts of the graph, empty ones for the most part.
    #[error("layering pipeline{}: more than {most} parts are made", at(.place))]
    TooManyParts {
        /// Where it stands.
        place: String,
        /// The most parts that are made.
        most: usize,
    },
}

fn at(place: &str) -> String {
    if place.is_empty() {
        String::new()
    } else {
        format!(", {place}")
    }
}

/// The names for a message.
fn names() -> String {
    let [first @ .., last] = NAMES.map(|name| format!("`{name}`"));
    format!("{} or {last}", first.join(", "))
}
