//! Images in a real registry.

use super::World;
use crate::command::{self, command, json, output, text};
use crate::install;
use crate::nixply::pushed;
use anyhow::{Result, ensure};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn digest(world: &World) -> Result<()> {
    let reference = world.reference("digest:v1")?;
    let digest_file = world.scratch.dir().join("digest");
    let mut push = world.nixply.command(["push"]);
    push.arg(&world.python.closure)
        .args([&reference, "--tag", "v2", "--json", "--digest-file"])
        .arg(&digest_file);
    let pushed = pushed(&mut push)?;
    ensure!(
        fs::read_to_string(&digest_file)?.trim_end() == pushed["digest"],
        "--digest-file and --json differ"
    );
    for tag in ["v1", "v2"] {
        let image = format!("docker://{}", world.reference(&format!("digest:{tag}"))?);
        let inspected = json(&mut command(
            "skopeo",
            ["inspect", "--tls-verify=false", &image],
        ))?;
        ensure!(
            inspected["Digest"] == pushed["digest"],
            "skopeo finds another digest: {inspected}"
        );
    }
    Ok(())
}

pub(super) fn again(world: &World) -> Result<()> {
    let reference = world.reference("again:v1")?;
    // This machine remembers what other steps have pushed elsewhere, and would mount it.
    let push = || {
        world
            .nixply
            .push(&world.shell.closure, &reference, &["--no-cache"])
    };
    let (first, second) = (push()?, push()?);
    ensure!(
        first.uploaded_layers > 1 && first.already_there_layers == 0,
        "the first push: {first:?}"
    );
    ensure!(
        second.uploaded_layers == 0 && second.uploaded_bytes == 0,
        "the second push: {second:?}"
    );
    ensure!(
        second.already_there_bytes == first.uploaded_bytes,
        "{first:?} and then {second:?}"
    );
    ensure!(second.digest == first.digest, "the digest changed");
    ensure!(
        second.requests == 1 && second.read_bytes == 0,
        "an unchanged image costs more than one request: {second:?}"
    );
    Ok(())
}

/// Another repository of the registry, and a machine that remembers nothing: the layer index tells of every layer.
pub(super) fn mounts(world: &World) -> Result<()> {
    let index = world.reference("fleet-layers")?;
    let options = ["--no-cache", "--layer-index", &index];
    let push = |closure, reference: &str| {
        let reference = world.reference(reference)?;
        world.nixply.push(closure, &reference, &options)
    };
    let shell = push(&world.shell.closure, "mounts-a:v1")?;
    ensure!(shell.mounted_layers == 0, "the first push: {shell:?}");
    let python = push(&world.python.closure, "mounts-b:v1")?;
    ensure!(
        python.mounted_layers + 1 >= shell.uploaded_layers
            && python.already_there_layers == python.mounted_layers,
        "{shell:?} and then {python:?}"
    );
    let again = push(&world.python.closure, "mounts-b:v2")?;
    ensure!(
        again.read_bytes == 0 && again.uploaded_bytes == 0 && again.requests == 5,
        "a new tag of an unchanged image: {again:?}"
    );
    Ok(())
}

pub(super) fn sharing(world: &World) -> Result<()> {
    let shell = world.nixply.push(
        &world.shell.closure,
        &world.reference("sharing:shell")?,
        &[],
    )?;
    let python = world.nixply.push(
        &world.python.closure,
        &world.reference("sharing:python")?,
        &[],
    )?;
    // All store paths of the shell but its tree of symlinks are in the other project too.
    ensure!(
        python.already_there_layers + 1 >= shell.uploaded_layers,
        "{shell:?} and then {python:?}"
    );
    ensure!(
        python.already_there_bytes > shell.uploaded_bytes / 2,
        "{shell:?} and then {python:?}"
    );
    Ok(())
}

pub(super) fn crane(world: &World) -> Result<()> {
    let reference = world.reference("crane:v1")?;
    world.nixply.push(&world.python.closure, &reference, &[])?;
    text(&mut command(
        install::go_program("crane")?,
        ["validate", "--insecure", "--remote", &reference],
    ))
    .map(drop)
}

pub(super) fn verify(world: &World) -> Result<()> {
    let reference = world.reference("verify:v1")?;
    world.nixply.push(&world.shell.closure, &reference, &[])?;
    let image = format!("docker://{reference}");
    text(&mut world.nixply.command(["verify", &image]))?;

    let store = world.copy_of_store("damaged", &world.shell.root)?;
    let mut verify = world.nixply.command(["verify", &image, "--physical-store"]);
    text(verify.arg(&store))?;
    let damaged = find_file(&store, "cat")?;
    let mut bytes = fs::read(&damaged)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    command::text(command("chmod", ["u+w"]).arg(&damaged))?;
    fs::write(&damaged, bytes)?;
    let verified = output(&mut verify)?;
    let said = String::from_utf8_lossy(&verified.stderr);
    ensure!(
        verified.status.code() == Some(5),
        "the exit code is {}, not 5: {said}",
        verified.status
    );
    let inside = damaged.strip_prefix(&store)?.to_string_lossy();
    ensure!(
        said.contains(&*inside),
        "the message does not name {inside}: {said}"
    );
    Ok(())
}

/// The first file of that name, in any folder.
fn find_file(dir: &Path, name: &str) -> Result<PathBuf> {
    let found = text(
        command(
            "find",
            [
                dir.as_os_str(),
                OsStr::new("-type"),
                OsStr::new("f"),
                OsStr::new("-name"),
            ],
        )
        .arg(name),
    )?;
    let first = found
        .lines()
        .next()
        .ok_or_else(|| anyhow::anyhow!("{} has no file {name}", dir.display()))?;
    Ok(PathBuf::from(first))
}
