//! `cargo xtask demo`: from a Nix closure to a running container, told in plain words.

use crate::command::{command, text};
use crate::debnix;
use crate::fleet::{FEW_LAYERS, PROJECTS, SETS, planners, write_catalog};
use crate::install::{self, APT, DOCKER, NIX, REGISTRY, SKOPEO, Tool};
use crate::nix::Nix;
use crate::nixply::{Nixply, Push};
use crate::oci;
use crate::say::say;
use crate::scratch::Scratch;
use crate::services::{Docker, Registry};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What each of them runs, and what that prints among other things.
const RUNS: [(&[&str], &str); 2] = [
    (
        &[
            "python3",
            "-B",
            "-c",
            "print('python counts to', sum(range(10)))",
        ],
        "python counts to 45",
    ),
    (&["redis-server", "--version"], "Redis server"),
];

/// A project, ready to become an image.
struct Project {
    name: &'static str,
    root: PathBuf,
    closure: PathBuf,
}

/// Runs the demo.
pub(crate) fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    let missing = install::install(&[NIX, REGISTRY, SKOPEO, DOCKER]);
    if missing.iter().any(|tool| tool.name == NIX.name) {
        bail!(
            "Nix is missing: install it first (https://nixos.org/download), everything else can be done without"
        );
    }
    let is_here = |tool: Tool| !missing.iter().any(|lacking| lacking.name == tool.name);
    for tool in &missing {
        say(format!(
            "{} is missing here: the demo goes on without it.",
            tool.name
        ));
    }

    let scratch = Scratch::new()?;
    say(format!(
        "Everything temporary is in {} and vanishes at the end.",
        scratch.dir().display()
    ));
    say("Building nixply …");
    let nix = Nix::new(scratch.subdir("nix")?)?;
    let nixply = Nixply::build(root, nix.clone())?;

    say("\n1. Two closures in the Nix store");
    let projects = make_projects(root, &scratch, &nix)?;
    if is_here(REGISTRY) {
        let registry = Registry::start(&scratch)?;
        with_registry(&scratch, &nixply, &registry, &projects, is_here(SKOPEO))?;
        if !APT.is_here() {
            say("\n5. Running them: not possible, they hold nothing but texts");
        } else if !is_here(DOCKER) || !install::is_root() {
            say("\n5. Running them: not possible, it needs Docker and root");
        }
        if APT.is_here() {
            push_as_a_fleet(root, &scratch, &nix, &nixply, &registry, &projects)?;
        }
    } else {
        with_layouts(&scratch, &nixply, &projects)?;
    }

    drop(scratch);
    say(format!("\nDone in {:.0} s.", start.elapsed().as_secs_f64()));
    say(
        "The services have ended and the temporary folder is gone; the store paths stay until `nix-collect-garbage`.",
    );
    Ok(())
}

fn make_projects(root: &Path, scratch: &Scratch, nix: &Nix) -> Result<Vec<Project>> {
    let fixtures = root.join("fixtures/debnix");
    let roots = if APT.is_here() {
        say("Nix makes them of Debian packages: runnable programs, and no nixpkgs to download.");
        debnix::build(nix, &fixtures, &scratch.subdir("debnix")?, &PROJECTS, &SETS)
            .context("cannot make store paths of Debian packages")?
    } else {
        say("There is no apt here to take programs from, so they hold texts.");
        PROJECTS
            .iter()
            .map(|project| store_path_of_texts(nix, &fixtures, project.name))
            .collect::<Result<_>>()?
    };
    let mut projects = Vec::new();
    for (project, root) in PROJECTS.iter().zip(roots) {
        let closure = scratch.dir().join(format!("{}.json", project.name));
        nix.write_closure(&root, &closure)?;
        let paths = nix.closure_paths(&root)?.len();
        say(format!(
            "   {}: {paths} store paths, described by `nix path-info --json`",
            project.name
        ));
        projects.push(Project {
            name: project.name,
            root,
            closure,
        });
    }
    Ok(projects)
}

