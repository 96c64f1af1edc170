//! nix2container's `image.json` in real containers: what that project asserts of its images in `tests/default.nix`.
//!
//! The files here are written as its program writes them, over store paths of Debian packages. That nixply makes the very
//! bytes of that program is held by its recorded images (`fixtures/nix2container`); so the hashes of the layers here may be
//! nixply's own, which it names where they are not yet the right ones.

use super::World;
use super::docker_tools::{inspect, layers, run, same};
use crate::command::{command, output, text};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The hash of no layer.
const UNKNOWN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn layer(paths: &[Value], comment: &str) -> Value {
    json!({
        "digest": UNKNOWN, "diff_ids": UNKNOWN, "size": 0, "paths": paths,
        "mediatype": "application/vnd.oci.image.layer.v1.tar",
        "History": { "created_by": "test created_by", "author": "test author", "comment": comment },
    })
}

fn plain(paths: &[PathBuf]) -> Vec<Value> {
    paths.iter().map(|path| json!({ "path": path })).collect()
}

/// A store path that `copyToRoot` names, with permissions.
fn to_root(path: &Path, perms: &Value) -> Value {
    json!({
        "path": path,
        "options": { "rewrite": { "regex": format!("^{}", path.display()), "repl": "" }, "perms": perms },
    })
}

/// A finished layer, as `reproducible = false` leaves it: a tar beside the file.
fn finished(world: &World) -> Result<Value> {
    let dir = world.scratch.subdir("nix2container-finished")?;
    fs::create_dir(dir.join("srv"))?;
    fs::write(dir.join("srv/built"), "built once\n")?;
    let tar = dir.join("layer.tar");
    text(
        command("tar", ["--owner=0", "--group=0", "-cf"])
            .arg(&tar)
            .arg("-C")
            .arg(&dir)
            .arg("srv"),
    )?;
    let sum = text(command("sha256sum", [""; 0]).arg(&tar))?;
    let hash = sum.split(' ').next().context("no sum")?;
    let digest = format!("sha256:{hash}");
    let mut finished = layer(&[], "finished");
    finished["digest"] = json!(digest);
    finished["diff_ids"] = json!(digest);
    finished["size"] = json!(fs::metadata(&tar)?.len());
    finished["layer-path"] = json!(tar);
    Ok(finished)
}

/// Writes an `image.json` and puts the hashes of its layers in, one after the other.
fn write(world: &World, name: &str, mut image: Value) -> Result<PathBuf> {
    let file = world.scratch.dir().join(format!("{name}-image.json"));
    let archive = world.scratch.dir().join(format!("{name}.tar"));
    let count = image["layers"].as_array().map_or(0, Vec::len);
    for _ in 0..=count {
        fs::write(&file, image.to_string())?;
        let mut export = world.nixply.command(["export"]);
        export
            .args(["--jobs", "1"])
            .arg(&file)
            .arg("-o")
            .arg(&archive);
        let exported = output(&mut export)?;
        if exported.status.success() {
            return Ok(file);
        }
        let said = String::from_utf8_lossy(&exported.stderr);
        ensure!(said.contains(UNKNOWN), "nixply export said {said}");
        let is_hex = |letter: char| letter.is_ascii_hexdigit();
        let found = (said.split("sha256:").skip(1))
            .map(|rest| {
                rest.split(|letter| !is_hex(letter))
                    .next()
                    .unwrap_or_default()
            })
            .find(|hash| hash.len() == 64 && !UNKNOWN.ends_with(hash));
        let digest = format!(
            "sha256:{}",
            found.with_context(|| format!("no hash in {said}"))?
        );
        let layers = image["layers"].as_array_mut().context("no layers")?;
        let Some(next) = layers.iter_mut().find(|layer| layer["diff_ids"] == UNKNOWN) else {
            bail!("every layer has its hash, and nixply export said {said}");
        };
        next["digest"] = json!(digest);
        next["diff_ids"] = json!(digest);
    }
    bail!("the layers of {name} have no hashes")
}

