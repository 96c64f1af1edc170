//! Two projects of a fleet: what a client that has the first one's image fetches for the second one's.

use super::World;
use crate::command::{command, json, text};
use crate::debnix;
use crate::fleet::{PROJECTS, Planner, SETS, planners, write_catalog};
use crate::say::say;
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// What moved under one planner.
#[derive(Debug)]
struct Moved {
    name: &'static str,
    /// The layers and bytes that skopeo fetched for project B, as the registry logged them.
    fetched_layers: usize,
    fetched_bytes: u64,
    /// The bytes that nixply sent for project B.
    pushed_bytes: u64,
}

pub(super) fn pulls(world: &World) -> Result<()> {
    let work_dir = world.scratch.subdir("fleet")?;
    let roots = debnix::build(&world.nix, &world.fixture_dir, &work_dir, &PROJECTS, &SETS)?;
    let mut closures = Vec::new();
    for (project, root) in PROJECTS.iter().zip(&roots) {
        let closure = work_dir.join(format!("{}.json", project.name));
        world.nix.write_closure(root, &closure)?;
        closures.push(closure);
    }
    let (catalog, _) = write_catalog(&world.nix, &world.nixply, &world.fixture_dir, &work_dir)?;
    let mut all = Vec::new();
    for (number, planner) in planners(&catalog).iter().enumerate() {
        let repository = format!("fleet-{number}");
        let moved = pull_b_after_a(world, &repository, planner, &closures)?;
        say(format!(
            "   {:<20} {:>2} layers, {:>5.1} MB pulled, {:>5.1} MB pushed",
            moved.name,
            moved.fetched_layers,
            megabytes(moved.fetched_bytes),
            megabytes(moved.pushed_bytes),
        ));
        all.push(moved);
    }
    let (with_catalog, others) = all.split_last().context("there are planners")?;
    for other in others {
        ensure!(
            with_catalog.fetched_bytes < other.fetched_bytes,
            "{} moved no less than {}: {with_catalog:?}, {other:?}",
            with_catalog.name,
            other.name
        );
    }
    Ok(())
}

/// Pushes both projects into one repository and pulls them with skopeo, which keeps blobs in one folder.
fn pull_b_after_a(
    world: &World,
    repository: &str,
    planner: &Planner,
    closures: &[PathBuf],
) -> Result<Moved> {
    let registry = (world.registry.as_ref()).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let mut options: Vec<&str> = planner.options.iter().map(String::as_str).collect();
    // What this machine remembers of one planner is none of the next one's business.
    options.push("--no-cache");
    let mut pushed_bytes = 0;
    for (project, closure) in PROJECTS.iter().zip(closures) {
        let reference = world.reference(&format!("{repository}:{}", project.name))?;
        let push = world.nixply.push(closure, &reference, &options)?;
        pushed_bytes = push.uploaded_bytes;
    }
    let [a, b] = PROJECTS.map(|project| format!("{repository}:{}", project.name));
    let [a, b] = [world.reference(&a)?, world.reference(&b)?];
    let images = [a, b].map(|reference| format!("docker://{reference}"));

    let blobs = world.scratch.subdir(&format!("{repository}-blobs"))?;
    let pull = |image: &str, name: &str| {
        let layout = world.scratch.subdir(&format!("{repository}-{name}"))?;
        let mut copy = command(
            "skopeo",
            [
                "--insecure-policy",
                "copy",
                "--quiet",
                "--src-tls-verify=false",
            ],
        );
        copy.arg("--dest-shared-blob-dir").arg(&blobs);
        text(
            copy.arg(image)
                .arg(format!("oci:{}:latest", layout.display())),
        )
        .map(drop)
    };
    pull(&images[0], "a")?;
    let before = registry.log_from(0)?.len();
    pull(&images[1], "b")?;
    let log = registry.log_from(before)?;

    let inspected = json(&mut world.nixply.command(["inspect", &images[1], "--json"]))?;
    let layers = inspected["layers"].as_array().context("no layers")?;
    let is_layer = |digest: &str| layers.iter().any(|layer| layer["digest"] == digest);
    let fetched: Vec<u64> = (log.lines().filter_map(fetched_blob))
        .filter(|(digest, _)| is_layer(digest))
        .map(|(_, bytes)| bytes)
        .collect();
    let fetched_bytes = fetched.iter().sum();

    let diff = json(
        &mut world
            .nixply
            .command(["diff", &images[0], &images[1], "--json"]),
    )?;
    ensure!(
        diff["pull"]["size_bytes"] == fetched_bytes,
        "{}: the registry sent {fetched_bytes} bytes of layers, nixply diff says {}",
        planner.name,
        diff["pull"]
    );
    ensure!(fetched_bytes > 0, "{}: nothing was fetched", planner.name);
    Ok(Moved {
        name: planner.name,
        fetched_layers: fetched.len(),
        fetched_bytes,
        pushed_bytes,
    })
}

/// The digest and the size of a blob that a line of the access log says was sent: the combined format of Apache,
/// `… "GET /v2/NAME/blobs/DIGEST HTTP/1.1" 200 SIZE …`.
fn fetched_blob(line: &str) -> Option<(String, u64)> {
    let (_, request) = line.split_once("\"GET /v2/")?;
    let (path, rest) = request.split_once(" HTTP/1.1\" 200 ")?;
    let (_, digest) = path.split_once("/blobs/")?;
    let bytes = rest.split(' ').next()?.parse().ok()?;
    Some((digest.to_owned(), bytes))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_read_from_the_access_log() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let line = format!(
            "127.0.0.1 - - [24/Nov/2026:10:00:00 +0000] \"GET /v2/a/b/blobs/{digest} HTTP/1.1\" 200 123 \"\" \"skopeo\""
        );
        assert_eq!(fetched_blob(&line), Some((digest.clone(), 123)));
        assert_eq!(fetched_blob(&line.replace("GET", "HEAD")), None);
        assert_eq!(fetched_blob(&line.replace("blobs", "manifests")), None);
        assert_eq!(fetched_blob(&line.replace(" 200 ", " 404 ")), None);
    }
}