fn store_path_of_texts(nix: &Nix, fixtures: &Path, name: &str) -> Result<PathBuf> {
    let mut evaluate = nix.command(
        "nix-instantiate",
        ["--eval", "--read-write-mode", "--attr", name],
    );
    // Nix prints a text in quotes.
    Ok(PathBuf::from(
        text(evaluate.arg(fixtures.join("texts.nix")))?.trim_matches('"'),
    ))
}

fn with_registry(
    scratch: &Scratch,
    nixply: &Nixply,
    registry: &Registry,
    projects: &[Project],
    has_skopeo: bool,
) -> Result<()> {
    say(format!(
        "\n2. Pushing them to a registry on {}, each into a repository of its own",
        registry.host
    ));
    // One layer index for both, as a fleet would have it.
    let index = format!("{}/demo/layers", registry.host);
    let reference = |project: &Project| format!("{}/demo/{}:v1", registry.host, project.name);
    let mut pushed = Vec::new();
    for project in projects {
        let push = push(nixply, project, &reference(project), &index)?;
        say(format!("   {}", moved(project.name, &push)));
        pushed.push(push);
    }

    say(
        "\n3. Pushing them again, as a machine that remembers nothing: nothing is read and nothing moves",
    );
    for (project, first) in projects.iter().zip(&pushed) {
        let other = format!("{}/demo/{}:v2", registry.host, project.name);
        for (reference, what) in [(reference(project), "the same tag"), (other, "a new tag")] {
            let start = Instant::now();
            let again = push(nixply, project, &reference, &index)?;
            let time = start.elapsed();
            ensure!(
                again.digest == first.digest,
                "{}: the digest changed",
                project.name
            );
            ensure!(
                again.uploaded_bytes == 0 && again.read_bytes == 0,
                "{}: {again:?}",
                project.name
            );
            say(format!(
                "   {}, {what}: {} in {} ms",
                project.name,
                requests(again.requests),
                time.as_millis()
            ));
        }
    }

    say("\n4. Pulling them back and comparing digests");
    if !has_skopeo {
        say("   not possible without skopeo");
    }
    for (project, push) in projects.iter().zip(&pushed).filter(|_| has_skopeo) {
        let layout = scratch.dir().join(format!("pulled-{}", project.name));
        let source = format!("docker://{}", reference(project));
        let target = format!("oci:{}:latest", layout.display());
        let flags = [
            "--insecure-policy",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
        ];
        text(command("skopeo", flags).args([source, target]))?;
        let pulled = oci::manifest_digest(&layout)?;
        ensure!(
            pulled == push.digest,
            "{}: skopeo pulled {pulled}, nixply pushed {}",
            project.name,
            push.digest
        );
        say(format!("   {}: {pulled}, the same", project.name));
    }

    if APT.is_here() && DOCKER.is_here() && install::is_root() {
        run_in_docker(scratch, projects, reference)?;
    }
    Ok(())
}

fn run_in_docker(
    scratch: &Scratch,
    projects: &[Project],
    reference: impl Fn(&Project) -> String,
) -> Result<()> {
    say("\n5. Running them in containers");
    let docker = match Docker::start(scratch) {
        Ok(docker) => docker,
        Err(error) => {
            say(format!("   not possible: {error:#}"));
            return Ok(());
        }
    };
    for (project, (words, expected)) in projects.iter().zip(RUNS) {
        text(&mut docker.command(["pull", "--quiet", &reference(project)]))?;
        let printed = text(docker.run(&reference(project)).args(words))?;
        ensure!(
            printed.contains(expected),
            "{} printed {printed:?}",
            project.name
        );
        say(format!("   {} says: {printed}", project.name));
    }
    Ok(())
}

