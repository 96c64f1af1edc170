//! Everything that the steps share: store paths of Debian's packages, services, and what this machine lacks.

use super::nix_half::NixHalf;
use crate::command;
use crate::debian_root::DebianRoot;
use crate::debnix::{self, Environment};
use crate::install::{self, DOCKER, REGISTRY, Tool};
use crate::nix::Nix;
use crate::nixply::Nixply;
use crate::scratch::Scratch;
use crate::services::{Docker, Registry};
use anyhow::{Context, Result, ensure};
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

/// What a step needs of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) enum Need {
    Registry,
    Docker,
    Crane,
    Actionlint,
    DevcontainerCli,
    Root,
    Tool(Tool),
}

/// Debian's development release: its Nix is the newest that Debian has.
pub(super) const NEWEST_RELEASE: &str = "sid";

const ENVIRONMENTS: &[Environment] = &[
    Environment {
        name: "shell",
        packages: &["bash", "coreutils"],
    },
    Environment {
        name: "python",
        packages: &["bash", "coreutils", "python3", "ca-certificates", "tzdata"],
    },
];

/// A store path to make an image of.
#[derive(Debug)]
pub(super) struct Project {
    /// The store path that has all others in its closure.
    pub(super) root: PathBuf,
    /// The file with `nix path-info --json` of its closure.
    pub(super) closure: PathBuf,
}

/// Everything that steps share.
pub(super) struct World {
    /// The workspace.
    pub(super) root: PathBuf,
    pub(super) scratch: Scratch,
    pub(super) nix: Nix,
    pub(super) nixply: Nixply,
    pub(super) fixture_dir: PathBuf,
    pub(super) registry: Result<Registry>,
    pub(super) docker: Result<Docker>,
    pub(super) nix_half: NixHalf,
    /// Unpacked when the first step wants it.
    pub(super) newer_nix: OnceCell<DebianRoot>,
    /// Small: a shell and its libraries.
    pub(super) shell: Project,
    /// Middle-sized: what a real project looks like.
    pub(super) python: Project,
}

impl World {
    pub(super) fn new(root: &Path) -> Result<World> {
        let scratch = Scratch::new()?;
        let nix = Nix::new(scratch.subdir("nix")?)?;
        let nixply = Nixply::build(root, nix.clone())?;
        let fixture_dir = root.join("fixtures/debnix");
        let debnix_dir = scratch.subdir("debnix")?;
        let roots = debnix::build(&nix, &fixture_dir, &debnix_dir, ENVIRONMENTS, &[])
            .context("cannot make store paths of Debian packages")?;
        let nix_half = NixHalf::new(root, &nix, &nixply, &debnix_dir)
            .context("cannot put nixply into the store")?;
        let mut projects = Vec::new();
        for (environment, root) in ENVIRONMENTS.iter().zip(roots) {
            let closure = scratch.dir().join(format!("{}.json", environment.name));
            nix.write_closure(&root, &closure)?;
            projects.push(Project { root, closure });
        }
        let (Some(python), Some(shell)) = (projects.pop(), projects.pop()) else {
            anyhow::bail!("there are two environments");
        };
        let registry = ensure_tool(REGISTRY).and_then(|()| Registry::start(&scratch));
        let docker = ensure_tool(DOCKER).and_then(|()| {
            ensure!(install::is_root(), "only root can start dockerd");
            Docker::start(&scratch)
        });
        Ok(World {
            root: root.to_owned(),
            scratch,
            nix,
            nixply,
            fixture_dir,
            registry,
            docker,
            nix_half,
            newer_nix: OnceCell::new(),
            shell,
            python,
        })
    }

    /// Why a need is not met; nothing when it is.
    pub(super) fn lacks(&self, need: Need) -> Option<String> {
        let reason = |result: &Result<()>| result.as_ref().err().map(|error| format!("{error:#}"));
        match need {
            Need::Registry => self
                .registry
                .as_ref()
                .err()
                .map(|error| format!("{error:#}")),
            Need::Docker => self.docker.as_ref().err().map(|error| format!("{error:#}")),
            Need::Crane => lacks_go_program("crane"),
            Need::Actionlint => lacks_go_program("actionlint"),
            Need::DevcontainerCli => match install::npm_program("devcontainer") {
                Ok(program) if program.is_file() => None,
                Ok(_) => Some("the devcontainer CLI is not installed".to_owned()),
                Err(error) => Some(format!("{error:#}")),
            },
            Need::Root => (!install::is_root()).then(|| "not run as root".to_owned()),
            Need::Tool(tool) => reason(&ensure_tool(tool)),
        }
    }

    /// The newest Nix that Debian has, without a sandbox: `NIX_CONF_DIR=/etc/nix-sandbox` is with one and with build users.
    pub(super) fn newer_nix(&self) -> Result<&DebianRoot> {
        if let Some(debian) = self.newer_nix.get() {
            return Ok(debian);
        }
        let dir = self.scratch.subdir("newer")?;
        let debian = DebianRoot::unpack(NEWEST_RELEASE, dir, &["nix-bin"])?;
        let common = "substituters =\nexperimental-features = nix-command flakes\n";
        for (dir, settings) in [
            ("etc/nix", "build-users-group =\nsandbox = false\n"),
            (
                "etc/nix-sandbox",
                "build-users-group = nixbld\nsandbox = true\nsandbox-fallback = false\n",
            ),
        ] {
            fs::create_dir_all(debian.path(dir))?;
            let file = debian.path(dir).join("nix.conf");
            fs::write(file, format!("{common}{settings}"))?;
        }
        debian.add_user("nixbld1", "nixbld", 30_001)?;
        Ok(self.newer_nix.get_or_init(|| debian))
    }

    /// Copies closures into the store of another Nix.
    pub(super) fn give_closure(&self, debian: &DebianRoot, roots: &[&Path]) -> Result<()> {
        let mut paths = Vec::new();
        for root in roots {
            paths.extend(self.nix.closure_paths(root)?);
        }
        let export = command::stdout(self.nix.command("nix-store", ["--export"]).args(paths))?;
        fs::write(debian.path("closure"), export)?;
        command::stdout(&mut debian.command("nix-store --import < /closure")).map(drop)
    }

    /// A reference into the registry; only for steps that need one.
    pub(super) fn reference(&self, name: &str) -> Result<String> {
        let registry = self
            .registry
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        Ok(format!("{}/{name}", registry.host))
    }

    /// The Docker daemon; only for steps that need one.
    pub(super) fn docker(&self) -> Result<&Docker> {
        self.docker
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error:#}"))
    }
}

fn ensure_tool(tool: Tool) -> Result<()> {
    ensure!(tool.is_here(), "{} is not installed", tool.name);
    Ok(())
}

fn lacks_go_program(name: &str) -> Option<String> {
    match install::go_program(name) {
        Ok(program) if program.is_file() => None,
        Ok(_) => Some(format!("{name} is not installed")),
        Err(error) => Some(format!("{error:#}")),
    }
}
