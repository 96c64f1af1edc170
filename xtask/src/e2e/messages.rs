//! What Nix says of an image that somebody asks for in the wrong words: before anything is built, and in words of Nix.

use super::World;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

fn image(arguments: &str) -> String {
    format!("(nixply.lib.buildImage {{ name = \"wrong\"; {arguments} }})")
}

fn fleet(arguments: &str) -> String {
    format!(
        "((nixply.lib.mkFleet {{ packageSets = {{ }}; pkgs = {{ }}; shell = \"x\"; env = \"x\"; \
         caCertificates = \"x\"; libraryPath = [ ]; }}).mkRuntime {{ {arguments} }})"
    )
}

fn check(world: &World, cases: &[(String, &str)]) -> Result<()> {
    for (expression, expected) in cases {
        let said = world.nix_half.refused(expression)?;
        ensure!(
            said.contains(expected),
            "{expression}: expected `{expected}`:\n{said}"
        );
    }
    Ok(())
}

pub(super) fn config(world: &World) -> Result<()> {
    let cases = [
        (
            image("config.cmd = [ \"/bin/sh\" ];"),
            "nixply.lib.buildImage: argument `config` has no key `cmd`; did you mean `Cmd`?",
        ),
        (
            image("config.Workdir = \"/x\";"),
            "argument `config` has no key `Workdir`; did you mean `WorkingDir`?",
        ),
        (
            image("config.HealthCheck = { };"),
            "did you mean `Healthcheck`?",
        ),
        (
            image("config.Cmd = \"/bin/bash\";"),
            "nixply.lib.buildImage: argument `config.Cmd` is a string, expected a list (each a string)",
        ),
        (
            image("config.Env = { A = \"1\"; };"),
            "argument `config.Env` is an attribute set, expected a list",
        ),
        (
            image("config.Entrypoint = [ 1 ];"),
            "argument `config.Entrypoint.0` is an integer, expected a string",
        ),
        (
            image("config.User = 1000;"),
            "argument `config.User` is an integer, expected a string",
        ),
        (
            image("config.ExposedPorts = [ \"80/tcp\" ];"),
            "argument `config.ExposedPorts` is a list, expected an attribute set",
        ),
        (
            image("config.Labels.a = 1;"),
            "argument `config.Labels.a` is an integer, expected a string",
        ),
        (
            fleet("extraConfig.cmd = [ ];"),
            "mkRuntime: argument `extraConfig` has no key `cmd`; did you mean `Cmd`?",
        ),
        (
            fleet("extraConfig.Cmd = \"/bin/bash\";"),
            "mkRuntime: argument `extraConfig.Cmd` is a string, expected a list",
        ),
        (
            "(dockerTools.buildLayeredImage { name = \"wrong\"; config.Cmd = \"/bin/bash\"; })"
                .to_owned(),
            "nixply.dockerTools.buildLayeredImage: argument `config.Cmd` is a string, expected a list",
        ),
    ];
    check(world, &cases)?;

    let unknown = image("contents = [ debnix.units.bash ]; config.Runtime = \"own\";");
    let (plan, said) = world.nix_half.build_and_hear(&unknown)?;
    ensure!(
        said.contains("warning: nixply.lib.buildImage: argument `config` has the key `Runtime`"),
        "nobody warns of an unknown key:\n{said}"
    );
    ensure!(
        config_of(&plan)?["Runtime"] == "own",
        "the key is not passed on"
    );
    // nixpkgs' own function passes everything on.
    let (plan, said) = world.nix_half.build_and_hear(
        "(dockerTools.streamLayeredImage { name = \"wrong\"; config = { cmd = [ ]; Cmd = [ debnix.units.bash ]; }; }).conf",
    )?;
    ensure!(
        said.contains(
            "warning: nixply.dockerTools.streamLayeredImage: argument `config` has the key `cmd`, which no container runtime reads; did you mean `Cmd`?"
        ),
        "nobody warns of a key in the wrong case:\n{said}"
    );
    ensure!(
        config_of(&plan)?["cmd"] == json!([]),
        "the key is not passed on"
    );
    known_keys(world)
}

fn config_of(plan: &std::path::Path) -> Result<Value> {
    let plan: Value = serde_json::from_slice(&std::fs::read(plan)?)?;
    Ok(plan["config"].clone())
}

/// Nix and the reader of image specifications know the same keys.
fn known_keys(world: &World) -> Result<()> {
    let keys = format!(
        "builtins.attrNames (import {}/nix/config.nix (import {}/nix/check-arguments.nix)).keys",
        world.root.display(),
        world.root.display()
    );
    let keys: Vec<String> = serde_json::from_value(world.nix_half.eval(&keys)?)?;
    ensure!(keys.len() > 20, "there are {keys:?}");
    let file = world.scratch.subdir("keys")?.join("image.json");
    let said_of = |config: Value| -> Result<String> {
        let spec =
            json!({ "schema": "nixply.image/1", "closure": world.shell.closure, "config": config });
        std::fs::write(&file, spec.to_string())?;
        let ended = crate::command::output(world.nixply.command(["plan"]).arg(&file))?;
        Ok(String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let all: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), Value::Null)).collect();
    let said = said_of(Value::Object(all))?;
    ensure!(said.is_empty(), "of the keys that Nix knows:\n{said}");
    for key in keys {
        let said = said_of(json!({ key.to_lowercase(): null }))?;
        ensure!(
            said.contains(&format!("did you mean `{key}`?")),
            "of {key} in lower case:\n{said}"
        );
    }
    Ok(())
}

