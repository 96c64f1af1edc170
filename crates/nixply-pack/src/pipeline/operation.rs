//! Reading a pipeline: names, arguments, and where in the pipeline each step stands.

use super::PipelineError;
use serde_json::Value;
use std::num::NonZeroUsize;

/// Every operation, in the order in which messages list them.
pub(super) const NAMES: [&str; 12] = [
    "popularity_contest",
    "limit_layers",
    "split_every",
    "split_paths",
    "subcomponent_out",
    "subcomponent_in",
    "remove_paths",
    "over",
    "map",
    "pipe",
    "flatten",
    "reverse",
];

/// An operation with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Where it stands, for messages.
    pub(super) place: String,
    pub(super) operation: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// A graph to a graph for each of its paths, the most popular first.
    PopularityContest,
    /// The graphs of a list behind so many become one.
    LimitLayers(NonZeroUsize),
    /// A graph to graphs of so many paths each.
    SplitEvery(NonZeroUsize),
    /// A graph to what only these paths need, what others need too, and the rest.
    SplitPaths(Vec<Splitter>),
    /// A graph to these paths with what they need or what needs them, and the rest.
    Subcomponent(Direction, Vec<String>),
    /// A graph to one without these paths.
    RemovePaths(Vec<String>),
    /// One of several parts is replaced by what the step makes of it.
    Over(Part, Box<Step>),
    /// Each member of a list, likewise.
    Map(Box<Step>),
    /// Several steps as one.
    Pipe(Vec<Step>),
    /// Everything that there is, as a list without lists in it.
    Flatten,
    /// A list, last first.
    Reverse,
}

/// What `split_paths` splits off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Splitter {
    Path(String),
    /// All that one of these refers to.
    ChildrenOf(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Along references.
    Out,
    /// Against them.
    In,
}

/// A part that an operation makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Common,
    Rest,
}

impl Operation {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::PopularityContest => "popularity_contest",
            Self::LimitLayers(_) => "limit_layers",
            Self::SplitEvery(_) => "split_every",
            Self::SplitPaths(_) => "split_paths",
            Self::Subcomponent(Direction::Out, _) => "subcomponent_out",
            Self::Subcomponent(Direction::In, _) => "subcomponent_in",
            Self::RemovePaths(_) => "remove_paths",
            Self::Over(..) => "over",
            Self::Map(_) => "map",
            Self::Pipe(_) => "pipe",
            Self::Flatten => "flatten",
            Self::Reverse => "reverse",
        }
    }
}

/// Reads the steps of a whole pipeline.
pub(super) fn steps(json: &Value) -> Result<Vec<Step>, PipelineError> {
    let Value::Array(steps) = json else {
        return Err(PipelineError::Form {
            place: String::new(),
            expected: "a list of steps",
            found: json.to_string(),
        });
    };
    all(steps, "")
}

fn all(steps: &[Value], outer: &str) -> Result<Vec<Step>, PipelineError> {
    let step = |(number, json)| step(json, format!("{outer}step {number}"));
    (1_usize..).zip(steps).map(step).collect()
}

fn step(json: &Value, place: String) -> Result<Step, PipelineError> {
    let Some([Value::String(name), arguments @ ..]) = json.as_array().map(Vec::as_slice) else {
        return Err(PipelineError::Form {
            place,
            expected: "a list of an operation's name and its arguments",
            found: json.to_string(),
        });
    };
    let Some(&name) = NAMES.iter().find(|known| *known == name) else {
        return Err(PipelineError::Unknown {
            place,
            name: name.clone(),
        });
    };
    let operation = operation(name, arguments, &place)?;
    Ok(Step { place, operation })
}

fn operation(
    name: &'static str,
    arguments: &[Value],
    place: &str,
) -> Result<Operation, PipelineError> {
    let wrong = |expected| PipelineError::Arguments {
        place: place.to_owned(),
        operation: name,
        expected,
        found: Value::from(arguments).to_string(),
    };
    let inner = |json| step(json, format!("{place}, inside `{name}`")).map(Box::new);
    let read = match (name, arguments) {
        ("popularity_contest", []) => Ok(Operation::PopularityContest),
        ("flatten", []) => Ok(Operation::Flatten),
        ("reverse", []) => Ok(Operation::Reverse),
        ("popularity_contest" | "flatten" | "reverse", _) => Err("no argument"),
        ("limit_layers", [most]) => count(most).map(Operation::LimitLayers),
        ("split_every", [most]) => count(most).map(Operation::SplitEvery),
        ("limit_layers" | "split_every", _) => Err(COUNT),
        ("split_paths", [Value::Array(paths)]) => {
            let splitters: Option<_> = paths.iter().map(splitter).collect();
            splitters.map(Operation::SplitPaths).ok_or(SPLITTERS)
        }
        ("split_paths", _) => Err(SPLITTERS),
        ("subcomponent_out", [paths]) => list(paths)
            .map(|paths| Operation::Subcomponent(Direction::Out, paths))
            .ok_or(PATHS),
        ("subcomponent_in", [paths]) => list(paths)
            .map(|paths| Operation::Subcomponent(Direction::In, paths))
            .ok_or(PATHS),
        ("remove_paths", [paths]) => one_or_list(paths).map(Operation::RemovePaths).ok_or(PATHS),
        ("subcomponent_out" | "subcomponent_in" | "remove_paths", _) => Err(PATHS),
        ("over", [Value::String(part), function]) => match part.as_str() {
            "main" => return Ok(Operation::Over(Part::Main, inner(function)?)),
            "common" => return Ok(Operation::Over(Part::Common, inner(function)?)),
            "rest" => return Ok(Operation::Over(Part::Rest, inner(function)?)),
            _ => Err(OVER),
        },
        ("over", _) => Err(OVER),
        ("map", [function]) => return Ok(Operation::Map(inner(function)?)),
        ("map", _) => Err("a step"),
        ("pipe", [Value::Array(steps)]) => {
            let steps = all(steps, &format!("{place}, inside `pipe`, "))?;
            return Ok(Operation::Pipe(steps));
        }
        _ => Err("a list of steps"),
    };
    read.map_err(wrong)
}

const COUNT: &str = "one whole number from 1";
const PATHS: &str = "a list of store paths";
const SPLITTERS: &str = "a list of store paths and of `{ \"children_of\": … }`";
const OVER: &str = "`main`, `common` or `rest`, and a step";

fn count(json: &Value) -> Result<NonZeroUsize, &'static str> {
    let count = json.as_u64().and_then(|count| usize::try_from(count).ok());
    count.and_then(NonZeroUsize::new).ok_or(COUNT)
}

fn list(json: &Value) -> Option<Vec<String>> {
    let text = |json: &Value| json.as_str().map(str::to_owned);
    json.as_array()?.iter().map(text).collect()
}

fn one_or_list(json: &Value) -> Option<Vec<String>> {
    match json {
        Value::String(one) => Some(vec![one.clone()]),
        _ => list(json),
    }
}

fn splitter(json: &Value) -> Option<Splitter> {
    match json {
        Value::String(path) => Some(Splitter::Path(path.clone())),
        Value::Object(fields) => match fields.iter().next() {
            Some((key, paths)) if key == "children_of" && fields.len() == 1 => {
                one_or_list(paths).map(Splitter::ChildrenOf)
            }
            _ => None,
        },
        _ => None,
    }
}
