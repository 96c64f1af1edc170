//! Images in real container tools.

use super::World;
use crate::command::{self, command, stdout, text};
use crate::oci;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The formats that are one file. Docker before 25 reads no archive that is only an OCI layout: ours is both at once.
const ARCHIVES: [&str; 2] = ["archive", "docker-archive"];

pub(super) fn docker_pull(world: &World) -> Result<()> {
    let docker = world.docker()?;
    let reference = world.reference("run:v1")?;
    let path = format!("PATH={}/bin", world.python.root.display());
    let options = [
        "--env",
        &path,
        "--cmd",
        r#"["python3","-B","-c","import ssl; print(6 * 7)"]"#,
    ];
    let pushed = world
        .nixply
        .push(&world.python.closure, &reference, &options)?;
    let printed = text(&mut docker.run(&reference))?;
    ensure!(printed == "42", "the container printed {printed:?}");
    let digests =
        text(&mut docker.command(["inspect", "--format", "{{.RepoDigests}}", &reference]))?;
    ensure!(
        digests.contains(&pushed.digest),
        "docker knows it by {digests}, not by {}",
        pushed.digest
    );
    // Nothing of another system may have got in: every library comes out of the closure.
    let libraries = "while read -r _ _ _ _ _ file; do echo \"$file\"; done < /proc/self/maps";
    let mapped = text(docker.run(&reference).args(["bash", "-c", libraries]))?;
    let foreign: Vec<_> = mapped
        .lines()
        .filter(|file| file.starts_with('/') && !file.starts_with("/nix/store/"))
        .collect();
    ensure!(
        foreign.is_empty() && mapped.contains("/libc.so.6"),
        "the container maps {mapped}"
    );
    Ok(())
}

pub(super) fn docker_load(world: &World) -> Result<()> {
    let docker = world.docker()?;
    for format in ARCHIVES {
        let name = format!("nixply.test/docker/{format}:v1");
        let archive = export(world, format, &name)?;
        text(docker.command(["load", "--input"]).arg(&archive))?;
        let echo = world.shell.root.join("bin/echo");
        let printed = text(docker.run(&name).arg(echo).arg("loaded"))?;
        ensure!(
            printed == "loaded",
            "{format}: the container printed {printed:?}"
        );
    }
    Ok(())
}

pub(super) fn podman_load(world: &World) -> Result<()> {
    for format in ARCHIVES {
        let name = format!("nixply.test/podman/{format}:v1");
        let archive = export(world, format, &name)?;
        text(podman(world)?.args(["load", "--input"]).arg(&archive))?;
        text(podman(world)?.args(["image", "exists", &name]))?;
    }
    Ok(())
}