pub(super) fn in_containers(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let shell = world.nix.closure_paths(&world.shell.root)?;
    let stable = world.nix.closure_paths(&half.build("debnix.units.bash")?)?;
    let others: Vec<PathBuf> = shell
        .iter()
        .filter(|path| !stable.contains(path))
        .cloned()
        .collect();
    let tree = half.build(
        "pkgs.runCommand \"test\" { } \"mkdir -p $out/tmp $out/home/user; touch $out/tmp/test1.txt $out/tmp/test2.txt\"",
    )?;
    let perms = json!([
        { "regex": "/tmp$", "mode": "0777", "uid": 0, "gid": 0, "uname": "", "gname": "" },
        { "regex": "test1.txt", "mode": "0640", "uid": 1001, "gid": 1001, "uname": "", "gname": "" },
    ]);
    let root = [
        to_root(&world.shell.root, &json!([])),
        to_root(&tree, &perms),
    ];
    let image = json!({
        "version": 1,
        "image-config": { "Entrypoint": ["/bin/bash", "-c"], "Cmd": ["echo Hello, world"], "Env": ["PATH=/bin"] },
        // A layer of its own for what changes seldom, as nested layers give it, twice as it may come of them.
        "layers": [
            layer(&plain(&stable), "stable"), layer(&plain(&stable), "stable"), layer(&plain(&others), "others"),
            finished(world)?, layer(&root, "root"),
        ],
        "arch": go_architecture(),
        "created": "2024-05-13T09:31:10Z",
    });
    let file = write(world, "cases", image)?;
    let name = "nixply.test/nix2container:v1";
    let mut load = world.nixply.command(["load"]);
    load.arg(&file).args([
        "--into",
        "docker",
        "--name",
        "nixply.test/nix2container",
        "--tag",
        "v1",
    ]);
    text(load.env("DOCKER_HOST", world.docker()?.host()))?;

    same(
        "the entrypoint",
        &run(world, name, &[])?,
        &"Hello, world".to_owned(),
    )?;
    let version = run(world, name, &["bash --version"])?;
    ensure!(version.starts_with("GNU bash, version"), "{version}");
    let listed = run(world, name, &["ls /"])?;
    ensure!(listed.lines().any(|line| line == "bin"), "{listed}");
    let stat = "stat -c '%n %a %u:%g' /tmp /tmp/test1.txt /tmp/test2.txt /nix /nix/store";
    same(
        "modes and owners",
        &run(world, name, &[stat])?,
        &"/tmp 777 0:0\n/tmp/test1.txt 640 1001:1001\n/tmp/test2.txt 444 0:0\n/nix 755 0:0\n/nix/store 755 0:0".to_owned(),
    )?;
    same(
        "the finished layer",
        &run(world, name, &["cat /srv/built"])?,
        &"built once".to_owned(),
    )?;
    let inspected = inspect(world, name)?;
    same(
        "created",
        &inspected["Created"],
        &json!("2024-05-13T09:31:10Z"),
    )?;
    let expected: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let diff_ids: Vec<String> = (expected["layers"].as_array().into_iter().flatten())
        .filter_map(|layer| layer["diff_ids"].as_str().map(str::to_owned))
        .collect();
    same("the layers", &layers(world, name)?, &diff_ids)?;
    let history = history(world, name)?;
    let top = &history[0];
    same(
        "who made the top layer",
        &top["CreatedBy"],
        &json!("test created_by"),
    )?;
    same("the comment", &top["Comment"], &json!("root"))
}

/// `docker history` prints a JSON object a line.
fn history(world: &World, name: &str) -> Result<Value> {
    let format = "{{json .}}";
    let mut history =
        (world.docker()?).command(["history", "--no-trunc", "--format", format, name]);
    let lines = text(&mut history)?;
    let parsed: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
    Ok(Value::Array(parsed?))
}

pub(super) fn pushed(world: &World) -> Result<()> {
    let shell = world.nix.closure_paths(&world.shell.root)?;
    let mut paths = plain(&shell);
    paths.push(to_root(&world.shell.root, &json!([])));
    paths.retain(|path| path["options"].is_object() || path["path"] != json!(world.shell.root));
    let image = json!({
        "version": 1, "image-config": { "Cmd": ["/bin/bash"] }, "layers": [layer(&paths, "all")],
        "arch": go_architecture(), "created": null,
    });
    let file = write(world, "pushed", image)?;
    let reference = world.reference("nix2container:v1")?;
    let first = world.nixply.push(&file, &reference, &[])?;
    let again = world.nixply.push(&file, &reference, &[])?;
    same("the digest", &again.digest, &first.digest)?;
    same("bytes of the second push", &again.uploaded_bytes, &0)?;
    ensure!(first.uploaded_bytes > 0, "nothing was pushed");
    // A layer of another hash than the file says is refused, by its first store path.
    let mut wrong: Value = serde_json::from_slice(&fs::read(&file)?)?;
    wrong["layers"][0]["diff_ids"] = json!(UNKNOWN);
    let other = world.scratch.dir().join("wrong-image.json");
    fs::write(&other, wrong.to_string())?;
    let refused = output(
        world
            .nixply
            .command(["push"])
            .arg(&other)
            .arg(world.reference("nix2container:v2")?),
    )?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains(UNKNOWN),
        "{said}"
    );
    Ok(())
}

/// Go's name of this machine's architecture.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
