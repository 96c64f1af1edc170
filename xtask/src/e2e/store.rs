//! After everything: the stores that the steps used are what they were. Containers and layers are made of copies, and what a
//! program leaves in the store as root (Python's `.pyc` files, say) is in the next image.

use super::World;
use crate::command::output;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Each with `nix-store --verify --check-contents`: this machine's store, and that of the newer Nix where a step wanted it.
pub(super) fn intact(world: &World) -> Result<()> {
    damage_is_found(world)?;
    verify(&mut verification(world)).context("the store of this machine")?;
    if let Some(debian) = world.newer_nix.get() {
        verify(&mut debian.command("nix-store --verify --check-contents"))
            .context("the store of the newer Nix")?;
    }
    Ok(())
}

fn verification(world: &World) -> Command {
    world
        .nix
        .command("nix-store", ["--verify", "--check-contents"])
}

/// Fails with what Nix says of each damaged path.
fn verify(verification: &mut Command) -> Result<()> {
    let verified = output(verification)?;
    let said = String::from_utf8_lossy(&verified.stderr);
    let damaged = complaints(&said);
    ensure!(
        verified.status.success() && damaged.is_empty(),
        "nix-store --verify ended with {}:\n{}",
        verified.status,
        damaged.join("\n")
    );
    Ok(())
}

/// The lines that tell damage, among Nix' progress and warnings of other things. Nix succeeds where a path is gone.
fn complaints(said: &str) -> Vec<&str> {
    let is_damage = |line: &&str| {
        ["was modified", "disappeared", "error"]
            .iter()
            .any(|words| line.contains(words))
    };
    said.lines().filter(is_damage).collect()
}

/// A store of its own with one path, which is changed and then taken away: both are told, so the step can fail.
fn damage_is_found(world: &World) -> Result<()> {
    let dir = world.scratch.subdir("damaged-store")?;
    let of_its_own = |command: &mut Command| {
        for (variable, folder) in [
            ("NIX_STORE_DIR", "store"),
            ("NIX_STATE_DIR", "state"),
            ("NIX_LOG_DIR", "log"),
        ] {
            command.env(variable, dir.join(folder));
        }
    };
    fs::write(dir.join("text"), "as it was")?;
    let mut add = world.nix.command("nix-store", ["--add"]);
    of_its_own(add.arg(dir.join("text")));
    let path = crate::command::text(&mut add)?;
    let mut verification = verification(world);
    of_its_own(&mut verification);
    verify(&mut verification)?;
    // In place of the file, for its mode lets nobody write.
    let file = Path::new(&path);
    fs::remove_file(file)?;
    for (content, told) in [
        (Some("as it must not be"), "was modified"),
        (None, "disappeared"),
    ] {
        match content {
            Some(content) => fs::write(file, content)?,
            None => fs::remove_file(file)?,
        }
        let said = verify(&mut verification).map_err(|error| error.to_string());
        ensure!(
            said.as_ref()
                .is_err_and(|said| said.contains(&path) && said.contains(told)),
            "of a path that {told}, this is said: {said:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_progress() {
        let said = "warning: unknown setting 'x'\nreading the Nix store...\nchecking path existence...\nchecking link hashes...\n\
            checking store hashes...\nchecking contents of '/nix/store/a'...\n";
        assert!(complaints(said).is_empty());
        let modified = "path '/nix/store/a' was modified! expected hash 'sha256:0', got 'sha256:1'";
        assert_eq!(complaints(&format!("{said}{modified}\n")), [modified]);
    }
}
