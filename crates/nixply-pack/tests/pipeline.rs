//! Layering pipelines: what nixpkgs' own program makes of them, recorded (`fixtures/pipelines/README.md`), and what is said of
//! those that are none.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::{Budget, PackError, PackOptions, Packer, Pipeline, pack};
use nixply_store::Closure;
use nixply_testkit::closures::{TestPath, closure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    graph: Option<GraphName>,
    #[serde(default)]
    image: Option<(String, String)>,
    pipeline: Value,
    layers: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum GraphName {
    Name(String),
    Written(Graph),
}

#[derive(Deserialize)]
struct Graph {
    name: String,
    paths: Vec<String>,
    sizes: Vec<u64>,
    references: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct Image {
    name: String,
    closure: String,
    roots: Vec<usize>,
}

impl Graph {
    fn closure(&self) -> Closure {
        let fields = self.paths.iter().zip(&self.sizes).zip(&self.references);
        let paths: Vec<TestPath> = fields
            .map(|((base_name, &nar_size_bytes), references)| TestPath {
                base_name: base_name.clone(),
                nar_size_bytes,
                references: references.clone(),
            })
            .collect();
        closure(&paths)
    }
}

fn read(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    fs::read_to_string(fixtures.join(name)).unwrap()
}

fn lines<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    let text = read(name);
    let parsed = text.lines().map(|line| serde_json::from_str(line));
    parsed.collect::<Result<_, _>>().unwrap()
}

/// The part of a recorded closure that the roots reach.
fn image_closure(closure_name: &str, roots: &[usize]) -> Closure {
    let text = read(&format!("packing/closures/{closure_name}.txt"));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let needs = |row: usize| (rows[row][2..].iter()).map(|field| field.parse::<usize>().unwrap());
    let mut met = BTreeSet::new();
    let mut todo = roots.to_vec();
    while let Some(row) = todo.pop() {
        if met.insert(row) {
            todo.extend(needs(row));
        }
    }
    let place: BTreeMap<usize, usize> = met.iter().zip(0..).map(|(&row, at)| (row, at)).collect();
    let path = |&row: &usize| TestPath {
        base_name: rows[row][0].to_owned(),
        nar_size_bytes: rows[row][1].parse().unwrap(),
        references: needs(row).map(|to| place[&to]).collect(),
    };
    closure(&met.iter().map(path).collect::<Vec<_>>())
}

/// Puts store paths where `@N` stands.
fn with_paths(json: &Value, closure: &Closure) -> Value {
    match json {
        Value::String(text) => match text.strip_prefix('@') {
            Some(number) => {
                let number: usize = number.parse().unwrap();
                let path = &closure.paths()[number].path;
                json!(closure.store_dir().display(path))
            }
            None => json!(text),
        },
        Value::Array(list) => list.iter().map(|json| with_paths(json, closure)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, json)| (key.clone(), with_paths(json, closure)))
            .collect(),
        other => other.clone(),
    }
}

fn try_layers(closure: &Closure, pipeline: Value) -> Result<Vec<Vec<u32>>, String> {
    let pipeline = Pipeline::from_json(pipeline).map_err(|error| error.to_string())?;
    let budget = Budget {
        max_layers: usize::MAX,
        reserved_layers: 1,
    };
    let options = PackOptions {
        pipeline: Some(&pipeline),
        ..PackOptions::new(Packer::Pipeline, budget)
    };
    let packing = pack(closure, &options).map_err(|error| error.to_string())?;
    assert_eq!(packing.packer.name, "pipeline");
    let numbers = |paths: Vec<nixply_store::PathIdx>| paths.into_iter().map(|path| path.0);
    let layers = packing.layers.into_iter();
    Ok(layers.map(|layer| numbers(layer.paths).collect()).collect())
}

fn layers(closure: &Closure, pipeline: &Value) -> Vec<Vec<u32>> {
    try_layers(closure, with_paths(pipeline, closure)).unwrap()
}

#[test]
fn pipelines_make_what_nixpkgs_makes_of_them() {
    let cases: Vec<Case> = lines("pipelines/outcomes.jsonl");
    assert!(cases.len() > 1_300, "only {} recorded cases", cases.len());
    let graphs: BTreeMap<String, Graph> = lines::<Graph>("packing/graphs.jsonl")
        .into_iter()
        .map(|graph| (graph.name.clone(), graph))
        .collect();
    let images: Vec<Image> = lines("packing/images.jsonl");
    for case in cases {
        let closure = match (&case.graph, &case.image) {
            (Some(GraphName::Written(graph)), _) => graph.closure(),
            (Some(GraphName::Name(name)), _) => graphs[name].closure(),
            (None, image) => {
                let (closure, name) = image.as_ref().unwrap();
                let is_it = |image: &&Image| image.closure == *closure && image.name == *name;
                image_closure(closure, &images.iter().find(is_it).unwrap().roots)
            }
        };
        // There, an empty graph is an empty layer.
        let expected: Vec<_> = case
            .layers
            .into_iter()
            .filter(|layer| !layer.is_empty())
            .collect();
        assert_eq!(
            layers(&closure, &case.pipeline),
            expected,
            "{}",
            case.pipeline
        );
    }
}

/// 0 needs 2 and 1, 1 needs 2; 3 stands alone; all of one size.
fn four() -> Closure {
    let path = |letter: &str, references: &[usize]| TestPath {
        base_name: format!("{}-{letter}", letter.repeat(32)),
        nar_size_bytes: 1,
        references: references.to_vec(),
    };
    closure(&[
        path("a", &[1, 2]),
        path("b", &[2]),
        path("c", &[]),
        path("d", &[]),
    ])
}