/// The same projects in few layers, under one planner after another: what project B sends after project A.
fn push_as_a_fleet(
    root: &Path,
    scratch: &Scratch,
    nix: &Nix,
    nixply: &Nixply,
    registry: &Registry,
    projects: &[Project],
) -> Result<()> {
    say(format!(
        "\n6. Packing them for a fleet: {FEW_LAYERS} layers, so that many store paths have to share one"
    ));
    let fixtures = root.join("fixtures/debnix");
    let work_dir = scratch.dir().join("debnix");
    let (catalog, said) = write_catalog(nix, nixply, &fixtures, &work_dir)?;
    say(format!("   the catalog of the package sets: {said}"));
    for (number, planner) in planners(&catalog).iter().enumerate() {
        let mut options: Vec<&str> = planner.options.iter().map(String::as_str).collect();
        // What this machine remembers of one planner is none of the next one's business.
        options.push("--no-cache");
        let mut last = None;
        for project in projects {
            // A repository for each planner: none gains by what another one has pushed.
            let reference = format!("{}/demo/fleet-{number}:{}", registry.host, project.name);
            let push = nixply.push(&project.closure, &reference, &options)?;
            last = Some((project.name, push));
        }
        if let Some((name, push)) = last {
            say(format!("   {}: {}", planner.name, moved(name, &push)));
        }
    }
    Ok(())
}

/// Without a registry: two layouts on disk, and what the second would not have to send.
fn with_layouts(scratch: &Scratch, nixply: &Nixply, projects: &[Project]) -> Result<()> {
    say("\n2. Writing them as OCI layout directories, for there is no registry");
    let mut there = std::collections::BTreeMap::new();
    for project in projects {
        let layout = scratch.dir().join(project.name);
        nixply.export(&project.closure, "oci-dir", &layout)?;
        let digest = oci::manifest_digest(&layout)?;
        let layers = oci::layers(&layout)?;
        let (old, new): (Vec<_>, Vec<_>) = layers
            .iter()
            .partition(|(digest, _)| there.contains_key(*digest));
        let bytes = |layers: &[(&String, &u64)]| layers.iter().map(|(_, size)| **size).sum();
        let push = Push {
            digest: digest.clone(),
            uploaded_bytes: bytes(&new),
            already_there_bytes: bytes(&old),
            uploaded_layers: new.len(),
            already_there_layers: old.len(),
            mounted_layers: 0,
            read_bytes: 0,
            requests: 0,
        };
        say(format!("   {}", moved(project.name, &push)));
        there.extend(layers);

        let again = scratch.dir().join(format!("{}-again", project.name));
        nixply.export(&project.closure, "oci-dir", &again)?;
        ensure!(
            oci::manifest_digest(&again)? == digest,
            "{}: made again, it is another image",
            project.name
        );
        say(format!(
            "   {}: made again, it has the same digest {digest}",
            project.name
        ));
    }
    Ok(())
}

/// Pushes with the records of the registry alone.
fn push(nixply: &Nixply, project: &Project, reference: &str, index: &str) -> Result<Push> {
    let path = format!("PATH={}/bin", project.root.display());
    let options = ["--env", &path, "--layer-index", index, "--no-cache"];
    nixply.push(&project.closure, reference, &options)
}

fn moved(name: &str, push: &Push) -> String {
    let mounted = match push.mounted_layers {
        0 => String::new(),
        n => format!(", {n} of them mounted from another repository"),
    };
    format!(
        "{name}: {} layers moved ({}), {} layers were there ({}){mounted}",
        push.uploaded_layers,
        size(push.uploaded_bytes),
        push.already_there_layers,
        size(push.already_there_bytes)
    )
}

fn requests(n: u64) -> String {
    match n {
        1 => "1 request".to_owned(),
        n => format!("{n} requests"),
    }
}

/// In kilobytes, or tenths of a megabyte, rounded.
fn size(bytes: u64) -> String {
    if bytes < 950_000 {
        return format!("{} kB", bytes.saturating_add(500) / 1000);
    }
    let tenths = bytes.saturating_add(50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded() {
        assert_eq!(size(0), "0 kB");
        assert_eq!(size(1_499), "1 kB");
        assert_eq!(size(949_999), "950 kB");
        assert_eq!(size(950_000), "1.0 MB");
        assert_eq!(size(12_350_000), "12.4 MB");
        assert_eq!(size(u64::MAX), "18446744073709.5 MB");
    }
}
