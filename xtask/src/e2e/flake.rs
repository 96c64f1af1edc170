//! The flake, on a stub of nixpkgs (`fixtures/nixpkgs-stub`).

use super::World;
use super::documentation::blocks;
use crate::command::{self, command};
use crate::nixply::pushed;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a flake of nixply's consists of, as far as Nix has to see it.
const FLAKE_FILES: [&str; 4] = ["flake.nix", "nix", "Cargo.toml", "Cargo.lock"];

/// What the flake of the documentation has, by the overlay.
const OVERLAID: &str = r#"{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  inputs.nixply.url = "github:acme/nixply";
  inputs.nixply.inputs.nixpkgs.follows = "nixpkgs";

  outputs = { self, nixpkgs, nixply }:
    let pkgs = nixpkgs.legacyPackages.x86_64-linux;
    in {
      packages.x86_64-linux.app = (pkgs // nixply.overlays.default pkgs pkgs).nixply.lib.buildImage {
        name = "ghcr.io/acme/app";
        contents = [ pkgs.bash ];
        root.users.app = { uid = 1000; };
        config = {
          User = "app";
          Cmd = [ "${pkgs.bash}/bin/bash" ];
        };
      };
    };
}
"#;

/// Copies the flake and the stub into a folder of another Nix, or of this one: a flake is copied whole into the store, and
/// the workspace may have gigabytes of build results.
pub(super) fn copy_flakes(world: &World, to: &Path) -> Result<()> {
    let flake = to.join("nixply-flake");
    fs::create_dir_all(&flake)?;
    for name in FLAKE_FILES {
        let mut copy = command("cp", ["-r", "--"]);
        command::stdout(copy.arg(world.root.join(name)).arg(&flake))?;
    }
    let mut copy = command("cp", ["-r", "--"]);
    let stub = world.root.join("fixtures/nixpkgs-stub");
    command::stdout(copy.arg(stub).arg(to)).map(drop)
}

/// `nix flake WORDS` on nixply's flake in `dir`, as that Nix sees it.
fn flake_words(dir: &str, words: &str) -> String {
    format!(
        "{words} path:{dir}/nixply-flake --override-input nixpkgs path:{dir}/nixpkgs-stub --no-write-lock-file"
    )
}

/// All that Nix says of the flake is what it says of every flake like this.
fn check_warnings(said: &str) -> Result<()> {
    // Of `lib`, old versions of Nix say that they do not know it; the override is told, for no lock file has it.
    let known = [
        "not writing modified lock file",
        "unknown flake output 'lib'",
        "The check omitted these incompatible",
    ];
    let unknown = said
        .lines()
        .find(|line| line.contains("warning") && !known.iter().any(|known| line.contains(known)));
    ensure!(unknown.is_none(), "nix flake check warns:\n{said}");
    Ok(())
}

pub(super) fn show_and_check(world: &World) -> Result<()> {
    let dir = world.scratch.subdir("flake")?;
    copy_flakes(world, &dir)?;
    let here = |words: &str| {
        let words = flake_words(&dir.display().to_string(), words);
        let features = ["--extra-experimental-features", "nix-command flakes"];
        let mut nix = world.nix.command("nix", features);
        nix.args(words.split(' '));
        nix
    };
    outputs(here)?;
    if crate::install::is_root() {
        let debian = world.newer_nix()?;
        copy_flakes(world, &debian.path("/"))?;
        outputs(|words| debian.command(&format!("nix {}", flake_words("", words))))?;
    }
    Ok(())
}

fn outputs(nix: impl Fn(&str) -> Command) -> Result<()> {
    let shown = command::json(&mut nix("flake show --json"))?;
    for system in ["x86_64-linux", "aarch64-linux"] {
        for (path, name) in [
            (["packages", "nixply"], "nixply-0.1.0"),
            (["packages", "default"], "nixply-0.1.0"),
            (["packages", "image"], "nixply-plan.json"),
            (["checks", "image"], "nixply-manifest.json"),
        ] {
            let [kind, attribute] = path;
            // Newer versions say nothing of systems that this machine is not.
            let output = &shown[kind][system][attribute];
            let is_left_out = output.as_object().is_none_or(serde_json::Map::is_empty);
            ensure!(
                output["name"] == name || (is_left_out && system != this_system()),
                "{kind}.{system}.{attribute} is shown as {output}"
            );
        }
    }
    let checked = command::output(&mut nix("flake check --no-build"))?;
    let said = String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success(), "nix flake check: {said}");
    check_warnings(&said)
}

pub(super) fn this_system() -> String {
    format!("{}-linux", std::env::consts::ARCH)
}

/// The packages of the stub.
fn stub_packages(world: &World) -> String {
    json!({ "nixply": world.nix_half.nixply, "bash": world.shell.root }).to_string()
}

/// `nix WORDS` on flakes in `dir` that nobody only looks at: the stub has the nixply of this run, and a shell.
pub(super) fn in_use(world: &World, dir: &Path, words: &[&str]) -> Command {
    let features = ["--extra-experimental-features", "nix-command flakes"];
    let mut nix = world.nix.command("nix", features);
    nix.args(words)
        .env("NIXPKGS_STUB", stub_packages(world))
        .env("NIXPLY_CACHE_DIR", dir.join("cache"))
        .current_dir(dir);
    nix
}

