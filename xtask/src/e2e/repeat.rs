//! The same image, made again under other circumstances, has the same digest.

use super::World;
use crate::command::{command, stdout, text};
use crate::oci;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn surroundings(world: &World) -> Result<()> {
    let expected = digest(world, &mut export(world))?;
    let variables = [
        ("TZ", "Asia/Kathmandu"),
        ("LANG", "tr_TR.UTF-8"),
        ("LC_ALL", "C"),
        ("SOURCE_DATE_EPOCH", "1234567890"),
        ("HOME", "/nowhere"),
    ];
    let mut made = Vec::new();
    for (name, value) in variables {
        made.push((
            format!("{name}={value}"),
            digest(world, export(world).env(name, value))?,
        ));
    }
    for umask in ["000", "077"] {
        let plain = export(world);
        let mut wrapped = command(
            "sh",
            ["-c", &format!("umask {umask} && exec \"$0\" \"$@\"")],
        );
        wrapped.arg(plain.get_program()).args(plain.get_args());
        made.push((format!("umask {umask}"), digest(world, &mut wrapped)?));
    }
    all_are(&expected, &made)
}

pub(super) fn threads(world: &World) -> Result<()> {
    let mut made = Vec::new();
    for jobs in ["1", "2", "16"] {
        made.push((
            format!("--jobs {jobs}"),
            digest(world, export(world).args(["--jobs", jobs]))?,
        ));
    }
    for compression in ["none", "zstd"] {
        let compressed = |jobs| {
            digest(
                world,
                export(world).args(["--compression", compression, "--jobs", jobs]),
            )
        };
        ensure!(
            compressed("1")? == compressed("16")?,
            "{compression}: the number of threads shows"
        );
    }
    let expected = made[0].1.clone();
    all_are(&expected, &made)
}

pub(super) fn copies_of_the_store(world: &World) -> Result<()> {
    let expected = digest(world, &mut export(world))?;

    let hard_linked = world.copy_of_store("hard-linked", &world.shell.root)?;
    let mut optimise = world.nix.command("nix-store", ["--optimise"]);
    text(optimise.env("NIX_REMOTE", world.store_url("hard-linked")))?;
    let links = text(
        command("find", [&hard_linked]).args(["-type", "f", "-links", "+1", "-print", "-quit"]),
    )?;
    ensure!(!links.is_empty(), "nix-store --optimise has linked no file");

    // A file system in memory lists a folder in the order of creation, here from the last name to the first.
    let reversed = world.scratch.subdir_in_memory("reversed")?;
    copy_reversed(&hard_linked, &reversed)?;

    let mut made = Vec::new();
    for store in [&hard_linked, &reversed] {
        let image = digest(world, export(world).arg("--physical-store").arg(store))?;
        made.push((store.display().to_string(), image));
    }
    all_are(&expected, &made)
}

fn export(world: &World) -> Command {
    let mut export = world.nixply.command(["export"]);
    export
        .arg(&world.shell.closure)
        .args(["--format", "oci-dir"]);
    export
}

/// Runs an export and reads the digest of what it made.
fn digest(world: &World, export: &mut Command) -> Result<String> {
    let layout = world.scratch.dir().join("repeated");
    stdout(export.arg("-o").arg(&layout))?;
    let digest = oci::manifest_digest(&layout)?;
    // Nothing of this image may be used by the next.
    fs::remove_dir_all(&layout)?;
    Ok(digest)
}

fn all_are(expected: &str, made: &[(String, String)]) -> Result<()> {
    for (circumstance, digest) in made {
        ensure!(
            digest == expected,
            "{circumstance}: the digest is {digest}, not {expected}"
        );
    }
    Ok(())
}

/// Copies a tree, the entries of each folder from the last to the first, with other times and modes.
fn copy_reversed(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    for name in names.into_iter().rev() {
        let (source, target) = (from.join(&name), to.join(&name));
        let kind = source.symlink_metadata()?.file_type();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_reversed(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

impl World {
    /// A store of its own, with a copy of a closure in it, at another place; gives back its store directory.
    pub(super) fn copy_of_store(&self, name: &str, root: &Path) -> Result<PathBuf> {
        let archive = self.scratch.dir().join(format!("{name}.export"));
        let paths = self.nix.closure_paths(root)?;
        fs::write(
            &archive,
            stdout(self.nix.command("nix-store", ["--export"]).args(paths))?,
        )?;
        let mut import = self.nix.command("nix-store", ["--import"]);
        stdout(
            import
                .env("NIX_REMOTE", self.store_url(name))
                .stdin(fs::File::open(&archive)?),
        )?;
        Ok(self.scratch.dir().join(name).join("nix/store"))
    }

    fn store_url(&self, name: &str) -> String {
        format!("local?root={}", self.scratch.dir().join(name).display())
    }
}
