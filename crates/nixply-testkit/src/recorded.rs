//! Real closures and fleets out of `fixtures/`.

#![expect(
    clippy::expect_used,
    reason = "fixtures that cannot be read end the test that needs them"
)]

use crate::closures::TestPath;
use nixply_store::StorePath;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Package sets: their names and roots.
pub type Sets = BTreeMap<String, Vec<StorePath>>;

/// The NAR size of a project's environment, in bytes.
const ENVIRONMENT_NAR_SIZE_BYTES: u64 = 30_000;

/// The paths of package sets at one time.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Every path of a set.
    pub paths: Vec<TestPath>,
    /// Each set's roots, as positions in `paths`.
    pub roots: BTreeMap<String, Vec<usize>>,
}

impl Collection {
    /// The sets by the store paths of their roots.
    ///
    /// # Panics
    ///
    /// If a base name is no store path.
    #[must_use]
    pub fn sets(&self) -> Sets {
        let path = |&root: &usize| StorePath::new(&self.paths[root].base_name);
        let paths = |roots: &Vec<usize>| roots.iter().map(path).collect::<Result<_, _>>();
        (self.roots.iter())
            .map(|(name, roots)| (name.clone(), paths(roots).expect("base names")))
            .collect()
    }

    /// The image of a project: what its sets need, an application that refers to all their roots, and an environment
    /// that refers to these and to the application.
    #[must_use]
    pub fn image(&self, project: &Project) -> Vec<TestPath> {
        let roots: BTreeSet<usize> = (project.sets.iter())
            .flat_map(|set| self.roots[set].iter().copied())
            .collect();
        let (mut paths, place) = reached(&self.paths, roots.iter().copied());
        let mut references: Vec<usize> = roots.iter().map(|root| place[root]).collect();
        for (name, digit, nar_size_bytes) in [
            ("application", "a", project.app_nar_size_bytes),
            ("environment", "b", ENVIRONMENT_NAR_SIZE_BYTES),
        ] {
            paths.push(TestPath {
                base_name: format!("{}-{name}", digit.repeat(32)),
                nar_size_bytes,
                references: references.clone(),
            });
            references.push(paths.len() - 1);
        }
        paths
    }
}

/// A project of a fleet.
#[derive(Debug, Clone)]
pub struct Project {
    /// The names of the sets that it takes.
    pub sets: Vec<String>,
    /// The NAR size of its application, in bytes.
    pub app_nar_size_bytes: u64,
}

/// The closures of `fixtures/packing/closures` by name.
///
/// # Panics
///
/// If they cannot be read.
#[must_use]
pub fn recorded_closures() -> BTreeMap<String, Vec<TestPath>> {
    let folder = fixture("packing/closures");
    let files = std::fs::read_dir(folder).expect("a folder of closures");
    files
        .map(|file| {
            let path = file.expect("a folder of closures").path();
            let text = std::fs::read_to_string(&path).expect("a recorded closure");
            let name = path.file_stem().and_then(|name| name.to_str());
            (name.expect("a name").to_owned(), closure_lines(&text))
        })
        .collect()
}

/// Reads a closure of lines: the base name, the NAR size, and the line numbers, from 0, of the references.
///
/// # Panics
///
/// If a line is not that.
#[must_use]
pub fn closure_lines(text: &str) -> Vec<TestPath> {
    let path = |line: &str| {
        let mut fields = line.split(' ');
        let base_name = fields.next().expect("a base name").to_owned();
        let numbers: Result<Vec<u64>, _> = fields.map(str::parse).collect();
        let numbers = numbers.expect("numbers");
        TestPath {
            base_name,
            nar_size_bytes: numbers[0],
            references: numbers[1..]
                .iter()
                .map(|&number| position(number))
                .collect(),
        }
    };
    text.lines().map(path).collect()
}

/// The projects of a draw of `fixtures/fleet/nixos-19.09.json`, and the collection at each of its pins.
///
/// # Panics
///
/// If it cannot be read or has no such draw.
#[must_use]
pub fn fleet(draw: &str) -> (Vec<Collection>, Vec<Project>) {
    let text = std::fs::read(fixture("fleet/nixos-19.09.json")).expect("a recorded fleet");
    let fleet: Value = serde_json::from_slice(&text).expect("a recorded fleet");
    let array = |value: &Value| value.as_array().cloned().expect("an array");
    let number = |value: &Value| value.as_u64().expect("a number");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let positions = |value: &Value| -> Vec<usize> {
        (array(value).iter())
            .map(|value| position(number(value)))
            .collect()
    };
    let paths: Vec<TestPath> = (array(&fleet["paths"]).iter())
        .map(|path| TestPath {
            base_name: text(&path[0]),
            nar_size_bytes: number(&path[1]),
            references: positions(&path[2]),
        })
        .collect();
    let collection = |pin: &Value| {
        let sets = pin["sets"].as_object().expect("sets");
        let all = sets.values().flat_map(positions);
        let (paths, place) = reached(&paths, all);
        let roots = |(name, roots): (&String, &Value)| {
            let roots = positions(roots).into_iter().map(|root| place[&root]);
            (name.clone(), roots.collect())
        };
        Collection {
            roots: sets.iter().map(roots).collect(),
            paths,
        }
    };
    let project = |project: &Value| Project {
        sets: array(&project["sets"]).iter().map(text).collect(),
        app_nar_size_bytes: number(&project["app_nar_size_bytes"]),
    };
    let projects = fleet["draws"][draw].as_object().expect("a draw");
    (
        array(&fleet["pins"]).iter().map(collection).collect(),
        projects.values().map(project).collect(),
    )
}

/// What some of the paths need, in the order of the whole, and where each of them went.
fn reached(
    paths: &[TestPath],
    roots: impl Iterator<Item = usize>,
) -> (Vec<TestPath>, BTreeMap<usize, usize>) {
    let mut met = BTreeSet::new();
    let mut todo: Vec<usize> = roots.collect();
    while let Some(path) = todo.pop() {
        if met.insert(path) {
            todo.extend(&paths[path].references);
        }
    }
    let place: BTreeMap<usize, usize> = met.into_iter().zip(0..).collect();
    let moved = |from: &usize| TestPath {
        references: paths[*from].references.iter().map(|to| place[to]).collect(),
        ..paths[*from].clone()
    };
    (place.keys().map(moved).collect(), place)
}

fn position(number: u64) -> usize {
    usize::try_from(number).expect("a position")
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}
