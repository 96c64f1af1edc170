//! The programs that the demo and the tests need, and how Debian installs them.

use crate::command::{command, find_program, output, text};
use crate::debnix::update_apt;
use crate::say::say;
use anyhow::Result;
use std::path::PathBuf;

/// Programs that come together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// What a person calls it.
    pub(crate) name: &'static str,
    /// All of these have to be on `PATH`; a list of alternatives is separated by `|`.
    programs: &'static [&'static str],
    /// The Debian packages; those that a release does not have are passed over.
    packages: &'static [&'static str],
}

pub(crate) const NIX: Tool = Tool {
    name: "Nix",
    programs: &["nix", "nix-build", "nix-store"],
    packages: &["nix-bin"],
};
pub(crate) const REGISTRY: Tool = Tool {
    name: "a registry",
    programs: &["docker-registry|registry"],
    packages: &["docker-registry"],
};
pub(crate) const SKOPEO: Tool = Tool {
    name: "skopeo",
    programs: &["skopeo"],
    packages: &["skopeo"],
};
pub(crate) const NGINX: Tool = Tool {
    name: "nginx",
    programs: &["nginx"],
    packages: &["nginx"],
};
pub(crate) const OPENSSL: Tool = Tool {
    name: "OpenSSL",
    programs: &["openssl"],
    packages: &["openssl"],
};
// Debian 13 has the client in a package of its own. dockerd looks for iptables even when told not to use it.
pub(crate) const DOCKER: Tool = Tool {
    name: "Docker",
    programs: &["docker", "dockerd"],
    packages: &["docker.io", "docker-cli", "iptables"],
};
pub(crate) const PODMAN: Tool = Tool {
    name: "Podman",
    programs: &["podman"],
    packages: &["podman"],
};
/// What scripts of images run under.
pub(crate) const FAKEROOT: Tool = Tool {
    name: "fakeroot",
    programs: &["fakeroot"],
    packages: &["fakeroot"],
};
/// What scripts of images run under that see the image's tree as their root.
pub(crate) const PROOT: Tool = Tool {
    name: "proot",
    programs: &["proot"],
    packages: &["proot"],
};
/// Makes store paths of Debian packages; never installed elsewhere.
pub(crate) const APT: Tool = Tool {
    name: "apt",
    programs: &["apt-get", "dpkg-deb"],
    packages: &[],
};

/// What only Go installs: the program, and the package that it is made of.
const GO_PROGRAMS: &[(&str, &str)] = &[
    (
        "crane",
        "github.com/google/go-containerregistry/cmd/crane@latest",
    ),
    (
        "registry",
        "github.com/distribution/distribution/v3/cmd/registry@latest",
    ),
    (
        "actionlint",
        "github.com/rhysd/actionlint/cmd/actionlint@latest",
    ),
];

impl Tool {
    /// Whether all its programs are on `PATH`.
    pub(crate) fn is_here(&self) -> bool {
        self.programs.iter().all(|alternatives| {
            alternatives
                .split('|')
                .any(|name| find_program(name).is_some())
        })
    }
}

/// Installs what is missing where that can be done: on Debian, as root. Gives back what is missing all the same.
pub(crate) fn install(tools: &[Tool]) -> Vec<Tool> {
    let is_missing = |tool: &&Tool| !tool.is_here();
    let missing: Vec<Tool> = tools.iter().filter(is_missing).copied().collect();
    if missing.is_empty() || !APT.is_here() || !is_root() {
        return missing;
    }
    for tool in &missing {
        say(format!(
            "Installing {} ({})",
            tool.name,
            tool.packages.join(", ")
        ));
    }
    let installed =
        apt_install(&missing).or_else(|_| update_apt().and_then(|()| apt_install(&missing)));
    if let Err(error) = installed {
        say(format!("That failed: {error:#}"));
    }
    missing.iter().filter(is_missing).copied().collect()
}

fn apt_install(tools: &[Tool]) -> Result<()> {
    let packages = tools.iter().flat_map(|tool| tool.packages);
    let known: Vec<_> = packages.filter(|package| is_known(package)).collect();
    anyhow::ensure!(!known.is_empty(), "apt knows none of the packages");
    let mut install = command(
        "apt-get",
        ["install", "--yes", "-qq", "--no-install-recommends"],
    );
    text(install.args(known).env("DEBIAN_FRONTEND", "noninteractive")).map(drop)
}

fn is_known(package: &str) -> bool {
    // Prints nothing for a package that is only mentioned by others.
    output(&mut command(
        "apt-cache",
        ["show", "--no-all-versions", package],
    ))
    .is_ok_and(|output| !output.stdout.is_empty())
}

/// Installs what Go has to install, where Go is, into a folder of the target directory that tests know. Gives back what
/// is missing all the same.
pub(crate) fn install_with_go() -> Result<Vec<&'static str>> {
    let has_go = find_program("go").is_some();
    let mut missing = Vec::new();
    for (program, package) in GO_PROGRAMS {
        if go_program(program)?.is_file() {
            continue;
        }
        if has_go {
            say(format!("Installing {program} with Go"));
            let mut install = command("go", ["install", package]);
            install
                .env("GOBIN", go_dir()?)
                .env("GOFLAGS", "-modcacherw");
            if let Err(error) = text(&mut install) {
                say(format!("That failed: {error:#}"));
            }
        }
        if !go_program(program)?.is_file() {
            missing.push(*program);
        }
    }
    Ok(missing)
}

/// Where [`install_with_go`] puts a program.
pub(crate) fn go_program(program: &str) -> Result<PathBuf> {
    Ok(go_dir()?.join(program))
}

fn go_dir() -> Result<PathBuf> {
    Ok(crate::target_dir()?.join("go"))
}

/// What only npm installs: the program, and the package that it is in.
const NPM_PROGRAMS: &[(&str, &str)] = &[("devcontainer", "@devcontainers/cli")];

/// Installs what npm has to install, where npm is, into a folder of the target directory. Gives back what is missing all the
/// same.
pub(crate) fn install_with_npm() -> Result<Vec<&'static str>> {
    let has_npm = find_program("npm").is_some();
    let mut missing = Vec::new();
    for (program, package) in NPM_PROGRAMS {
        if !npm_program(program)?.is_file() && has_npm {
            say(format!("Installing {program} with npm"));
            let mut install = command("npm", ["install", "--no-fund", "--no-audit", "--prefix"]);
            if let Err(error) = text(install.arg(npm_dir()?).arg(package)) {
                say(format!("That failed: {error:#}"));
            }
        }
        if !npm_program(program)?.is_file() {
            missing.push(*program);
        }
    }
    Ok(missing)
}

/// Where [`install_with_npm`] puts a program.
pub(crate) fn npm_program(program: &str) -> Result<PathBuf> {
    Ok(npm_dir()?.join("node_modules/.bin").join(program))
}

fn npm_dir() -> Result<PathBuf> {
    Ok(crate::target_dir()?.join("npm"))
}

/// Whether this process may install packages, mount folders and start a container runtime.
pub(crate) fn is_root() -> bool {
    text(&mut command("id", ["-u"])).is_ok_and(|id| id == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_here_when_each_of_its_programs_or_one_alternative_is() {
        let tool = |programs| Tool {
            name: "x",
            programs,
            packages: &[],
        };
        assert!(tool(&["sh", "no-such-program|cat"]).is_here());
        assert!(!tool(&["sh", "no-such-program"]).is_here());
    }
}