/// A script that fails names the command.
pub(super) fn scripts(world: &World) -> Result<()> {
    for (arguments, expected) in [
        (
            "extraCommands = \"true\\nmkdir a\\nls /absent/file > b\\ntrue\";",
            "extraCommands: this command failed: ls /absent/file > b",
        ),
        (
            "fakeRootCommands = \"true; false || true; f() { test -e none; }; f; true\";",
            "fakeRootCommands: this command failed: test -e none",
        ),
    ] {
        let image = format!(
            "(withPkgs.lib.buildImage {{ name = \"wrong\"; contents = [ debnix.units.bash ]; {arguments} }})"
        );
        let said = world.nix_half.refused(&image)?;
        ensure!(said.contains(expected), "expected `{expected}`:\n{said}");
        let told = said.matches("this command failed: true").count();
        ensure!(told == 0, "a command that succeeded is told:\n{said}");
    }
    Ok(())
}

pub(super) fn arguments(world: &World) -> Result<()> {
    let mut cases = vec![
        (
            image("fromImage = \"docker.io/library/debian:12\";"),
            "nixply.lib.buildImage: argument `fromImage` is `docker.io/library/debian:12`, which is no store path: \
             an image in a registry is `nixply.lib.base { lock = …; }`, or `nixply.lib.pullImage { … }`",
        ),
        (
            "(dockerTools.buildLayeredImage { name = \"wrong\"; fromImage = \"debian\"; })"
                .to_owned(),
            "nixply.dockerTools.buildLayeredImage: argument `fromImage` is `debian`, which is no store path",
        ),
        (
            image("fromImage = 1;"),
            "argument `fromImage` is an integer, expected",
        ),
        (
            image("platform = \"arm64\";"),
            "nixply.lib.buildImage: argument `platform` is `arm64`, expected for example `linux/arm64`",
        ),
        (
            "(nixply.lib.buildLayer { deps = [ ]; })".to_owned(),
            "nixply.lib.buildLayer: nixply has no such function",
        ),
        (
            "(nixply.lib.pullImageFromManifest { imageName = \"x\"; })".to_owned(),
            "nixply.lib.pullImageFromManifest: nixply has no such function",
        ),
    ];
    // The words of nix2container and of dockerTools.
    for (argument, counterpart) in [
        ("copyToRoot = [ ];", "`contents`"),
        ("initializeNixDatabase = true;", "`nixDatabase`"),
        ("nixUid = 1;", "`nixDatabase = { uid = …; gid = …; }`"),
        ("layers = [ ];", "`catalog`"),
        ("metadata = { };", "`annotations`"),
        ("arch = \"arm64\";", "`architecture`"),
        ("runAsRoot = \"\";", "`fakeRootCommands`"),
        ("diskSize = 1;", "leave it out"),
        ("keepContentsDirlinks = true;", "leave it out"),
        ("includeNixDB = true;", "`nixDatabase`"),
        ("fromImageTag = \"x\";", "`fromImage`"),
        ("compressor = \"zstd\";", "`compression`"),
    ] {
        cases.push((image(argument), counterpart));
    }
    // By the builder: what can be said is said as one writes Nix, and a rule does not bring its path into the image.
    cases.push((
        "(let tree = text: derivation { name = \"tree\"; system = builtins.currentSystem; builder = \"/bin/sh\"; \
         args = [ \"-c\" \"/bin/mkdir $out; echo ${text} > $out/file\" ]; }; in \
         nixply.lib.buildImage { name = \"wrong\"; contents = [ (tree \"a\") (tree \"b\") ]; })"
            .to_owned(),
        "let the first win with `onCollision = \"first\"`",
    ));
    cases.push((
        image("contents = [ debnix.units.bash ]; root.directories.\"/x\".user = \"app\";"),
        "hint: define it: `root.users.app = …`",
    ));
    cases.push((
        image(
            "contents = [ debnix.units.bash ]; \
             perms = [ { path = debnix.units.coreutils; regex = \"/bin/id$\"; mode = \"4755\"; } ];",
        ),
        "which is not in the image's closure",
    ));
    check(world, &cases)?;
    let said = world.nix_half.refused(&image("copyToRoot = [ ];"))?;
    ensure!(
        said.contains("nixply.lib.buildImage: there is no argument `copyToRoot`: "),
        "{said}"
    );
    Ok(())
}
