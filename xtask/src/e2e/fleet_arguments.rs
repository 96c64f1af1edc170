//! What a project may say of an image of its fleet, beyond the packages: it stands in the plan as it was said.

use super::World;
use super::fleet_images::Fleet;
use crate::command;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;

/// The plan of an image, as JSON.
fn plan(fleet: &Fleet, image: &str) -> Result<Value> {
    let plan = fs::read(fleet.build(image)?)?;
    Ok(serde_json::from_slice(&plan)?)
}

/// The environment of an image, by name.
fn variable<'p>(plan: &'p Value, name: &str) -> Option<&'p str> {
    let all = plan["config"]["Env"].as_array()?;
    all.iter()
        .filter_map(|text| text.as_str()?.strip_prefix(name)?.strip_prefix('='))
        .next_back()
}

/// A file outside the store, in the uppermost layer that has one of that name.
fn root_file<'p>(plan: &'p Value, path: &str) -> Option<&'p Value> {
    let layers = plan["layers"].as_array()?;
    let files = layers
        .iter()
        .rev()
        .filter_map(|layer| layer["files"].as_array());
    files.flatten().find(|file| file["path"] == path)
}

pub(super) fn arguments(world: &World) -> Result<()> {
    let fleet = Fleet::new(world, "fleet-arguments")?;
    environment(&fleet)?;
    foreign_programs(&fleet)?;
    time_zones(&fleet)?;
    as_build_image_has_them(&fleet)?;
    collisions(world, &fleet)?;
    for (wrong, told) in [
        (
            ".mkRuntime { extraRot = { }; }",
            "mkRuntime: there is no argument `extraRot`; did you mean `extraRoot`?",
        ),
        (
            ".mkDevContainer { nixDatabase = true; }",
            "mkDevContainer: there is no argument `nixDatabase`",
        ),
        (
            ".mkRuntime { env.A = 1; }",
            "mkRuntime: argument `env.A` is an integer, expected a string",
        ),
        (
            ".mkRuntime { extraRoot.file = { }; }",
            "has no attribute `file`; did you mean `files`?",
        ),
    ] {
        let refused = fleet.refused(wrong)?;
        ensure!(refused.contains(told), "{wrong}: {refused}");
    }
    Ok(())
}

/// `env` is laid over the defaults; an `Env` of `extraConfig` is all of it.
fn environment(fleet: &Fleet) -> Result<()> {
    let more = plan(
        fleet,
        ".mkDevContainer { sets = [ \"base\" ]; env = { FOO = \"a=b\"; HOME = \"/h\"; NIX_PATH = null; }; }",
    )?;
    let own = plan(
        fleet,
        ".mkRuntime { extraConfig.Env = [ \"A=1\" \"B=2\" ]; env = { B = \"3\"; C = \"4\"; }; }",
    )?;
    for (plan, name, expected) in [
        (&more, "FOO", Some("a=b")),
        (&more, "HOME", Some("/h")),
        (&more, "NIX_PATH", None),
        (&more, "USER", Some("vscode")),
        (&more, "LANG", Some("C.UTF-8")),
    ] {
        let found = variable(plan, name);
        ensure!(found == expected, "{name} is {found:?}");
    }
    ensure!(
        own["config"]["Env"] == json!(["A=1", "B=3", "C=4"]),
        "the environment is {}",
        own["config"]["Env"]
    );
    Ok(())
}

/// A development container has what VS Code's server needs, a runtime only where it is asked for.
fn foreign_programs(fleet: &Fleet) -> Result<()> {
    let [without, with] = ["", "foreignPrograms = true;"].map(|argument| {
        plan(
            fleet,
            &format!(".mkRuntime {{ packages = [ debnix.units.tzdata ]; {argument} }}"),
        )
    });
    let (without, with) = (without?, with?);
    let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"];
    let has_loader = |plan: &Value| loader.iter().any(|path| root_file(plan, path).is_some());
    ensure!(
        variable(&without, "LD_LIBRARY_PATH").is_none() && !has_loader(&without),
        "a runtime has libraries for foreign programs: {}",
        without["config"]
    );
    ensure!(
        variable(&with, "LD_LIBRARY_PATH").is_some_and(|dirs| dirs.contains("/lib/"))
            && has_loader(&with),
        "foreign programs find no libraries: {}",
        with["config"]
    );
    ensure!(
        !without["layers"].to_string().contains("libstdc++")
            && with["layers"].to_string().contains("libstdc++"),
        "a runtime has a C++ library that it did not ask for"
    );
    Ok(())
}

