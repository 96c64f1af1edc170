//! What the images of the templates have in common is the same layers, and a fleet's layer index finds them.

use super::runner::Runner;
use super::{IMAGES, PLATFORMS, workflow};
use crate::command;
use crate::e2e::World;
use crate::e2e::flake::this_system;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

pub(in super::super) fn sharing(world: &World) -> Result<()> {
    let runner = Runner::new(world, "sharing")?;
    plans(&runner)?;
    committed(&runner)?;
    let index = format!("{}/acme/layers", runner.host);
    let first = push(&runner, "acme/first", &index)?;
    ensure!(
        first.iter().all(|(_, sent)| *sent > 0),
        "the registry had it before: {first:?}"
    );
    // The machine is new, and so are the repositories.
    let second = push(&runner, "acme/second", &index)?;
    ensure!(
        second
            .iter()
            .all(|(mounted, sent)| *mounted > 0 && *sent == 0),
        "(mounted, sent) with the fleet's index: {second:?}"
    );
    let alone = push(&runner, "acme/alone", "")?;
    ensure!(
        alone
            .first()
            .is_some_and(|(mounted, sent)| *mounted == 0 && *sent > 0),
        "(mounted, sent) without an index: {alone:?}"
    );
    Ok(())
}

/// The plans of the project's images, as JSON.
fn plan(runner: &Runner<'_>, image: &str) -> Result<Value> {
    let dir = runner.checkout(&format!("plan-{image}"))?;
    let script = workflow::Script {
        text: format!("nix build '.#{image}' --out-link plan"),
        env: BTreeMap::new(),
    };
    runner.run(&script, &this_system(), &dir, &[])?;
    let plan = serde_json::from_slice(&fs::read(dir.join("plan"))?)?;
    fs::remove_dir_all(dir)?;
    Ok(plan)
}

/// Store layers, by their keys.
fn keys(plan: &Value) -> Result<BTreeSet<&str>> {
    let layers = plan["layers"].as_array().context("no layers")?;
    let store_layers = layers.iter().filter(|layer| layer["kind"] == "store");
    store_layers
        .map(|layer| layer["key"].as_str().context("no key"))
        .collect()
}

/// Both images are packed by the catalog of the fleet's package sets; the runtime has no layer of its own, for its sets are
/// the development container's, too.
fn plans(runner: &Runner<'_>) -> Result<()> {
    let [devcontainer, runtime] = IMAGES.map(|image| plan(runner, image));
    let (devcontainer, runtime) = (devcontainer?, runtime?);
    for plan in [&devcontainer, &runtime] {
        let packer = &plan["packer"];
        ensure!(
            packer["name"] == "fleet" && packer["catalog"].is_string(),
            "the packer is {packer}"
        );
    }
    ensure!(
        devcontainer["packer"]["catalog"] == runtime["packer"]["catalog"],
        "there are two catalogs"
    );
    let (all, some) = (keys(&devcontainer)?, keys(&runtime)?);
    ensure!(
        !some.is_empty() && some.is_subset(&all),
        "layers of the runtime alone: {:?}",
        some.difference(&all)
    );
    Ok(())
}

/// A catalog that is committed is taken as it is.
fn committed(runner: &Runner<'_>) -> Result<()> {
    let catalog = runner
        .dir
        .join("infra")
        .join(format!("catalog-{}.json", this_system()));
    let text =
        r#"{"schema":"nixply.catalog/1","level":3,"store_dir":"/nix/store","sets":[],"atoms":[]}"#;
    fs::write(&catalog, text)?;
    let lock = |dir: &str| -> Result<()> {
        let infra = format!("path:{}", runner.dir.join("infra").display());
        let mut lock = super::nix_here(runner.world, "flake lock --override-input infra");
        lock.arg(infra).current_dir(runner.dir.join(dir));
        command::stdout(&mut lock).map(drop)
    };
    lock("project")?;
    let plan = plan(runner, "runtime")?;
    ensure!(
        plan["packer"]["level"] == 3 && plan["packer"]["unknown_paths"] != 0,
        "a committed catalog makes {}",
        plan["packer"]
    );
    fs::remove_file(catalog)?;
    lock("project")
}

/// Pushes the images of this machine's platform as GitHub's workflow does. How many layers were mounted and sent, by image.
fn push(runner: &Runner<'_>, repository: &str, index: &str) -> Result<Vec<(u32, u32)>> {
    let images = workflow::read(&runner.dir.join("project/.github/workflows/images.yml"))?;
    let system = this_system();
    let (platform, _) = (PLATFORMS.iter())
        .find(|(_, name)| *name == system)
        .context("no platform")?;
    let values = BTreeMap::from(
        [
            ("matrix.platform", *platform),
            ("secrets.GITHUB_TOKEN", "token"),
            ("vars.NIXPLY_LAYER_INDEX", index),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let dir = runner.checkout("push")?;
    let output = dir.join("github-output").display().to_string();
    let variables = [
        ("GITHUB_REPOSITORY", repository),
        ("GITHUB_OUTPUT", &*output),
    ];
    let mut printed = String::new();
    for script in workflow::github_scripts(&images["jobs"]["push"], &values)? {
        printed.push_str(&runner.run(&script, &system, &dir, &variables)?);
    }
    fs::remove_dir_all(dir)?;
    let counts: Vec<(u32, u32)> = printed.lines().filter_map(counts).collect();
    ensure!(counts.len() == IMAGES.len(), "a push says\n{printed}");
    Ok(counts)
}

/// Of a line `layers   0 already there, 2 mounted, 1 sent`.
fn counts(line: &str) -> Option<(u32, u32)> {
    let rest = line.trim_start().strip_prefix("layers ")?;
    let number = |word: &str| {
        let part = rest
            .split(", ")
            .find(|part| part.trim_end().ends_with(word))?;
        part.trim_start().split(' ').next()?.parse().ok()
    };
    Some((number(" mounted")?, number(" sent")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_layers_are_read_from_what_a_push_prints() {
        assert_eq!(
            counts("  layers   3 already there, 2 mounted, 1 sent"),
            Some((2, 1))
        );
        assert_eq!(counts("  digest   sha256:…"), None);
    }
}