/// What podman saves is a base image and an image like any other, in each form that is one file.
pub(super) fn podman_save(world: &World) -> Result<()> {
    let docker = world.docker()?;
    let name = "nixply.test/podman/saved:v1";
    let ours = export(world, "archive", name)?;
    text(podman(world)?.args(["load", "--input"]).arg(&ours))?;
    let spec = world.scratch.dir().join("on-saved.json");
    fs::write(&spec, r#"{"schema": "nixply.image/1", "root": {}}"#)?;
    let base_layers = |base: &Path| -> Result<Vec<Value>> {
        let mut plan = world.nixply.command(["plan", "--json"]);
        let plan: Value = command::json(plan.arg(&spec).arg("--base").arg(base))?;
        let layers = plan["layers"].as_array().context("no layers")?.iter();
        let of_base = layers.filter(|layer| layer["kind"] == "base");
        Ok(of_base.map(|layer| layer["diff_id"].clone()).collect())
    };
    let expected = base_layers(&ours)?;
    ensure!(!expected.is_empty(), "our own archive has no layers");

    let saved = |format: &str| world.scratch.dir().join(format!("podman-{format}.tar"));
    for format in ["docker-archive", "oci-archive"] {
        let mut save = podman(world)?;
        save.args(["save", "--quiet", "--format", format, "--output"]);
        text(save.arg(saved(format)).arg(name))?;
    }
    let gzip = fs::File::create(saved("gzip"))?;
    let mut compress = command("gzip", ["--stdout"]);
    let compressed = compress
        .arg(saved("docker-archive"))
        .stdout(gzip)
        .status()?;
    ensure!(compressed.success(), "gzip failed");
    for format in ["docker-archive", "oci-archive", "gzip"] {
        let archive = saved(format);
        ensure!(
            base_layers(&archive)? == expected,
            "{format}: the layers are not those that podman was given"
        );
        text(world.nixply.command(["inspect"]).arg(&archive))
            .with_context(|| format!("{format} cannot be inspected"))?;
        let reference = format!("nixply.test/podman-{format}:v1");
        let image = format!(
            "(nixply.lib.buildImage {{ name = \"nixply.test/podman-{format}\"; tag = \"v1\"; \
             fromImage = \"${{{}}}\"; root.files.\"/etc/note\".text = \"on {format}\"; }}).archive",
            archive.display()
        );
        let image = world.nix_half.build(&image)?;
        text(docker.command(["load", "--quiet", "--input"]).arg(&image))?;
        let cat = world.shell.root.join("bin/cat");
        let printed = text(docker.run(&reference).arg(cat).arg("/etc/note"))?;
        ensure!(
            printed == format!("on {format}"),
            "{format}: the container printed {printed:?}"
        );
    }
    Ok(())
}

pub(super) fn skopeo_copy(world: &World) -> Result<()> {
    let name = "nixply.test/skopeo:v1";
    let layout = world.scratch.dir().join("skopeo-layout");
    world
        .nixply
        .export(&world.shell.closure, "oci-dir", &layout)?;
    let expected = oci::layers(&layout)?;
    let [archive, docker_archive] = [
        export(world, "archive", name)?,
        export(world, "docker-archive", name)?,
    ];
    let sources = [
        format!("oci:{}", layout.display()),
        format!("oci-archive:{}", archive.display()),
        format!("docker-archive:{}", archive.display()),
        format!("docker-archive:{}", docker_archive.display()),
    ];
    for (number, source) in sources.iter().enumerate() {
        let copied = world.scratch.dir().join(format!("skopeo-{number}"));
        // Without a policy file skopeo accepts nothing; the images here are our own.
        let mut copy = command("skopeo", ["--insecure-policy", "copy", "--quiet", source]);
        text(copy.arg(format!("oci:{}", copied.display())))?;
        // From a docker archive, skopeo has to make a manifest, and compresses again what is not compressed.
        if source.starts_with("oci") {
            ensure!(
                oci::layers(&copied)? == expected,
                "{source}: the layers changed"
            );
        } else {
            ensure!(
                oci::layers(&copied)?.len() == expected.len(),
                "{source}: there are not as many layers"
            );
        }
    }
    Ok(())
}

pub(super) fn load_into_docker(world: &World) -> Result<()> {
    let docker = world.docker()?;
    let name = "nixply.test/loaded:v1";
    let mut load = load(world, "docker", name);
    text(load.env("DOCKER_HOST", docker.host()))?;
    let printed = text(
        docker
            .run(name)
            .arg(world.shell.root.join("bin/echo"))
            .arg("loaded"),
    )?;
    ensure!(printed == "loaded", "the container printed {printed:?}");
    Ok(())
}

pub(super) fn load_into_podman(world: &World) -> Result<()> {
    let name = "nixply.test/loaded:v1";
    text(load(world, "podman", name).env("CONTAINERS_STORAGE_CONF", podman_storage(world)?))?;
    text(podman(world)?.args(["image", "exists", name])).map(drop)
}

pub(super) fn load_into_containerd(world: &World) -> Result<()> {
    let socket = world
        .docker()?
        .containerd_socket()
        .context("dockerd has started no containerd of its own")?;
    let name = "nixply.test/loaded:v1";
    text(load(world, "containerd", name).env("CONTAINERD_ADDRESS", &socket))?;
    let images =
        text(command("ctr", ["images", "list", "--quiet"]).env("CONTAINERD_ADDRESS", &socket))?;
    ensure!(
        images.lines().any(|image| image == name),
        "containerd has only {images:?}"
    );
    Ok(())
}

fn load(world: &World, into: &str, name: &str) -> Command {
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let mut load = world.nixply.command(["load"]);
    load.arg(&world.shell.closure)
        .args(["--into", into, "--name", repository, "--tag", tag]);
    load
}

/// Exports the small project under a name, to a file and to standard output, which have to be the same.
fn export(world: &World, format: &str, name: &str) -> Result<PathBuf> {
    let file = world.scratch.dir().join(format!("{format}.tar"));
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let exported = |to: &std::ffi::OsStr| {
        let mut export = world.nixply.command(["export"]);
        export
            .arg(&world.shell.closure)
            .args(["--format", format, "--name", repository, "--tag", tag, "-o"])
            .arg(to);
        stdout(&mut export)
    };
    exported(file.as_os_str())?;
    ensure!(
        fs::read(&file)? == exported("-".as_ref())?,
        "{format}: standard output differs from the file"
    );
    Ok(file)
}

/// Podman with a storage of its own.
fn podman(world: &World) -> Result<Command> {
    let mut podman = command("podman", [""; 0]);
    podman.env("CONTAINERS_STORAGE_CONF", podman_storage(world)?);
    Ok(podman)
}

/// The file that tells Podman where to store images.
fn podman_storage(world: &World) -> Result<PathBuf> {
    let file = world.scratch.dir().join("storage.conf");
    if !file.exists() {
        let dir = world.scratch.subdir_in_memory("podman")?;
        let [graph, run] = ["graph", "run"].map(|name| dir.join(name).display().to_string());
        fs::write(
            &file,
            format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = \"{graph}\"\nrunroot = \"{run}\"\n"
            ),
        )?;
    }
    Ok(file)
}
