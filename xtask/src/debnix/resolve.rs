//! From the packages that are wanted to units without cycles, each of which becomes one store path.

use super::index::{Package, PackageIndex};
use anyhow::{Context, Result};
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Packages that serve dpkg's maintainer scripts, or a running Debian system, or hold no files: no program that runs in
/// a container needs them.
const NOT_NEEDED: &[&str] = &[
    "adduser",
    "base-files",
    "base-passwd",
    "debconf",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "libc-bin",
    "lsb-base",
    "mailcap",
    "media-types",
    "mime-support",
    "netbase",
    "perl-base",
    "procps",
    "readline-common",
    "sensible-utils",
    "sysvinit-utils",
    "ucf",
];

/// One or more packages that become one store path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// The packages, by name.
    pub(crate) packages: Vec<Package>,
    /// The version of the package that names the unit.
    pub(crate) version: String,
    /// The names of the units that it needs, without itself.
    pub(crate) deps: BTreeSet<String>,
}

/// Everything that `wanted` needs, by the name of the unit.
pub(crate) fn resolve(index: &PackageIndex, wanted: &[&str]) -> Result<BTreeMap<String, Unit>> {
    let needed = reachable(index, wanted)?;

    // One node for each group of packages, and an arrow to every group that it depends on.
    let mut groups: BTreeMap<String, Vec<&Package>> = BTreeMap::new();
    for (package, _) in needed.values() {
        groups.entry(group_of(package)).or_default().push(package);
    }
    let mut graph: DiGraph<&str, ()> = DiGraph::new();
    let nodes: BTreeMap<&str, NodeIndex> = groups
        .keys()
        .map(|group| (group.as_str(), graph.add_node(group.as_str())))
        .collect();
    for (package, depends) in needed.values() {
        for depend in depends {
            graph.update_edge(
                nodes[group_of(package).as_str()],
                nodes[group_of(&needed[depend].0).as_str()],
                (),
            );
        }
    }

    // Nix knows no cycles, so the groups of a cycle become one unit, named after the first that is no library.
    let components = tarjan_scc(&graph);
    let mut unit_of: BTreeMap<NodeIndex, String> = BTreeMap::new();
    for component in &components {
        let group = component
            .iter()
            .map(|node| graph[*node])
            .min_by_key(|group| (group.starts_with("lib"), *group));
        let name = unit_name(group.context("a component has at least one group")?);
        unit_of.extend(component.iter().map(|node| (*node, name.clone())));
    }
    let mut units = BTreeMap::new();
    for component in &components {
        let mut packages: Vec<Package> = component
            .iter()
            .flat_map(|node| &groups[graph[*node]])
            .map(|package| (*package).clone())
            .collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let name = unit_of[&component[0]].clone();
        let neighbors = component.iter().flat_map(|node| graph.neighbors(*node));
        let deps = neighbors
            .map(|node| unit_of[&node].clone())
            .filter(|dep| *dep != name)
            .collect();
        let leading = packages
            .iter()
            .find(|package| unit_name(&package.name) == name)
            .unwrap_or(&packages[0]);
        units.insert(
            name,
            Unit {
                version: leading.version.clone(),
                packages,
                deps,
            },
        );
    }
    Ok(units)
}

/// The packages that are reachable from `wanted`, by name, each with the names of those it depends on.
fn reachable(
    index: &PackageIndex,
    wanted: &[&str],
) -> Result<BTreeMap<String, (Package, Vec<String>)>> {
    let mut needed = BTreeMap::new();
    let mut open: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = open.pop() {
        if needed.contains_key(&name) {
            continue;
        }
        let package = index.get(&name)?;
        let mut depends = Vec::new();
        for alternatives in &package.depends {
            if alternatives.iter().any(|name| is_not_needed(name)) {
                continue;
            }
            let chosen = index.choose(alternatives);
            let chosen =
                chosen.with_context(|| format!("{name} depends on {alternatives:?}: not here"))?;
            depends.push(chosen.to_owned());
            open.push(chosen.to_owned());
        }
        needed.insert(name, (package, depends));
    }
    Ok(needed)
}

fn is_not_needed(package: &str) -> bool {
    // gcc-12-base and its like hold nothing but a changelog.
    NOT_NEEDED.contains(&package) || (package.starts_with("gcc-") && package.ends_with("-base"))
}

/// Python looks for its library below its own prefix, so all packages of the interpreter have to be one tree.
fn group_of(package: &Package) -> String {
    let is_python = package.source == "python3-defaults" || package.source.starts_with("python3.");
    if is_python {
        "python3".to_owned()
    } else {
        package.name.clone()
    }
}

/// `debnix.nix` knows the C library by this name.
fn unit_name(group: &str) -> String {
    if group.starts_with("libc6") {
        "glibc".to_owned()
    } else {
        group.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index out of lines `name source depends…`, where `a|b` are alternatives.
    fn index(lines: &[&str]) -> PackageIndex {
        let mut index = PackageIndex::default();
        for line in lines {
            let mut words = line.split(' ');
            let (name, source) = (words.next().unwrap(), words.next().unwrap());
            let depends: Vec<&str> = words.collect();
            index
                .add(&format!(
                    "Package: {name}\nSource: {source}\nVersion: 1-{name}\nDepends: {}\nFilename: p/{name}.deb\nSHA256: 00\n",
                    depends.join(", ")
                ).replace("Depends: \n", ""));
        }
        index
    }

    fn shape(units: &BTreeMap<String, Unit>) -> Vec<String> {
        let names = |unit: &Unit| {
            unit.packages
                .iter()
                .map(|package| package.name.clone())
                .collect::<Vec<_>>()
                .join("+")
        };
        units
            .iter()
            .map(|(name, unit)| {
                format!(
                    "{name} = {} -> {}",
                    names(unit),
                    unit.deps.iter().cloned().collect::<Vec<_>>().join(" ")
                )
            })
            .collect()
    }

    #[test]
    fn cycles_become_one_unit_and_maintainer_scripts_vanish() {
        let index = index(&[
            "libc6 glibc libgcc-s1",
            "libgcc-s1 gcc-12 libc6 gcc-12-base",
            "bash bash libc6 debianutils|x",
            "unused unused libc6",
        ]);
        let units = resolve(&index, &["bash"]).unwrap();
        assert_eq!(
            shape(&units),
            ["bash = bash -> glibc", "glibc = libc6+libgcc-s1 -> "]
        );
        assert_eq!(units["glibc"].version, "1-libc6");
    }

    #[test]
    fn the_packages_of_python_are_one_unit_whatever_its_version() {
        let index = index(&[
            "libc6 glibc",
            "python3 python3-defaults python3.99 libpython3-stdlib",
            "python3.99 python3.99 libpython3.99-stdlib",
            "libpython3-stdlib python3-defaults libpython3.99-stdlib",
            "libpython3.99-stdlib python3.99 libc6 libffi8",
            "libffi8 libffi libc6",
        ]);
        assert_eq!(
            shape(&resolve(&index, &["python3"]).unwrap()),
            [
                "glibc = libc6 -> ",
                "libffi8 = libffi8 -> glibc",
                "python3 = libpython3-stdlib+libpython3.99-stdlib+python3+python3.99 -> glibc libffi8",
            ]
        );
    }

    #[test]
    fn a_dependency_that_does_not_exist_is_named() {
        let error = resolve(&index(&["bash bash nothing"]), &["bash"])
            .unwrap_err()
            .to_string();
        assert_eq!(error, "bash depends on [\"nothing\"]: not here");
    }
}
