//! End to end: real closures by real Nix, the real command, a real registry, real containers.
//!
//! Each step is one function that fails with an error. What a step needs is declared beside it; where that cannot be
//! had, the step is reported as skipped.

mod base;
mod closures;
mod containers;
#[cfg(test)]
mod counterparts;
mod derivation;
mod docker_tools;
mod docker_tools_cases;
mod documentation;
mod flake;
mod fleet;
mod fleet_images;
mod nix2container;
mod nix_half;
mod package;
mod registry;
mod repeat;
mod root_files;
mod scripts;
mod store;
mod templates;

use crate::command;
use crate::debian_root::DebianRoot;
use crate::debnix::{self, Environment};
use crate::install::{self, APT, DOCKER, FAKEROOT, NIX, PODMAN, REGISTRY, SKOPEO, Tool};
use crate::nix::Nix;
use crate::nixply::Nixply;
use crate::say::say;
use crate::scratch::Scratch;
use crate::services::{Docker, Registry};
use crate::tally::Tally;
use anyhow::{Context, Result, ensure};
use nix_half::NixHalf;
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a step needs of this machine.
#[derive(Debug, Clone, Copy)]
enum Need {
    Registry,
    Docker,
    Crane,
    Actionlint,
    DevcontainerCli,
    Root,
    Tool(Tool),
}

/// A name, what it needs, and the step itself.
type Step = (&'static str, &'static [Need], fn(&World) -> Result<()>);

