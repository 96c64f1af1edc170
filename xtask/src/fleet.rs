//! Two projects on one package collection, and the catalog that lets their images agree.

use crate::command::{self, stdout};
use crate::debnix::{self, Environment};
use crate::nix::Nix;
use crate::nixply::Nixply;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The Debian packages of a shell and its tools, which every image has, and others.
macro_rules! with_shell {
    ($($package:literal),*) => {
        &["bash", "coreutils", "findutils", "grep", "sed" $(, $package)*]
    };
}
pub(crate) use with_shell;

/// Two projects on one base, so that most of the second is there when the first is.
pub(crate) const PROJECTS: [Environment; 2] = [
    Environment {
        name: "project-a",
        packages: with_shell!["ca-certificates", "tzdata", "python3"],
    },
    Environment {
        name: "project-b",
        packages: with_shell!["ca-certificates", "tzdata", "redis-server"],
    },
];

/// The package sets that the projects are made of. The catalog sees these and no project.
pub(crate) const SETS: [Environment; 5] = [
    Environment {
        name: "shell",
        packages: with_shell![],
    },
    Environment {
        name: "certificates",
        packages: &["ca-certificates"],
    },
    Environment {
        name: "timezones",
        packages: &["tzdata"],
    },
    Environment {
        name: "python",
        packages: &["python3"],
    },
    Environment {
        name: "redis",
        packages: &["redis-server"],
    },
];

/// So few layers that it matters what stands together: the projects have some 35 store paths each.
pub(crate) const FEW_LAYERS: &str = "12";

/// A way to plan an image, by name.
#[derive(Debug, Clone)]
pub(crate) struct Planner {
    pub(crate) name: &'static str,
    pub(crate) options: Vec<String>,
}

/// What the fleet's projects can be planned with, under few layers; the last one has the catalog.
pub(crate) fn planners(catalog: &Path) -> Vec<Planner> {
    let planner = |name, options: &[&str]| Planner {
        name,
        options: ["--max-layers", FEW_LAYERS]
            .iter()
            .chain(options)
            .map(|option| (*option).to_owned())
            .collect(),
    };
    vec![
        planner("popularity", &["--packer", "popularity"]),
        planner("auto-layer", &["--packer", "auto-layer"]),
        planner("auto", &[]),
        planner(
            "auto with a catalog",
            &["--catalog", &catalog.to_string_lossy()],
        ),
    ]
}

/// Makes the catalog of the package sets, whose lock is in `work_dir`, for images of few layers. Gives back the file, and
/// what nixply says of it.
pub(crate) fn write_catalog(
    nix: &Nix,
    nixply: &Nixply,
    fixture_dir: &Path,
    work_dir: &Path,
) -> Result<(PathBuf, String)> {
    let sets = debnix::package_sets(nix, fixture_dir, work_dir, &SETS)?;
    let file = work_dir.join("sets.json");
    fs::write(&file, serde_json::to_vec_pretty(&sets)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let closure = work_dir.join("sets.closure.json");
    let mut path_info = nix.command("nix", ["path-info", "--json", "--recursive"]);
    fs::write(&closure, stdout(path_info.args(sets.values().flatten()))?)
        .with_context(|| format!("cannot write {}", closure.display()))?;
    let catalog = work_dir.join("catalog.json");
    let mut make = nixply.command(["catalog", "--max-layers", FEW_LAYERS]);
    make.arg(&closure).arg("--sets").arg(&file);
    let said = command::text(make.arg("-o").arg(&catalog))?;
    Ok((catalog, said))
}
