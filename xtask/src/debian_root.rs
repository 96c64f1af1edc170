//! Programs of another Debian release, unpacked into a folder: nothing of this machine changes.

use crate::command::{self, command};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A folder with a small Debian system in it.
#[derive(Debug)]
pub(crate) struct DebianRoot {
    dir: PathBuf,
}

impl DebianRoot {
    /// Downloads packages of a release, with all they depend on, from the archive that this machine uses.
    pub(crate) fn unpack(release: &str, dir: PathBuf, packages: &[&str]) -> Result<DebianRoot> {
        let apt = PrivateApt::new(release, &dir.join("apt"))?;
        command::text(&mut apt.command(&["update"]))?;
        let mut install = apt.command(&[
            "install",
            "--yes",
            "--download-only",
            "base-files",
            "bash",
            "coreutils",
        ]);
        command::text(install.args(packages))?;

        // Since Debian 12 these are symlinks, and packages put files at either place.
        for name in ["bin", "sbin", "lib", "lib64"] {
            fs::create_dir_all(dir.join("usr").join(name))?;
            std::os::unix::fs::symlink(format!("usr/{name}"), dir.join(name))?;
        }
        for deb in fs::read_dir(apt.archives())? {
            let deb = deb?.path();
            if deb.extension().is_some_and(|extension| extension == "deb") {
                let pipe =
                    "dpkg-deb --fsys-tarfile \"$0\" | tar -x --keep-directory-symlink -C \"$1\"";
                command::text(command("sh", ["-c", pipe]).arg(&deb).arg(&dir))?;
            }
        }
        for name in ["dev", "proc", "root", "tmp"] {
            fs::create_dir_all(dir.join(name))?;
        }
        fs::write(dir.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(dir.join("etc/group"), "root:x:0:\n")?;
        Ok(DebianRoot { dir })
    }

    /// Adds a user that is the only member of a new group.
    pub(crate) fn add_user(&self, user: &str, group: &str, id: u32) -> Result<()> {
        for (file, line) in [
            (
                "etc/passwd",
                format!("{user}:x:{id}:{id}::/var/empty:/bin/false\n"),
            ),
            ("etc/group", format!("{group}:x:{id}:{user}\n")),
        ] {
            let file = self.path(file);
            let lines = fs::read_to_string(&file)?;
            fs::write(file, lines + &line)?;
        }
        Ok(())
    }

    /// A file in it, as seen from outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.dir.join(inside.trim_start_matches('/'))
    }

    /// A command that runs in it, with mounts that vanish when it ends.
    pub(crate) fn command(&self, script: &str) -> Command {
        // Not only chroot: the kernel refuses a user namespace, and so Nix' sandbox, to whom that was done.
        let enter = "mount --make-rprivate / && mount --bind \"$0\" \"$0\" && cd \"$0\" && \
            mount -t proc proc proc && mount --rbind /dev dev && mkdir -p old && pivot_root . old && cd / && \
            exec /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 /bin/bash -euc \"$1\"";
        let mut unshare = command("unshare", ["--mount", "--pid", "--fork", "sh", "-c", enter]);
        unshare.arg(&self.dir).arg(script);
        unshare
    }
}

/// apt with lists, cache and sources of its own; only its settings, such as a proxy, are those of the machine.
struct PrivateApt {
    dir: PathBuf,
    options: Vec<String>,
}

impl PrivateApt {
    fn new(release: &str, dir: &Path) -> Result<PrivateApt> {
        ensure!(
            Path::new(KEYRING).exists(),
            "{KEYRING} is missing: this is no Debian"
        );
        let targets = [
            "indextargets",
            "--format",
            "$(ORIGIN) $(LABEL) $(REPO_URI)",
            "Created-By: Packages",
        ];
        let targets = command::text(&mut command("apt-get", targets))?;
        // The archive of security updates has another label.
        let archive = targets
            .lines()
            .find_map(|line| line.strip_prefix("Debian Debian "));
        let archive = archive.context("apt has no lists of Debian: run apt-get update")?;
        for name in [
            "lists/partial",
            "cache/archives/partial",
            "etc/preferences.d",
        ] {
            fs::create_dir_all(dir.join(name))?;
        }
        let sources = dir.join("etc/sources.list");
        fs::write(
            &sources,
            format!("deb [signed-by={KEYRING}] {archive} {release} main\n"),
        )?;
        fs::write(dir.join("status"), "")?;
        let of_dir = |option: &str, name: &str| format!("{option}={}", dir.join(name).display());
        let options = vec![
            of_dir("Dir::State", ""),
            of_dir("Dir::State::status", "status"),
            of_dir("Dir::State::lists", "lists"),
            of_dir("Dir::Cache", "cache"),
            of_dir("Dir::Etc::sourcelist", "etc/sources.list"),
            of_dir("Dir::Etc::sourceparts", "etc/none"),
            of_dir("Dir::Etc::preferences", "etc/none"),
            of_dir("Dir::Etc::preferencesparts", "etc/preferences.d"),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            // Some images of Debian tell apt to keep no archives.
            "Binary::apt-get::APT::Keep-Downloaded-Packages=true".to_owned(),
        ];
        Ok(PrivateApt {
            dir: dir.to_owned(),
            options,
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut apt = command("apt-get", ["-qq"]);
        for option in &self.options {
            apt.arg("--option").arg(option);
        }
        apt.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        apt
    }

    fn archives(&self) -> PathBuf {
        self.dir.join("cache/archives")
    }
}
