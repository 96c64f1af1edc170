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
mod fleet_arguments;
mod fleet_images;
mod messages;
mod nix2container;
mod nix_half;
mod package;
mod registry;
mod repeat;
mod root_files;
mod scripts;
mod store;
mod templates;
mod world;

use crate::install::{APT, FAKEROOT, NIX, PODMAN, PROOT, SKOPEO};
use crate::say::say;
use crate::tally::Tally;
use anyhow::Result;
use std::path::Path;
use std::time::Instant;
use world::{NEWEST_RELEASE, Need, World};

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
        "wrong words in an image's config are told by Nix",
        &[],
        messages::config,
    ),
    (
        "words of other tools are translated by Nix",
        &[],
        messages::arguments,
    ),
    (
        "a script that fails names the command",
        &[Need::Tool(FAKEROOT)],
        messages::scripts,
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
        "the flake's functions ask for pkgs in words",
        &[],
        flake::asks_for_pkgs,
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
        "images stand on what podman saves",
        &[Need::Root, Need::Docker, Need::Tool(PODMAN)],
        containers::podman_save,
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
        "scripts run with the image's tree as their root",
        &[
            Need::Root,
            Need::Docker,
            Need::Tool(FAKEROOT),
            Need::Tool(PROOT),
        ],
        scripts::in_root,
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
        "an image of a fleet takes more arguments, and each is in its plan",
        &[],
        fleet_arguments::arguments,
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
        "images of the templates share layers, and a fleet's layer index finds them",
        &[Need::Registry],
        templates::sharing,
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