/// Where tzdata is among the packages, programs find it.
fn time_zones(fleet: &Fleet) -> Result<()> {
    let with = plan(fleet, ".mkRuntime { packages = [ debnix.units.tzdata ]; }")?;
    let without = plan(fleet, ".mkRuntime { sets = [ \"base\" ]; }")?;
    let link = root_file(&with, "etc/zoneinfo").context("no link to the time zones")?;
    ensure!(
        variable(&with, "TZDIR") == Some("/etc/zoneinfo")
            && link.to_string().contains("/share/zoneinfo"),
        "the time zones are {link} in {}",
        with["config"]
    );
    ensure!(
        variable(&without, "TZDIR").is_none() && root_file(&without, "etc/zoneinfo").is_none(),
        "there are time zones without tzdata"
    );
    Ok(())
}

/// The first of two packages wins, and the log says where.
fn collisions(world: &World, fleet: &Fleet) -> Result<()> {
    let image = |argument: &str| {
        format!(
            ".mkRuntime {{
              packages =
                let tool = name: derivation {{
                  inherit name;
                  system = builtins.currentSystem;
                  builder = \"/bin/sh\";
                  PATH = \"/usr/bin:/bin\";
                  args = [ \"-c\" \"mkdir -p $out/bin && echo ${{name}} > $out/bin/tool\" ];
                }};
                in [ (tool \"one\") (tool \"other\") ];
              {argument}
            }}"
        )
    };
    let plan = fleet.build(&image(""))?;
    let mut log = world.nix.command("nix-store", ["--read-log"]);
    let log = command::text(log.arg(plan))?;
    ensure!(
        log.contains("contents have different things at 1 place")
            && log.contains("-one/bin/tool, not /nix/store/"),
        "the log of the plan is {log:?}"
    );
    let refused = fleet.refused(&image("onCollision = \"error\";"))?;
    ensure!(
        refused.contains("-one/bin/tool") && refused.contains("-other/bin/tool"),
        "the collision is refused with\n{refused}"
    );
    Ok(())
}

/// Arguments that are `buildImage`'s, and the root, in which the image's own wins over the fleet's.
fn as_build_image_has_them(fleet: &Fleet) -> Result<()> {
    let plan = plan(
        fleet,
        ".mkDevContainer {
              packages = [ debnix.units.jq ];
              fromImage = nixply.lib.buildImage { name = \"below\"; contents = [ debnix.units.bash ]; };
              labels.a = \"label\";
              annotations.b = \"annotation\";
              perms = [ { path = debnix.units.jq; regex = \"/bin/jq$\"; mode = \"0500\"; } ];
              volatile = [ debnix.units.jq ];
              maxLayers = 40;
              extraRoot = {
                files.\"/etc/motd\".text = \"hello\";
                links.\"/usr/share\" = \"/elsewhere\";
                users.vscode.description = \"Somebody\";
              };
            }",
    )?;
    let labels = &plan["config"]["Labels"];
    ensure!(
        labels["a"] == "label" && labels["devcontainer.metadata"].is_string(),
        "the labels are {labels}"
    );
    ensure!(
        plan["annotations"]["b"] == "annotation" && plan["packer"]["max_layers"] == 40,
        "annotations are {}, the packer is {}",
        plan["annotations"],
        plan["packer"]
    );
    let volatile = &plan["volatile"];
    ensure!(
        volatile.to_string().contains("-jq"),
        "volatile is {volatile}"
    );
    ensure!(
        plan["base"].is_object(),
        "the image stands on nothing: {}",
        plan["layers"]
    );
    for (path, expected) in [
        ("etc/motd", "hello"),
        ("bin/jq", "\"0500\""),
        ("usr/share", "/elsewhere"),
        // Of the fleet, and of the kind of image.
        ("usr/lib", "/lib"),
        ("etc/passwd", ":1000:1000:Somebody:/home/vscode:"),
        ("home/vscode/.bash_profile", ".bashrc"),
    ] {
        let file = root_file(&plan, path).map(Value::to_string);
        ensure!(
            file.as_ref().is_some_and(|file| file.contains(expected)),
            "/{path} is {file:?}"
        );
    }
    Ok(())
}
