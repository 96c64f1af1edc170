//! Runnable store paths out of Debian packages, by real Nix and without nixpkgs (`fixtures/debnix/README.md`).

mod index;
mod resolve;

use crate::command;
use crate::nix::Nix;
use anyhow::{Context, Result, ensure};
use index::PackageIndex;
use resolve::Unit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The programs by which `debnix.nix` patches all others.
const TOOLS: [&str; 2] = ["patchelf", "libstdc++6"];

/// Several packages in one tree of symlinks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment {
    /// The name of its store path.
    pub(crate) name: &'static str,
    /// The Debian packages in it.
    pub(crate) packages: &'static [&'static str],
}

/// Builds the environments and gives back their store paths, which stay alive as long as `work_dir` is there. Of the
/// package sets only the lock is told, for [`package_sets`].
pub(crate) fn build(
    nix: &Nix,
    fixture_dir: &Path,
    work_dir: &Path,
    environments: &[Environment],
    sets: &[Environment],
) -> Result<Vec<PathBuf>> {
    let index = PackageIndex::of_this_system().or_else(|_| {
        update_apt()?;
        PackageIndex::of_this_system()
    })?;
    let mut wanted = TOOLS.to_vec();
    wanted.extend(
        environments
            .iter()
            .chain(sets)
            .flat_map(|environment| environment.packages),
    );
    let units = resolve::resolve(&index, &wanted)?;

    let debs = store_paths_of_debs(nix, &units)?;
    let missing = invalid_paths(nix, &debs)?;
    if !missing.is_empty() {
        download(nix, work_dir, &units, &debs, &missing)?;
    }

    let lock = work_dir.join("lock.json");
    fs::write(
        &lock,
        serde_json::to_vec_pretty(&lock_of(&units, &debs, &[environments, sets].concat())?)?,
    )?;
    environments
        .iter()
        .map(|environment| build_one(nix, fixture_dir, work_dir, &lock, environment))
        .collect()
}

/// The store paths that each package set consists of, without a tree around them. The lock in `work_dir` knows the sets.
pub(crate) fn package_sets(
    nix: &Nix,
    fixture_dir: &Path,
    work_dir: &Path,
    sets: &[Environment],
) -> Result<BTreeMap<&'static str, Vec<PathBuf>>> {
    let paths = |set: &Environment| {
        let mut build = nix.command("nix-build", [fixture_dir.join("debnix.nix")]);
        build
            .arg("--no-out-link")
            .arg("--arg")
            .arg("lock")
            .arg(work_dir.join("lock.json"))
            .arg("--attr")
            .arg(format!("environments.{}.paths", set.name));
        let printed = command::text(&mut build)?;
        Ok((set.name, printed.lines().map(PathBuf::from).collect()))
    };
    sets.iter().map(paths).collect()
}

fn build_one(
    nix: &Nix,
    fixture_dir: &Path,
    work_dir: &Path,
    lock: &Path,
    environment: &Environment,
) -> Result<PathBuf> {
    let mut build = nix.command("nix-build", [fixture_dir.join("debnix.nix")]);
    build
        .arg("--arg")
        .arg("lock")
        .arg(lock)
        .arg("--attr")
        .arg(format!("environments.{}", environment.name));
    build.arg("--out-link").arg(work_dir.join(environment.name));
    Ok(PathBuf::from(command::text(&mut build)?))
}

/// Brings apt's lists up to date.
pub(crate) fn update_apt() -> Result<()> {
    command::text(&mut command::command("apt-get", ["update", "-qq"])).map(drop)
}

/// Where each `.deb` is in the store, once it is added: Nix derives the path from the name and the SHA-256 that apt's
/// lists have. It is the path of a derivation that would fetch the file, which only has to be evaluated.
fn store_paths_of_debs<'a>(
    nix: &Nix,
    units: &'a BTreeMap<String, Unit>,
) -> Result<BTreeMap<&'a str, PathBuf>> {
    let packages: Vec<_> = units.values().flat_map(|unit| &unit.packages).collect();
    let mut expression =
        "map (file: (derivation (file // { system = \"builtin\"; builder = \"builtin:fetchurl\"; \
        outputHashMode = \"flat\"; outputHashAlgo = \"sha256\"; })).outPath) ["
            .to_owned();
    for package in &packages {
        let name = store_name(&package.file_name);
        write!(
            expression,
            " {{ name = \"{name}\"; outputHash = \"{}\"; }}",
            package.sha256
        )?;
    }
    expression.push_str(" ]");
    let paths = command::json(&mut nix.command(
        "nix-instantiate",
        ["--eval", "--strict", "--json", "--expr", &expression],
    ))?;
    let paths: Vec<PathBuf> = serde_json::from_value(paths)?;
    ensure!(
        paths.len() == packages.len(),
        "Nix made {} paths of {} files",
        paths.len(),
        packages.len()
    );
    Ok(packages
        .iter()
        .map(|package| package.name.as_str())
        .zip(paths)
        .collect())
}

