//! Small fleets, and planners that do as they are told.

use nixply_pack::{CatalogError, PackError};
use nixply_reuse::planners::{Layers, Planner};
use nixply_reuse::{Fleet, Images, Pin, Sets};
use nixply_store::{Closure, PathIdx};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A path of a small fleet: name, NAR size, names of references. The name decides the hash part.
pub(crate) type Path<'a> = (&'a str, u64, &'a [&'a str]);

/// The base name of a path: 32 digits that its name decides, and the name.
pub(crate) fn base_name(name: &str) -> String {
    let mut digits = String::new();
    for byte in name.bytes().take(16) {
        let _ = write!(digits, "{byte:02x}");
    }
    // `e` is no digit of Nix's base-32.
    format!("{digits:0<32}-{name}").replacen('e', "g", digits.matches('e').count())
}

/// A pin in the form of the documents.
pub(crate) fn documents(paths: &[Path<'_>], sets: &[(&str, &[&str])]) -> (String, String) {
    let store_path = |name: &str| format!("\"/nix/store/{}\"", base_name(name));
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| store_path(name)).collect();
        names.join(",")
    };
    let records: Vec<String> = paths
        .iter()
        .map(|(name, size, references)| {
            format!(
                "{{\"path\":{},\"narSize\":{size},\"references\":[{}]}}",
                store_path(name),
                list(references)
            )
        })
        .collect();
    let sets: Vec<String> = sets
        .iter()
        .map(|(set, roots)| format!("\"{set}\":[{}]", list(roots)))
        .collect();
    (
        format!("[{}]", records.join(",")),
        format!("{{{}}}", sets.join(",")),
    )
}

pub(crate) fn pin(name: &str, paths: &[Path<'_>], sets: &[(&str, &[&str])]) -> Pin {
    let (closure, sets) = documents(paths, sets);
    Pin::read(name, closure.as_bytes(), sets.as_bytes()).unwrap()
}

pub(crate) fn fleet(pins: Vec<Pin>) -> Fleet {
    Fleet {
        pins,
        images: Images::Sets,
    }
}

/// Puts paths that a function gives the same number into one layer, ordered by number.
pub(crate) struct Grouped<F> {
    pub(crate) group_of: F,
    /// How often each image was planned for good, and apart.
    pub(crate) plans: BTreeMap<String, (usize, usize)>,
}

impl<F: Fn(&str) -> u64> Grouped<F> {
    pub(crate) fn new(group_of: F) -> Self {
        Self {
            group_of,
            plans: BTreeMap::new(),
        }
    }

    fn layers(&self, closure: &Closure) -> Layers {
        let mut layers: BTreeMap<u64, Vec<PathIdx>> = BTreeMap::new();
        for idx in closure.indices() {
            let group = (self.group_of)(closure.info(idx).path.name());
            layers.entry(group).or_default().push(idx);
        }
        layers.into_values().collect()
    }
}

impl<F: Fn(&str) -> u64> Planner for Grouped<F> {
    fn name(&self) -> &'static str {
        "grouped"
    }

    fn max_layers(&self) -> Option<usize> {
        Some(100)
    }

    fn begin_pin(&mut self, _: &Closure, _: &Sets) -> Result<(), CatalogError> {
        Ok(())
    }

    fn plan(&mut self, image: &str, closure: &Closure, _: &[PathIdx]) -> Result<Layers, PackError> {
        self.plans.entry(image.to_owned()).or_default().0 += 1;
        Ok(self.layers(closure))
    }

    fn plan_apart(
        &mut self,
        image: &str,
        closure: &Closure,
        _: &[PathIdx],
    ) -> Result<Layers, PackError> {
        self.plans.entry(image.to_owned()).or_default().1 += 1;
        Ok(self.layers(closure))
    }
}
