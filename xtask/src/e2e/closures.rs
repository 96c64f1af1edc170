//! Closures as Nix really describes them.

use super::{NEWEST_RELEASE, World};
use crate::command::{self, output, stdout};
use anyhow::{Result, bail, ensure};
use std::fs;
use std::path::Path;

pub(super) fn of_a_store_path(world: &World) -> Result<()> {
    ensure!(
        plan(world, &world.python.root)? == plan(world, &world.python.closure)?,
        "the plans differ"
    );
    Ok(())
}

pub(super) fn every_form(world: &World) -> Result<()> {
    let root = &world.shell.root;
    let dump = world.scratch.dir().join("registration");
    let paths = world.nix.closure_paths(root)?;
    fs::write(
        &dump,
        stdout(world.nix.command("nix-store", ["--dump-db"]).args(paths))?,
    )?;

    let mut build = world
        .nix
        .command("nix-build", [world.fixture_dir.join("closure.nix")]);
    build
        .arg("--argstr")
        .arg("root")
        .arg(root)
        .arg("--out-link")
        .arg(world.scratch.dir().join("attrs.json"));
    let attributes = command::text(&mut build)?;

    let expected = plan(world, &world.shell.closure)?;
    for form in [dump.as_path(), Path::new(&attributes)] {
        ensure!(
            plan(world, form)? == expected,
            "{} gives another plan",
            form.display()
        );
    }
    Ok(())
}

pub(super) fn of_a_newer_nix(world: &World) -> Result<()> {
    let debian = world.newer_nix()?;
    world.give_closure(debian, &[&world.shell.root])?;

    let expected = plan(world, &world.shell.closure)?;
    let root = world.shell.root.display();
    let mut forms = 0;
    for format in ["", "--json-format 1", "--json-format 2", "--json-format 3"] {
        let described = output(
            &mut debian.command(&format!("nix path-info --recursive --json {format} {root}")),
        )?;
        let said = String::from_utf8_lossy(&described.stderr);
        // Formats came and will come with versions of Nix; the one without a name was always there.
        if !described.status.success() && !format.is_empty() && said.contains("format") {
            continue;
        }
        ensure!(
            described.status.success(),
            "nix path-info --json {format}: {said}"
        );
        let file = world.scratch.dir().join("newer.json");
        fs::write(&file, described.stdout)?;
        ensure!(
            plan(world, &file)? == expected,
            "`nix path-info --json {format}` gives another plan"
        );
        forms += 1;
    }
    ensure!(
        forms > 1,
        "the Nix of {NEWEST_RELEASE} is not newer than the one of this machine"
    );
    Ok(())
}

pub(super) fn of_a_path_that_is_not_built(world: &World) -> Result<()> {
    let missing = "/nix/store/00000000000000000000000000000000-not-built";
    let planned = output(&mut world.nixply.command(["plan", missing]))?;
    let said = String::from_utf8_lossy(&planned.stderr);
    ensure!(
        planned.status.code() == Some(3),
        "the exit code is {}, not 3: {said}",
        planned.status
    );
    if !said.contains(missing) {
        bail!("the message does not name the path: {said}");
    }
    Ok(())
}

fn plan(world: &World, image: &Path) -> Result<Vec<u8>> {
    stdout(world.nixply.command(["plan"]).arg(image).arg("--json"))
}