const STEPS: &[Step] = &[
    (
        "nixply asks Nix for the closure of a store path",
        &[],
        closures::of_a_store_path,
    ),
    (
        "every form of a closure gives the same plan",
        &[],
        closures::every_form,
    ),
    (
        "a newer Nix gives the same plan",
        &[Need::Root],
        closures::of_a_newer_nix,
    ),
    (
        "a path that is not built is refused",
        &[],
        closures::of_a_path_that_is_not_built,
    ),
    (
        "a derivation makes the image that the command line makes",
        &[],
        derivation::same_as_the_command_line,
    ),
    (
        "a newer Nix with a sandbox and build users makes the same derivations",
        &[Need::Root],
        derivation::in_a_sandbox,
    ),
    (
        "a derivation that cannot be built says why",
        &[],
        derivation::errors,
    ),
    (
        "a root with nothing in it has temporary directories",
        &[],
        derivation::empty_root,
    ),
    (
        "every output of a derivation is built the same again",
        &[],
        derivation::check,
    ),
    (
        "the programs of a derivation push and load",
        &[Need::Registry],
        derivation::programs,
    ),
    (
        "every example of the documentation about Nix is built",
        &[],
        documentation::examples,
    ),
    (
        "the documentation describes every argument and attribute",
        &[],
        documentation::tables,
    ),
    (
        "the flake shows its outputs and passes its check",
        &[],
        flake::show_and_check,
    ),
    (
        "nixply's package has the source that it is built of, and no more",
        &[],
        package::source,
    ),
    (
        "a flake's image is pushed by nix run",
        &[Need::Registry],
        flake::run_push,
    ),
    (
        "a pushed image has the digest that was printed",
        &[Need::Registry, Need::Tool(SKOPEO)],
        registry::digest,
    ),
    (
        "pushing again uploads nothing",
        &[Need::Registry],
        registry::again,
    ),
    (
        "a second repository mounts what the first one has",
        &[Need::Registry],
        registry::mounts,
    ),
    (
        "projects share layers",
        &[Need::Registry],
        registry::sharing,
    ),
    (
        "a catalog lets a client pull least",
        &[Need::Registry, Need::Tool(SKOPEO)],
        fleet::pulls,
    ),
    (
        "crane validates a pushed image",
        &[Need::Registry, Need::Crane],
        registry::crane,
    ),
    (
        "verify accepts a pushed image and names a damaged file",
        &[Need::Registry],
        registry::verify,
    ),
    (
        "an image on Debian leaves its /bin as it is and runs",
        &[Need::Registry, Need::Docker, Need::Tool(SKOPEO)],
        base::debian,
    ),
    (
        "pullImage writes what skopeo writes, and derivations stand on bases",
        &[Need::Registry, Need::Tool(SKOPEO)],
        base::pull_image,
    ),
    (
        "docker pulls and runs a pushed image",
        &[Need::Registry, Need::Docker],
        containers::docker_pull,
    ),
    (
        "docker loads every kind of archive",
        &[Need::Docker],
        containers::docker_load,
    ),
    (
        "podman loads every kind of archive",
        &[Need::Root, Need::Tool(PODMAN)],
        containers::podman_load,
    ),
    (
        "skopeo reads every kind of archive",
        &[Need::Tool(SKOPEO)],
        containers::skopeo_copy,
    ),
    (
        "nixply loads into docker",
        &[Need::Docker],
        containers::load_into_docker,
    ),
    (
        "nixply loads into podman",
        &[Need::Root, Need::Tool(PODMAN)],
        containers::load_into_podman,
    ),
    (
        "nixply loads into containerd",
        &[Need::Docker],
        containers::load_into_containerd,
    ),
    (
        "dockerTools' functions build and stream one image",
        &[Need::Docker],
        docker_tools::archives_and_streams,
    ),
    (
        "scripts set owners, modes and setuid bits and touch no store layer",
        &[Need::Root, Need::Docker, Need::Tool(FAKEROOT)],
        docker_tools::scripts,
    ),
    (
        "scripts over a Debian base leave its links and directories as they are",
        &[Need::Root, Need::Docker, Need::Tool(FAKEROOT)],
        scripts::over_debian,
    ),
    (
        "dockerTools' arguments do in a container what they say",
        &[Need::Docker],
        docker_tools::config_and_store,
    ),
    (
        "an image of dockerTools' functions stands on another one",
        &[Need::Docker, Need::Tool(FAKEROOT)],
        docker_tools::layered_on_layered,
    ),
    (
        "conf.json and the stream script are pushed as they are",
        &[Need::Registry, Need::Tool(FAKEROOT)],
        docker_tools::conf,
    ),
    (
        "the examples for those who come from dockerTools and nix2container are built",
        &[Need::Root, Need::Tool(FAKEROOT)],
        docker_tools::documented_examples,
    ),
    (
        "wrong arguments of dockerTools' functions are named",
        &[Need::Tool(FAKEROOT)],
        docker_tools::arguments,
    ),
    (
        "dockerTools' images have a stable date, or the date of now",
        &[Need::Docker],
        docker_tools_cases::dates,
    ),
    (
        "an image without store paths runs with the store mounted",
        &[Need::Docker],
        docker_tools_cases::mounted_store,
    ),
    (
        "dockerTools' images keep to their layers, one on another",
        &[Need::Docker, Need::Tool(FAKEROOT)],
        docker_tools_cases::layer_limits,
    ),
    (
        "an image that needs no store path has no store",
        &[Need::Docker, Need::Tool(FAKEROOT)],
        docker_tools_cases::without_store_paths,
    ),
    (
        "a store path that is a link stays one in a container",
        &[Need::Docker, Need::Tool(FAKEROOT)],
        docker_tools_cases::store_symlink,
    ),
    (
        "a Nix in a dockerTools image knows the store and finds it intact",
        &[Need::Docker],
        docker_tools_cases::nix_database,
    ),
    (
        "merged images are all loaded by docker",
        &[Need::Docker, Need::Tool(FAKEROOT)],
        docker_tools_cases::merged,
    ),
    (
        "a layering pipeline makes the layers of a container",
        &[Need::Docker, Need::Tool(FAKEROOT)],
        docker_tools_cases::pipeline,
    ),
    (
        "an image of nix2container runs as it says",
        &[Need::Docker],
        nix2container::in_containers,
    ),
    (
        "an image of nix2container is pushed, the second time nothing moves",
        &[Need::Registry],
        nix2container::pushed,
    ),
    (
        "every attribute of nixpkgs' dockerTools is there",
        &[],
        docker_tools_cases::attributes,
    ),
    (
        "a fleet's development container has sudo, tools and a Nix that builds",
        &[Need::Docker],
        fleet_images::devcontainer,
    ),
    (
        "a fleet's runtime container is not root and cannot become it",
        &[Need::Docker],
        fleet_images::runtime,
    ),
    (
        "a fleet's development container may be root's, a runtime container not",
        &[Need::Docker],
        fleet_images::of_root,
    ),
    (
        "a fleet's images are pushed by nix run, the second time nothing moves",
        &[Need::Registry],
        fleet_images::pushes,
    ),
    (
        "a fleet's documentation is true",
        &[],
        fleet_images::documentation,
    ),
    (
        "devcontainer up opens a fleet's development container",
        &[Need::Docker, Need::Root, Need::DevcontainerCli],
        fleet_images::devcontainer_up,
    ),
    (
        "users, modes, capabilities and links stand in a container as they were asked for",
        &[Need::Docker],
        root_files::in_docker,
    ),
    (
        "an image with modes and links is verified, and one rule changes one layer",
        &[],
        root_files::verified,
    ),
    (
        "the surroundings do not show in the digest",
        &[],
        repeat::surroundings,
    ),
    (
        "the number of threads does not show in the digest",
        &[],
        repeat::threads,
    ),
    (
        "another file system and hard links do not show in the digest",
        &[],
        repeat::copies_of_the_store,
    ),
    ("the templates evaluate", &[], templates::evaluate),
    (
        "the workflows of the templates are well-formed",
        &[Need::Actionlint],
        templates::lint,
    ),
    (
        "the weekly update of infra opens one pull request, and none that does not build",
        &[Need::Registry],
        templates::update,
    ),
    (
        "GitHub's workflow pushes, names and signs, and moves nothing twice",
        &[Need::Registry, Need::Crane, Need::Tool(SKOPEO)],
        templates::github,
    ),
    (
        "GitLab's pipeline pushes, names and signs, and moves nothing twice",
        &[Need::Registry, Need::Crane, Need::Tool(SKOPEO)],
        templates::gitlab,
    ),
    // Last: it sees what all others have done.
    ("the stores that were used are intact", &[], store::intact),
];

