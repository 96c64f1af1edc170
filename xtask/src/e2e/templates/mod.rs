//! The templates (`nix/templates`): they evaluate, and their workflows do what they say, run by script and by line.

mod runner;
mod sharing;
mod update;
mod workflow;

use super::World;
use super::flake::{copy_flakes, this_system};
use crate::command::{self, command};
use crate::install;
use crate::say::say;
use anyhow::{Context, Result, ensure};
use runner::Runner;
use serde_json::{Value, json};
pub(super) use sharing::sharing;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
pub(super) use update::update;

const IMAGES: [&str; 2] = ["devcontainer", "runtime"];
const PLATFORMS: [(&str, &str); 2] = [("amd64", "x86_64-linux"), ("arm64", "aarch64-linux")];

/// The templates as `nix flake new` copies them, beside nixply's flake and the stub, and locked to them.
fn copy_templates(
    world: &World,
    dir: &Path,
    seen_as: &str,
    nix: &dyn Fn(&str) -> Command,
) -> Result<()> {
    copy_flakes(world, dir)?;
    let stub = format!("path:{seen_as}/nixpkgs-stub");
    let nixply = format!("path:{seen_as}/nixply-flake");
    let (infra, project) = (format!("{seen_as}/infra"), format!("{seen_as}/project"));
    for words in [
        format!("lock {nixply} --override-input nixpkgs {stub}"),
        format!("new --template {nixply}#infra {infra}"),
        format!("new --template {nixply}#project {project}"),
        format!(
            "lock path:{infra} --override-input nixpkgs {stub} --override-input nixply {nixply}"
        ),
        format!("lock path:{project} --override-input infra path:{infra}"),
    ] {
        command::stdout(&mut nix(&format!("flake {words}")))?;
    }
    Ok(())
}

fn nix_here(world: &World, words: &str) -> Command {
    let features = ["--extra-experimental-features", "nix-command flakes"];
    let mut nix = world.nix.command("nix", features);
    nix.args(words.split(' '));
    nix
}

pub(super) fn evaluate(world: &World) -> Result<()> {
    let dir = world.scratch.subdir("templates")?;
    let here = |words: &str| nix_here(world, words);
    let seen_as = dir.display().to_string();
    copy_templates(world, &dir, &seen_as, &here)?;
    check_outputs(&seen_as, &here)?;
    if install::is_root() {
        let debian = world.newer_nix()?;
        let there = |words: &str| debian.command(&format!("nix {words}"));
        let dir = debian.path("/templates");
        fs::create_dir_all(&dir)?;
        copy_templates(world, &dir, "/templates", &there)?;
        check_outputs("/templates", &there)?;
    }
    Ok(())
}

/// Both flakes have what they promise, for both platforms.
fn check_outputs(dir: &str, nix: &dyn Fn(&str) -> Command) -> Result<()> {
    let shown = |flake: &str| -> Result<Value> {
        command::json(&mut nix(&format!(
            "flake show --json --all-systems path:{dir}/{flake}"
        )))
        .or_else(|_| command::json(&mut nix(&format!("flake show --json path:{dir}/{flake}"))))
    };
    let (infra, project) = (shown("infra")?, shown("project")?);
    for (_, system) in PLATFORMS {
        for (flake, attribute, name) in [
            (&infra, "nixply", "nixply-0.1.0"),
            (&infra, "catalog", "catalog.json"),
            (
                &infra,
                "example-python-devcontainer",
                "example-python-devcontainer-plan.json",
            ),
            (
                &infra,
                "example-node-runtime",
                "example-node-runtime-plan.json",
            ),
            (&project, "nixply", "nixply-0.1.0"),
            (&project, "devcontainer", "devcontainer-plan.json"),
            (&project, "runtime", "runtime-plan.json"),
        ] {
            let output = &flake["packages"][system][attribute];
            ensure!(
                output["name"] == name,
                "packages.{system}.{attribute} is shown as {output}"
            );
        }
        for shell in ["default", "python", "node", "go", "rust"] {
            let output = &infra["devShells"][system][shell];
            ensure!(
                output["name"] == "shell",
                "devShells.{system}.{shell} is shown as {output}"
            );
        }
        // All that the examples build on is one nixpkgs, that of infra.
        let lock = command::json(&mut nix(&format!(
            "flake metadata --json path:{dir}/project"
        )))?;
        let follows = &lock["locks"]["nodes"]["root"]["inputs"]["nixpkgs"];
        ensure!(
            *follows == json!(["infra", "nixpkgs"]),
            "the project's nixpkgs is {follows}"
        );
    }
    Ok(())
}