#[test]
fn what_nixpkgs_fails_on_has_the_plain_meaning() {
    let four = four();
    let made = |pipeline: Value| layers(&four, &pipeline);
    // No step, or none that cuts: one layer.
    assert_eq!(made(json!([])), [vec![0, 1, 2, 3]]);
    assert_eq!(
        made(json!([["remove_paths", "@3"], ["flatten"]])),
        [vec![0, 1, 2]]
    );
    // Fewer graphs than the limit: nothing to join.
    let few = json!([["split_every", 2], ["limit_layers", 98]]);
    assert_eq!(made(few), [vec![0, 1], vec![2, 3]]);
    // A part that is empty is not there.
    let absent = json!([
        ["split_paths", ["@3"]],
        ["over", "common", ["popularity_contest"]]
    ]);
    assert_eq!(made(absent), [vec![3], vec![0, 1, 2]]);
    // Graphs that were cut have lost what referred from one to another.
    let cut = json!([
        ["split_every", 1],
        ["limit_layers", 1],
        ["map", ["popularity_contest"]]
    ]);
    assert_eq!(made(cut), [[0], [1], [2], [3]]);
}

#[test]
fn what_is_no_pipeline_is_refused_by_operation_and_place() {
    let four = four();
    let said = |pipeline: Value| try_layers(&four, pipeline).unwrap_err();
    check(&[
        (
            said(json!("x")),
            "layering pipeline: expected a list of steps, found `\"x\"`",
        ),
        (
            said(json!([["flatten"], "reverse"])),
            "layering pipeline, step 2: expected a list of an operation's name and its arguments, found `\"reverse\"`",
        ),
        (
            said(json!([["flatten"], ["split_evry", 2]])),
            "layering pipeline, step 2: `split_evry` is not an operation: expected `popularity_contest`, `limit_layers`, \
             `split_every`, `split_paths`, `subcomponent_out`, `subcomponent_in`, `remove_paths`, `over`, `map`, `pipe`, \
             `flatten` or `reverse`",
        ),
        (
            said(json!([["limit_layers", 0]])),
            "layering pipeline, step 1: `limit_layers` takes one whole number from 1, found `[0]`",
        ),
        (
            said(json!([["split_paths", [{"childrn_of": "x"}]]])),
            "layering pipeline, step 1: `split_paths` takes a list of store paths and of `{ \"children_of\": … }`, found \
             `[[{\"childrn_of\":\"x\"}]]`",
        ),
        (
            said(json!([["subcomponent_in", "x"]])),
            "layering pipeline, step 1: `subcomponent_in` takes a list of store paths, found `[\"x\"]`",
        ),
        (
            said(json!([["split_paths", []], ["over", "mian", ["flatten"]]])),
            "layering pipeline, step 2: `over` takes `main`, `common` or `rest`, and a step, found `[\"mian\",[\"flatten\"]]`",
        ),
        (
            said(json!([["pipe", [["flatten"], ["map", ["reverse", 1]]]]])),
            "layering pipeline, step 1, inside `pipe`, step 2, inside `map`: `reverse` takes no argument, found `[1]`",
        ),
        (
            said(json!([
                ["split_paths", ["/nix/store/x"]],
                ["limit_layers", 2]
            ])),
            "layering pipeline, step 2: `limit_layers` works on a list, but is given named parts (`flatten` makes a list of them)",
        ),
        (
            said(json!([["split_every", 1], ["popularity_contest"]])),
            "layering pipeline, step 2: `popularity_contest` works on a graph, but is given a list",
        ),
        (
            said(json!([["reverse"]])),
            "layering pipeline, step 1: `reverse` works on a list, but is given a graph",
        ),
        (
            said(json!([["split_every", 1], ["over", "main", ["flatten"]]])),
            "layering pipeline, step 2: `over` works on named parts, as `split_paths` and `subcomponent_out` make them, but is \
             given a list",
        ),
    ]);
}

fn check(pairs: &[(String, &str)]) {
    for (said, expected) in pairs {
        assert_eq!(said, expected);
    }
}

#[test]
fn steps_that_double_empty_parts_end() {
    let double = json!([["map", ["subcomponent_out", []]], ["flatten"]]);
    let mut steps = vec![json!(["split_every", 1])];
    for _ in 0..64 {
        steps.extend(double.as_array().unwrap().clone());
    }
    let said = try_layers(&four(), Value::Array(steps)).unwrap_err();
    assert!(said.contains("more than 1048576 parts are made"), "{said}");
}

#[test]
fn a_pipeline_keeps_to_the_budget_and_to_itself() {
    let four = four();
    let pipeline = Pipeline::from_json(json!([["split_every", 1]])).unwrap();
    let budget = Budget {
        max_layers: 4,
        reserved_layers: 1,
    };
    let options = PackOptions {
        pipeline: Some(&pipeline),
        ..PackOptions::new(Packer::Pipeline, budget)
    };
    let error = pack(&four, &options).unwrap_err();
    assert_eq!(
        error,
        PackError::PipelineLayers {
            made: 4,
            max_layers: 4,
            available: 3
        }
    );
    let alone = PackOptions::new(Packer::Pipeline, budget);
    assert_eq!(pack(&four, &alone), Err(PackError::NoPipeline));
    let other = PackOptions {
        packer: Packer::Size,
        ..options
    };
    assert!(matches!(
        pack(&four, &other),
        Err(PackError::NotForPacker {
            option: "layering pipeline",
            ..
        })
    ));
}
