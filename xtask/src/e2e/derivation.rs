//! Images as derivations whose builder is nixply.

use super::World;
use crate::command::{self, command};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// An image of a shell, with a store reference in a text and a root file.
const SHELL: &str = "(nixply.lib.buildImage {
    name = \"shell\";
    config.Cmd = [ \"${debnix.environments.shell}/bin/bash\" ];
    labels.origin = \"derivation\";
})";

/// All outputs of an image.
const OUTPUTS: &[&str] = &["plan", "archive", "ociLayout", "manifest", "push", "load"];

pub(super) fn same_as_the_command_line(world: &World) -> Result<()> {
    let nix_half = &world.nix_half;
    let built = nix_half.build(SHELL)?;
    let plan: Value = serde_json::from_slice(&fs::read(&built)?)?;
    let mut by_hand = world.nixply.command(["plan", "--json"]);
    let by_hand = command::json(by_hand.arg(&world.shell.closure))?;
    ensure!(
        plan["layers"] == by_hand["layers"],
        "the layers of {} are not those of the command line",
        built.display()
    );
    ensure!(
        plan["tool"] == nix_half.nixply.display().to_string(),
        "the plan does not name its tool: {}",
        plan["tool"]
    );

    let manifest = nix_half.build(&format!("{SHELL}.manifest"))?;
    let exported = world.scratch.dir().join("by-hand");
    let digest = command::text(
        world
            .nixply
            .command([
                "export",
                "--format",
                "oci-dir",
                "--label",
                "origin=derivation",
                "--cmd",
            ])
            .arg(world.shell.root.join("bin/bash"))
            .arg("-o")
            .arg(&exported)
            .arg(&world.shell.closure),
    )?;
    let of_manifest = sha256(&manifest)?;
    ensure!(
        digest == format!("sha256:{of_manifest}"),
        "by hand the image has the digest {digest}, the manifest in the store {of_manifest}"
    );
    let layout = nix_half.build(&format!("{SHELL}.ociLayout"))?;
    ensure!(
        layout.join("blobs/sha256").join(&of_manifest).is_file(),
        "the OCI layout {} has not the manifest {of_manifest}",
        layout.display()
    );
    Ok(())
}

pub(super) fn check(world: &World) -> Result<()> {
    for output in OUTPUTS {
        let expression = format!("{SHELL}.{output}");
        world.nix_half.build(&expression)?;
        world.nix_half.check(&expression)?;
    }
    Ok(())
}

fn sha256(file: &Path) -> Result<String> {
    let printed = command::text(command("sha256sum", ["--"]).arg(file))?;
    Ok(printed.split(' ').next().unwrap_or_default().to_owned())
}