/// The example of README.md in a flake is an image, and without `pkgs` Nix says what is missing.
pub(super) fn asks_for_pkgs(world: &World) -> Result<()> {
    let dir = world.scratch.subdir("readme")?;
    copy_flakes(world, &dir)?;
    let readme = fs::read_to_string(world.root.join("README.md"))?;
    let mut examples = blocks(&readme, "nix flake package");
    let example = examples.pop().context("README.md has no such example")?.1;
    let at = |name: &str| format!("path:{}", dir.join(name).display());
    let evaluate = |name: &str, package: &str| -> Result<std::process::Output> {
        let flake = format!(
            "{{ inputs.nixpkgs.url = \"{nixpkgs}\"; inputs.nixply.url = \"{nixply}\"; \
             inputs.nixply.inputs.nixpkgs.follows = \"nixpkgs\"; \
             outputs = {{ self, nixpkgs, nixply }}: let pkgs = nixpkgs.legacyPackages.{system}; in \
             {{ packages.{system}.app = {package}; }}; }}",
            nixpkgs = at("nixpkgs-stub"),
            nixply = at("nixply-flake"),
            system = this_system(),
        );
        fs::create_dir_all(dir.join(name))?;
        fs::write(dir.join(name).join("flake.nix"), flake)?;
        let installable = format!("path:./{name}#app.name");
        command::output(&mut in_use(
            world,
            &dir,
            &["eval", "--impure", &installable],
        ))
    };
    let ended = evaluate("whole", &example)?;
    ensure!(
        ended.status.success() && ended.stdout == b"\"app-plan.json\"\n",
        "README.md's example: {ended:?}"
    );
    let without = example.replace("inherit pkgs;", "");
    let ended = evaluate("without", &without)?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        said.contains("nixply.lib.buildImage: argument `pkgs` is missing")
            && said.contains("`nixply.lib.buildImage { inherit pkgs; … }`"),
        "without `pkgs`: {said}"
    );
    let ended = evaluate("moved", "nixply.lib.buildLayer { deps = [ ]; }")?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        said.contains("nixply.lib.buildLayer: nixply has no such function"),
        "buildLayer: {said}"
    );
    Ok(())
}

pub(super) fn run_push(world: &World) -> Result<()> {
    let dir = world.scratch.subdir("project")?;
    copy_flakes(world, &dir)?;
    let document = fs::read_to_string(world.root.join("docs/nix.md"))?;
    let documented = blocks(&document, "nix flake").pop().context("no flake")?.1;
    let at = |name: &str| format!("path:{}", dir.join(name).display());
    for (name, flake) in [("documented", documented.as_str()), ("overlaid", OVERLAID)] {
        let flake = flake
            .replace("github:NixOS/nixpkgs/nixos-unstable", &at("nixpkgs-stub"))
            .replace("github:acme/nixply", &at("nixply-flake"))
            .replace("x86_64-linux", &this_system());
        fs::create_dir_all(dir.join(name))?;
        fs::write(dir.join(name).join("flake.nix"), flake)?;
    }
    let nix = |words: &[&str]| in_use(world, &dir, words);
    let build = |installable: &str| -> Result<PathBuf> {
        let link = dir.join("result");
        let mut build = nix(&["build", "--impure", &format!("path:{installable}"), "-o"]);
        command::stdout(build.arg(&link))?;
        link.canonicalize().context("no result")
    };
    ensure!(
        build("./documented#app")? == build("./overlaid#app")?,
        "the overlay makes another image than the functions"
    );

    let reference = world.reference("from-a-flake:v1")?;
    let push = || {
        let words = [
            "run",
            "--impure",
            "path:./documented#app.push",
            "--",
            &reference,
            "--json",
        ];
        pushed(&mut nix(&words))
    };
    let first = push()?;
    let second = push()?;
    ensure!(first["layer_bytes_sent"] != 0, "nothing was sent: {first}");
    ensure!(
        second["layer_bytes_sent"] == 0 && second["digest"] == first["digest"],
        "the second push sent {second}"
    );
    let manifest = build("./documented#app.manifest")?;
    let printed = command::text(command("sha256sum", ["--"]).arg(manifest))?;
    let digest = printed.split(' ').next().unwrap_or_default();
    ensure!(
        first["digest"] == format!("sha256:{digest}"),
        "pushed as {}, but the manifest in the store has {digest}",
        first["digest"]
    );

    // The command itself takes the installable, and what is built of `push`, for the same image.
    let impure = dir.join("impure");
    fs::create_dir_all(&impure)?;
    fs::write(impure.join("nix"), IMPURE_NIX)?;
    fs::set_permissions(impure.join("nix"), Permissions::from_mode(0o755))?;
    let search = std::env::var("PATH")?;
    let program = build("./documented#app.push")?.display().to_string();
    for image in ["path:./documented#app", &program] {
        let mut push = world.nixply.command(["push", image, &reference, "--json"]);
        push.env("NIXPKGS_STUB", stub_packages(world))
            .env("PATH", format!("{}:{search}", impure.display()))
            .env("OUTER_PATH", &search)
            .current_dir(&dir);
        let again = pushed(&mut push)?;
        ensure!(
            again["digest"] == first["digest"] && again["layer_bytes_sent"] == 0,
            "of {image}, nixply push pushed {again}"
        );
    }
    let archive = build("./documented#app.archive")?;
    let refused =
        command::output(&mut world.nixply.command(["plan".as_ref(), archive.as_os_str()]))?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(3) && said.contains("is an image that exists already"),
        "of an archive in the store, nixply plan says {said}"
    );
    Ok(())
}

/// `nix` as `nixply` calls it; the stub of nixpkgs reads the environment.
const IMPURE_NIX: &str = "#!/bin/sh\nPATH=$OUTER_PATH exec nix \"$@\" --impure\n";