fn workflow_files(world: &World) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for template in ["infra", "project"] {
        let dir = world
            .root
            .join("nix/templates")
            .join(template)
            .join(".github/workflows");
        for file in fs::read_dir(dir)? {
            files.push(file?.path());
        }
    }
    ensure!(files.len() == 2, "the workflows are {files:?}");
    Ok(files)
}

pub(super) fn lint(world: &World) -> Result<()> {
    let files = workflow_files(world)?;
    for file in &files {
        workflow::check_pins(&fs::read_to_string(file)?)
            .with_context(|| file.display().to_string())?;
    }
    let mut lint = command(install::go_program("actionlint")?, ["-no-color"]);
    command::text(lint.args(&files)).map(drop)
}

/// Plays a workflow three times: it pushes; again for the same commit it moves nothing; for another commit whose images are
/// the same, only that commit's tags.
fn play(runner: &Runner<'_>, what: &str, once: impl Fn(&str) -> Result<()>) -> Result<()> {
    let commits = ["1111111", "1111111", "2222222"];
    let mut runs = Vec::new();
    for commit in commits {
        let requests = runner.requests(|| once(commit))?;
        let asked = runner.cosign()?;
        say(format!("{what}, commit {commit}: {requests:?}"));
        runs.push((requests, asked));
    }
    let [(first, first_asked), (second, second_asked), (third, _)] = &runs[..] else {
        anyhow::bail!("three runs");
    };
    ensure!(
        first.uploads > 0 && first.manifests >= IMAGES.len() * 3,
        "the first run: {first:?}"
    );
    ensure!(
        second.uploads == 0 && second.manifests == 0,
        "a run in which nothing has changed writes: {second:?}"
    );
    ensure!(
        third.uploads == 0 && third.manifests == IMAGES.len(),
        "a commit that changes no image writes more than its tags: {third:?}"
    );
    let signed = |asked: &[String]| {
        asked
            .iter()
            .filter(|words| words.starts_with("sign --yes "))
            .count()
    };
    ensure!(
        signed(first_asked) == IMAGES.len() && signed(second_asked) == 0,
        "cosign was asked {first_asked:?} and then {second_asked:?}"
    );
    Ok(())
}

/// Each image's index has both platforms, under the commit's tag and `latest`; others read it, too.
fn check_indexes(world: &World, repository: &str) -> Result<()> {
    for image in IMAGES {
        let reference = |tag: &str| world.reference(&format!("{repository}/{image}:{tag}"));
        let raw = |tag: &str| -> Result<Value> {
            let image = format!("docker://{}", reference(tag)?);
            command::json(&mut command(
                "skopeo",
                ["inspect", "--raw", "--tls-verify=false", &image],
            ))
        };
        let index = raw("latest")?;
        ensure!(
            raw("1111111")? == index && raw("2222222")? == index,
            "the tags of {image} name different images"
        );
        let manifests = index["manifests"].as_array().context("no index")?;
        let platforms: Vec<_> = manifests
            .iter()
            .map(|manifest| {
                manifest["platform"]["architecture"]
                    .as_str()
                    .unwrap_or_default()
            })
            .collect();
        ensure!(
            platforms == ["amd64", "arm64"],
            "{image} is for {platforms:?}"
        );
        // Layers are zstd, which crane does not unpack; skopeo reads every blob of both and compares digests.
        let crane = install::go_program("crane")?;
        let mut validate = command(crane, ["validate", "--fast", "--insecure", "--remote"]);
        command::text(validate.arg(reference("latest")?))?;
        let mut copy = command("skopeo", ["copy", "--all", "--src-tls-verify=false"]);
        let layout = world.scratch.dir().join(format!("copied-{image}"));
        copy.arg(format!("docker://{}", reference("latest")?))
            .arg(format!("dir:{}", layout.display()));
        command::text(&mut copy)?;
        fs::remove_dir_all(layout)?;
    }
    Ok(())
}