fn invalid_paths(nix: &Nix, debs: &BTreeMap<&str, PathBuf>) -> Result<Vec<PathBuf>> {
    let mut check = nix.command("nix-store", ["--check-validity", "--print-invalid"]);
    Ok(command::text(check.args(debs.values()))?
        .lines()
        .map(PathBuf::from)
        .collect())
}

/// Downloads the `.deb` files that the store lacks, with apt, and adds them to the store.
fn download(
    nix: &Nix,
    work_dir: &Path,
    units: &BTreeMap<String, Unit>,
    debs: &BTreeMap<&str, PathBuf>,
    missing: &[PathBuf],
) -> Result<()> {
    let download_dir = work_dir.join("debs");
    fs::create_dir_all(&download_dir)?;
    let packages = units.values().flat_map(|unit| &unit.packages);
    let packages: Vec<_> = packages
        .filter(|package| missing.contains(&debs[package.name.as_str()]))
        .collect();
    let mut fetch = command::command(
        "apt-get",
        ["download", "-qq", "--option", "APT::Sandbox::User=root"],
    );
    fetch.args(
        packages
            .iter()
            .map(|package| format!("{}={}", package.name, package.version)),
    );
    // Archives drop versions as soon as they are superseded: the lists of this machine may be too old.
    command::stdout(fetch.current_dir(&download_dir)).context(
        "apt has no such version any more? `apt-get update` brings its lists up to date",
    )?;

    let mut files = Vec::new();
    for package in &packages {
        // apt names the file after the version, the archive after the version without its epoch.
        let prefix = format!("{}_", package.name);
        let file = fs::read_dir(&download_dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|file| {
                file.file_name()
                    .and_then(OsStr::to_str)
                    .is_some_and(|name| name.starts_with(&prefix))
            })
            .with_context(|| format!("apt did not download {}", package.name))?;
        let named = work_dir.join(store_name(&package.file_name));
        fs::rename(file, &named)?;
        files.push(named);
    }
    let added = command::text(
        nix.command("nix-store", ["--add-fixed", "sha256"])
            .args(&files),
    )?;
    for (package, path) in packages.iter().zip(added.lines()) {
        let expected = &debs[package.name.as_str()];
        ensure!(
            Path::new(path) == expected,
            "{} has not the SHA-256 {}",
            package.file_name,
            package.sha256
        );
    }
    files.iter().try_for_each(fs::remove_file)?;
    Ok(())
}

fn lock_of(
    units: &BTreeMap<String, Unit>,
    debs: &BTreeMap<&str, PathBuf>,
    environments: &[Environment],
) -> Result<Value> {
    let unit_of = |package: &&str| {
        let has = |unit: &Unit| unit.packages.iter().any(|member| member.name == *package);
        let found = units.iter().find(|(_, unit)| has(unit));
        found
            .map(|(name, _)| name.clone())
            .with_context(|| format!("{package} is in no unit"))
    };
    let mut members = BTreeMap::new();
    for environment in environments {
        let units: Vec<String> = environment
            .packages
            .iter()
            .map(unit_of)
            .collect::<Result<_>>()?;
        members.insert(environment.name, units);
    }
    let units: BTreeMap<_, _> = units
        .iter()
        .map(|(name, unit)| {
            let debs: Vec<_> = unit
                .packages
                .iter()
                .map(|package| &debs[package.name.as_str()])
                .collect();
            let store_name = store_name(&format!("{name}-{}", unit.version));
            (
                name,
                json!({ "name": store_name, "debs": debs, "deps": unit.deps }),
            )
        })
        .collect();
    Ok(json!({ "units": units, "environments": members }))
}

/// The characters that Nix allows in a name; every other one becomes a dash.
fn store_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    name.chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_only_what_nix_allows() {
        assert_eq!(
            store_name("libstdc++6_12.2.0-14+deb12u1~x:y.deb"),
            "libstdc++6_12.2.0-14+deb12u1-x-y.deb"
        );
    }

    #[test]
    fn the_lock_names_the_unit_of_each_package() {
        let package = |name: &str| index::Package {
            name: name.to_owned(),
            version: "1~2".to_owned(),
            source: String::new(),
            depends: Vec::new(),
            file_name: String::new(),
            sha256: String::new(),
        };
        let unit = Unit {
            packages: vec![package("python3"), package("python3-minimal")],
            version: "1~2".to_owned(),
            deps: ["glibc".to_owned()].into(),
        };
        let units = BTreeMap::from([("python3".to_owned(), unit)]);
        let debs = BTreeMap::from([("python3", "/a".into()), ("python3-minimal", "/b".into())]);
        let environments = [Environment {
            name: "one",
            packages: &["python3-minimal"],
        }];
        assert_eq!(
            lock_of(&units, &debs, &environments).unwrap(),
            json!({
                "units": { "python3": { "name": "python3-1-2", "debs": ["/a", "/b"], "deps": ["glibc"] } },
                "environments": { "one": ["python3"] },
            })
        );
        let unknown = [Environment {
            name: "one",
            packages: &["perl"],
        }];
        assert!(lock_of(&units, &debs, &unknown).is_err());
    }
}