/// Debian's development release: its Nix is the newest that Debian has.
const NEWEST_RELEASE: &str = "sid";

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
struct Project {
    /// The store path that has all others in its closure.
    root: PathBuf,
    /// The file with `nix path-info --json` of its closure.
    closure: PathBuf,
}

/// Everything that steps share.
struct World {
    /// The workspace.
    root: PathBuf,
    scratch: Scratch,
    nix: Nix,
    nixply: Nixply,
    fixture_dir: PathBuf,
    registry: Result<Registry>,
    docker: Result<Docker>,
    nix_half: NixHalf,
    /// Unpacked when the first step wants it.
    newer_nix: OnceCell<DebianRoot>,
    /// Small: a shell and its libraries.
    shell: Project,
    /// Middle-sized: what a real project looks like.
    python: Project,
}

/// Runs all steps, or those with `only` in their name.
pub(crate) fn run(root: &Path, only: Option<&str>, tally: &mut Tally) -> Result<()> {
    let missing: Vec<_> = [NIX, APT]
        .iter()
        .filter(|tool| !tool.is_here())
        .map(|tool| tool.name)
        .collect();
    if !missing.is_empty() {
        let reason = format!("without {} there are no store paths", missing.join(" and "));
        for (name, ..) in STEPS {
            tally.skip(name, &reason);
        }
        return Ok(());
    }
    let start = Instant::now();
    let world = World::new(root)?;
    say(format!(
        "nixply, store paths and services: {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    let steps = STEPS
        .iter()
        .filter(|(name, ..)| only.is_none_or(|words| name.contains(words)));
    for (name, needs, step) in steps {
        if let Some(reason) = needs.iter().find_map(|need| world.lacks(*need)) {
            say(format!("skipped: {name}"));
            tally.skip(name, &reason);
            continue;
        }
        let start = Instant::now();
        match step(&world) {
            Ok(()) => {
                say(format!(
                    "ok: {name} ({:.1} s)",
                    start.elapsed().as_secs_f64()
                ));
                tally.pass();
            }
            Err(error) => {
                say(format!("FAILED: {name}\n{error:#}"));
                tally.fail(name);
            }
        }
    }
    Ok(())
}

impl World {
    fn new(root: &Path) -> Result<World> {
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
    fn lacks(&self, need: Need) -> Option<String> {
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
    fn newer_nix(&self) -> Result<&DebianRoot> {
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
    fn give_closure(&self, debian: &DebianRoot, roots: &[&Path]) -> Result<()> {
        let mut paths = Vec::new();
        for root in roots {
            paths.extend(self.nix.closure_paths(root)?);
        }
        let export = command::stdout(self.nix.command("nix-store", ["--export"]).args(paths))?;
        fs::write(debian.path("closure"), export)?;
        command::stdout(&mut debian.command("nix-store --import < /closure")).map(drop)
    }

    /// A reference into the registry; only for steps that need one.
    fn reference(&self, name: &str) -> Result<String> {
        let registry = self
            .registry
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        Ok(format!("{}/{name}", registry.host))
    }

    /// The Docker daemon; only for steps that need one.
    fn docker(&self) -> Result<&Docker> {
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