pub(super) fn github(world: &World) -> Result<()> {
    let runner = Runner::new(world, "github")?;
    let images = workflow::read(&runner.dir.join("project/.github/workflows/images.yml"))?;
    check_plan(&runner, &images["jobs"]["plan"])?;
    let (push, index) = (&images["jobs"]["push"], &images["jobs"]["index"]);
    let value = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    play(&runner, "GitHub's workflow", |commit| {
        let variables = [
            ("GITHUB_REPOSITORY", "Acme/GitHub"),
            ("GITHUB_SHA", commit),
            ("GITHUB_ACTOR", "somebody"),
            (
                "GITHUB_WORKFLOW_REF",
                "Acme/GitHub/.github/workflows/images.yml@refs/heads/main",
            ),
        ];
        let mut outputs = BTreeMap::new();
        for (platform, system) in PLATFORMS {
            let dir = runner.checkout(&format!("push-{platform}-{commit}"))?;
            let output = dir.join("github-output");
            let values = BTreeMap::from([
                value("matrix.platform", platform),
                value("secrets.GITHUB_TOKEN", "token"),
                value("vars.NIXPLY_LAYER_INDEX", ""),
            ]);
            let mut all = variables.to_vec();
            let output_name = output.display().to_string();
            all.push(("GITHUB_OUTPUT", &output_name));
            for script in workflow::github_scripts(push, &values)? {
                runner.run(&script, system, &dir, &all)?;
            }
            outputs.extend(workflow::github_outputs(push, "push", &output)?);
            fs::remove_dir_all(dir)?;
        }
        for image in IMAGES {
            let dir = runner.checkout(&format!("index-{image}-{commit}"))?;
            let mut values = BTreeMap::from([
                value("matrix.image", image),
                value("secrets.GITHUB_TOKEN", "token"),
            ]);
            for (platform, _) in PLATFORMS {
                let digest = outputs
                    .get(&format!("{image}-{platform}"))
                    .context("no digest")?;
                values.insert(
                    format!("needs.push.outputs[format('{{0}}-{platform}', matrix.image)]"),
                    digest.clone(),
                );
            }
            for script in workflow::github_scripts(index, &values)? {
                runner.run(&script, &this_system(), &dir, &variables)?;
            }
            fs::remove_dir_all(dir)?;
        }
        Ok(())
    })?;
    check_indexes(world, "acme/github")
}

/// A pull request sees the plans of both images, and nothing is asked of a registry.
fn check_plan(runner: &Runner<'_>, job: &yaml_rust2::Yaml) -> Result<()> {
    let dir = runner.checkout("plan")?;
    let mut printed = String::new();
    let requests = runner.requests(|| {
        for script in workflow::github_scripts(job, &BTreeMap::new())? {
            printed.push_str(&runner.run(&script, &this_system(), &dir, &[])?);
        }
        Ok(())
    })?;
    let tables = printed.matches("layer  ").count();
    ensure!(
        tables == IMAGES.len() && printed.contains("python3"),
        "a pull request shows this:\n{printed}"
    );
    ensure!(
        (requests.reads, requests.uploads, requests.manifests) == (0, 0, 0),
        "a pull request asks the registry: {requests:?}"
    );
    fs::remove_dir_all(dir).context("cannot remove the checkout")
}

pub(super) fn gitlab(world: &World) -> Result<()> {
    let runner = Runner::new(world, "gitlab")?;
    let pipeline = workflow::read(&runner.dir.join("project/.gitlab-ci.yml"))?;
    let (push, index) = (
        workflow::gitlab_script(&pipeline, "push")?,
        workflow::gitlab_script(&pipeline, "index")?,
    );
    let registry_image = format!("{}/acme/gitlab", runner.host);
    play(&runner, "GitLab's pipeline", |commit| {
        let variables = [
            ("CI_REGISTRY", &*runner.host),
            ("CI_REGISTRY_IMAGE", &registry_image),
            ("CI_REGISTRY_USER", "somebody"),
            ("CI_REGISTRY_PASSWORD", "password"),
            ("CI_COMMIT_SHA", commit),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_PROJECT_URL", "https://gitlab.example/acme/gitlab"),
            ("CI_SERVER_URL", "https://gitlab.example"),
            ("CI_CONFIG_PATH", ".gitlab-ci.yml"),
        ];
        let artifacts = runner.dir.join("artifacts");
        fs::create_dir_all(&artifacts)?;
        for (platform, system) in PLATFORMS {
            let dir = runner.checkout(&format!("push-{platform}"))?;
            let mut all = variables.to_vec();
            all.push(("PLATFORM", platform));
            runner.run(&push, system, &dir, &all)?;
            for image in IMAGES {
                let file = format!("{image}-{platform}.digest");
                fs::copy(dir.join(&file), artifacts.join(&file))?;
            }
            fs::remove_dir_all(dir)?;
        }
        for image in IMAGES {
            let dir = runner.checkout(&format!("index-{image}"))?;
            command::stdout(
                command("cp", ["-r", "--"])
                    .arg(artifacts.join("."))
                    .arg(&dir),
            )?;
            let mut all = variables.to_vec();
            all.push(("IMAGE", image));
            runner.run(&index, &this_system(), &dir, &all)?;
            fs::remove_dir_all(dir)?;
        }
        Ok(())
    })?;
    check_indexes(world, "acme/gitlab")
}
