//! Images as derivations whose builder is nixply.

use super::World;
use crate::command::{self, command};
use crate::nixply::pushed;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// An image of a shell, with a store reference in a text and a root file.
const SHELL: &str = "(nixply.lib.buildImage {
    name = \"shell\";
    config.Cmd = [ \"${debnix.environments.shell}/bin/bash\" ];
    labels.origin = \"derivation\";
})";

/// All outputs of an image.
const OUTPUTS: &[&str] = &[
    "plan",
    "archive",
    "ociLayout",
    "manifest",
    "push",
    "load",
    "copyToDockerDaemon",
    "copyToPodman",
];

/// Everything else that nixply makes in a derivation. What `pullImage` makes is checked where a registry is (`base.rs`).
const OTHERS: &[&str] = &[
    "(nixply.lib.mkFleet { packageSets.shell = debnix.environments.shell.paths; }).catalog",
    "(nixply.lib.buildImage { name = \"localhost/shell\"; contents = [ debnix.environments.shell ]; }).copyToRegistry",
    "(dockerTools.buildLayeredImage { name = \"shell\"; contents = debnix.environments.shell; })",
    "(dockerTools.buildLayeredImage { name = \"shell\"; contents = debnix.environments.shell; compressor = \"zstd\"; })",
    "(dockerTools.streamLayeredImage { name = \"shell\"; contents = debnix.environments.shell; })",
];

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

    let tag = nix_half.eval(&format!("{SHELL}.imageTag"))?;
    let tag = tag.as_str().unwrap_or_default();
    ensure!(
        tag.len() == 32 && built.display().to_string().contains(tag),
        "the tag is `{tag}`, not the hash of {}",
        built.display()
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

pub(super) fn empty_root(world: &World) -> Result<()> {
    let paths = |root: &str| {
        let image =
            format!("(nixply.lib.buildImage {{ name = \"empty\"; config.User = \"1\"; {root} }})");
        let plan = world.nix_half.build(&image)?;
        let plan: Value = serde_json::from_slice(&fs::read(plan)?)?;
        let layers = plan["layers"].as_array().context("a plan without layers")?;
        let files = layers.iter().filter_map(|layer| layer["files"].as_array());
        let paths = files.flatten().map(|file| file["path"].clone());
        anyhow::Ok(paths.collect::<Vec<Value>>())
    };
    let with_root = paths("root = { };")?;
    ensure!(
        with_root == ["tmp", "var/tmp"],
        "`root = {{ }}` has {with_root:?}"
    );
    Ok(())
}

pub(super) fn check(world: &World) -> Result<()> {
    let outputs = OUTPUTS.iter().map(|output| format!("{SHELL}.{output}"));
    let others = OTHERS.iter().map(|&other| other.to_owned());
    for expression in outputs.chain(others) {
        world.nix_half.build(&expression)?;
        let checked = world.nix_half.check(&expression);
        checked.with_context(|| format!("{expression} is not built the same again"))?;
    }
    check_specification(world)
}

/// The specification is no attribute of the image: the plan is made of it.
fn check_specification(world: &World) -> Result<()> {
    let plan = world.nix_half.build(SHELL)?;
    let query = |words: &[&str], path: &str| {
        let mut query = world.nix.command("nix-store", ["--query"]);
        command::text(query.args(words).arg(path))
    };
    let plan = query(&["--deriver"], &plan.display().to_string())?;
    let inputs = query(&["--references"], &plan)?;
    let specification = inputs
        .lines()
        .find(|input| input.ends_with("-spec.json.drv"));
    let specification = specification.with_context(|| format!("{plan} needs {inputs}"))?;
    let mut check = world.nix.command("nix-store", ["--realise", "--check"]);
    command::text(check.arg(specification)).map(drop)
}

/// The image as an expression that needs store paths alone, so that it can be built where nothing else is.
fn image_of(store_path: &Path) -> String {
    format!(
        "(nixply.lib.buildImage {{ name = \"shell\"; contents = [ (builtins.storePath {}) ]; }})",
        store_path.display()
    )
}

pub(super) fn in_a_sandbox(world: &World) -> Result<()> {
    let debian = world.newer_nix()?;
    let shell = &world.shell.root;
    let nixply = &world.nix_half.nixply;
    world.give_closure(debian, &[shell, nixply])?;
    let nix_files = debian.path("nixply");
    let mut copy = command("cp", ["-r", "--"]);
    command::stdout(copy.arg(world.root.join("nix")).arg(nix_files))?;
    for output in ["plan", "manifest", "push", "archive", "ociLayout"] {
        let image = format!("{}.{output}", image_of(shell));
        let here = world.nix_half.build(&image)?;
        let expression = format!(
            "let nixply = import /nixply {{ nixply = builtins.storePath {}; }}; in {image}",
            nixply.display()
        );
        fs::write(debian.path("image.nix"), expression)?;
        let there = command::text(&mut debian.command(
            "NIX_CONF_DIR=/etc/nix-sandbox nix-build --no-out-link /image.nix 2> /build.log || \
             { cat /build.log >&2; exit 1; }",
        ))
        .with_context(|| format!("{output} cannot be built in the sandbox"))?;
        // Newer Nix is told that archives and layouts need no store paths, so these derivations are others.
        ensure!(
            Path::new(&there) == here || ["archive", "ociLayout"].contains(&output),
            "{output} is {there}, here {}",
            here.display()
        );
        let there = hash(&mut debian.command(&format!("nix-hash --type sha256 {there}")))?;
        let here = hash(
            world
                .nix
                .command("nix-hash", ["--type", "sha256"])
                .arg(&here),
        )?;
        ensure!(there == here, "{output} has other bytes in the sandbox");
    }
    Ok(())
}

fn hash(nix_hash: &mut Command) -> Result<String> {
    command::text(nix_hash)
}

pub(super) fn errors(world: &World) -> Result<()> {
    let nix_half = &world.nix_half;
    let image =
        |arguments: &str| format!("(nixply.lib.buildImage {{ name = \"shell\"; {arguments} }})");
    let shell = "contents = [ debnix.environments.shell ];";
    for (arguments, expected) in [
        // By Nix, before anything is built.
        (
            "content = [ ];",
            "there is no argument `content`; did you mean `contents`?",
        ),
        ("contents = [ 1 ];", "argument `contents.0` is an integer"),
        (
            "root.users.a.home = [ ];",
            "argument `root.users.a.home` is a list, expected a string",
        ),
        (
            "root.user = { };",
            "argument `root` has no attribute `user`; did you mean `users`?",
        ),
        (
            "name = \"Shell\";",
            "argument `name` is `Shell`, expected an image name in lower case",
        ),
        ("tag = \"a b\";", "argument `tag` is `a b`, expected a tag"),
        // By the builder.
        (
            "packer = \"best\";",
            "error: `best` is not a packer: expected `auto`",
        ),
        ("compression = \"xz\";", "error: argument `compression`"),
        ("", "error: the image would be empty"),
    ] {
        let with_shell = if arguments.is_empty() || arguments.starts_with("content") {
            String::new()
        } else {
            shell.to_owned()
        };
        // An attribute set has no attribute twice.
        let expression = if arguments.starts_with("name") {
            format!("(nixply.lib.buildImage {{ {arguments} {shell} }})")
        } else {
            image(&format!("{with_shell} {arguments}"))
        };
        let said = nix_half.refused(&expression)?;
        ensure!(said.contains(expected), "expected `{expected}`:\n{said}");
    }
    Ok(())
}

pub(super) fn programs(world: &World) -> Result<()> {
    let name = world.reference("from-a-program")?;
    let image = format!(
        "(nixply.lib.buildImage {{ name = \"{name}\"; config.Cmd = [ \"${{debnix.environments.shell}}/bin/echo\" \"hello\" ]; }})"
    );
    let tag = world.nix_half.eval(&format!("{image}.imageTag"))?;
    let tag = tag.as_str().context("no tag")?.to_owned();
    let run = |attribute: &str, program: &str, arguments: &[&str]| -> Result<Value> {
        let program = format!("bin/{program}-from-a-program");
        let program = world
            .nix_half
            .build(&format!("{image}.{attribute}"))?
            .join(program);
        let mut run = command(program, arguments);
        run.env("NIXPLY_CACHE_DIR", world.nix.conf_dir().join("programs"));
        pushed(&mut run)
    };
    // Without a REF, push and copyToRegistry know where to, whatever options there are.
    let by_name = run("push", "push", &["--json"])?;
    ensure!(
        by_name["tags"] == serde_json::json!([tag]),
        "pushed elsewhere: {by_name}"
    );
    let copied = run("copyToRegistry", "push", &["--json"])?;
    let again = run("push", "push", &[&format!("{name}:other"), "--json"])?;
    ensure!(
        copied["digest"] == again["digest"] && again["layer_bytes_sent"] == 0,
        "pushed twice, other images: {copied} {again}"
    );
    let program = world
        .nix_half
        .build(&format!("{image}.push"))?
        .join("bin/push-from-a-program");
    let mut push = command(program, [""; 0]);
    let said = command::text(push.env("NIXPLY_CACHE_DIR", world.nix.conf_dir().join("programs")))?;
    ensure!(
        said.contains(&format!("{name}:{tag}")),
        "pushed elsewhere:\n{said}"
    );

    if let Ok(docker) = world.docker() {
        let load = world
            .nix_half
            .build(&format!("{image}.copyToDockerDaemon"))?;
        let mut load = command(load.join("bin/load-from-a-program"), [""; 0]);
        command::text(load.env("DOCKER_HOST", docker.host()))?;
        let printed = command::text(&mut docker.run(&format!("{name}:{tag}")))?;
        ensure!(printed == "hello", "the container printed {printed:?}");
    }
    Ok(())
}

fn sha256(file: &Path) -> Result<String> {
    let printed = command::text(command("sha256sum", ["--"]).arg(file))?;
    Ok(printed.split(' ').next().unwrap_or_default().to_owned())
}
