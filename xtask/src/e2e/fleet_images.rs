//! The two images of a fleet, a development container and a production container, by `mkFleet` of debnix packages: run as
//! their users, pushed twice, and opened as the devcontainer CLI opens them.

use super::World;
use super::flake::{copy_flakes, in_use, this_system};
use super::nix_half::NixHalf;
use crate::command::{command, json, output, text};
use crate::debnix::{self, Environment};
use crate::fleet::with_shell;
use crate::install;
use crate::nixply::pushed;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

/// The package sets.
const SETS: [Environment; 3] = [
    Environment {
        name: "base",
        packages: with_shell!["gawk", "tar", "gzip"],
    },
    Environment {
        name: "tools",
        packages: &[
            "git",
            "jq",
            "nodejs",
            // Node reads these from /usr/share/nodejs.
            "node-acorn",
            "node-cjs-module-lexer",
            "node-undici",
            "python3",
            "nix-bin",
            "direnv",
            "less",
            "nano",
            "tzdata",
        ],
    },
    // What `mkFleet` takes from its package collection.
    Environment {
        name: "collection",
        packages: &["sudo", "libpam-modules", "ca-certificates", "libstdc++6"],
    },
];

/// The fleet. Debian's programs look for their own files below `/usr`, and its sudo was built with PAM.
const FLEET: &str = r#"(let
  inherit (debnix) units;
  triple = builtins.replaceStrings [ "-linux" ] [ "-linux-gnu" ] builtins.currentSystem;
  libraries = package: "${package}/lib/${triple}";
in
nixply.lib.mkFleet {
  packageSets = {
    base = debnix.environments.base.paths;
    tools = debnix.environments.tools.paths;
  };
  pkgs = { bashInteractive = units.bash; inherit (units) coreutils sudo glibc tzdata; };
  caCertificates = "${units.ca-certificates}/share/ca-certificates/mozilla/ISRG_Root_X1.crt";
  pamModules = "${libraries units.libpam-modules}/security";
  loader = "${libraries units.glibc}/ld-linux-${builtins.replaceStrings [ "x86_64-linux" "aarch64-linux" ] [ "x86-64.so.2" "aarch64.so.1" ] builtins.currentSystem}";
  libraryPath = [ (libraries units.glibc) (libraries units."libstdc++6") ];
  extraRoot.links = { "/usr/lib" = "/lib"; "/usr/share" = "/share"; "/usr/libexec" = "/libexec"; };
})"#;

/// With a sudo among the packages, which must not get in the way of the one that works: its plugins are found below `/usr`.
const DEVCONTAINER: &str = r#".mkDevContainer { sets = [ "base" "tools" ]; packages = [ debnix.units.sudo debnix.units.tzdata ];
  env.PYTHONDONTWRITEBYTECODE = "1"; }"#;

const RUNTIME: &str = r#".mkRuntime { sets = [ "base" ]; extraConfig.Cmd = [ "/bin/id" "-u" ]; }"#;

/// A fleet and its two images.
pub(super) struct Fleet {
    half: NixHalf,
    work_dir: PathBuf,
}

impl Fleet {
    pub(super) fn new(world: &World, name: &str) -> Result<Fleet> {
        let work_dir = world.scratch.subdir(name)?;
        debnix::build(&world.nix, &world.fixture_dir, &work_dir, &[], &SETS)?;
        let half = NixHalf::new(&world.root, &world.nix, &world.nixply, &work_dir)?;
        Ok(Fleet { half, work_dir })
    }

    /// Builds an attribute of the fleet.
    pub(super) fn build(&self, attribute: &str) -> Result<PathBuf> {
        self.half.build(&format!("{FLEET}{attribute}"))
    }

    /// What Nix says of an attribute of the fleet that cannot be built.
    pub(super) fn refused(&self, attribute: &str) -> Result<String> {
        self.half.refused(&Fleet::image(attribute))
    }

    /// `image` with the fleet before it, as an expression of its own.
    fn image(image: &str) -> String {
        format!("({FLEET}{image})")
    }
}

/// Runs a script in an image as the image's user.
fn sh(world: &World, image: &str, script: &str) -> Result<String> {
    text(world.docker()?.run(image).args(["/bin/sh", "-euc", script]))
}

fn load(world: &World, fleet: &Fleet, image: &str, name: &str) -> Result<()> {
    let program = fleet.half.build(&format!("{}.load", Fleet::image(image)))?;
    let mut load = command(program.join("bin").join(format!("load-{name}")), [""; 0]);
    load.env("DOCKER_HOST", world.docker()?.host());
    text(&mut load).map(drop)
}

pub(super) fn devcontainer(world: &World) -> Result<()> {
    let fleet = Fleet::new(world, "devcontainer")?;
    load(world, &fleet, DEVCONTAINER, "devcontainer")?;
    let image = "devcontainer:latest";
    for (script, expected) in [
        ("id -un; id -u; pwd", "vscode\n1000\n/workspace"),
        ("sudo -n id -u", "0"),
        (
            "sudo -n cat /etc/sudoers.d/vscode",
            "vscode ALL=(ALL:ALL) NOPASSWD:ALL",
        ),
        ("head -n 1 /etc/os-release", "ID=nixos"),
        (
            "touch /workspace/x ~/y /tmp/z; stat -c %U:%a ~ /tmp",
            "vscode:755\nroot:1777",
        ),
        (
            "echo '{\"a\":6}' | jq .a; node -p '6 * 7'; python3 -c 'import ssl; print(7)'",
            "6\n42\n7",
        ),
        (
            "git init -q repo; cd repo; git status -s; direnv version | cut -c1-2",
            "2.",
        ),
        ("bash -ic 'type -t _direnv_hook' 2> /dev/null", "function"),
        // A login shell, without what is inherited.
        (
            "env -i HOME=$HOME PATH=$PATH bash -lic 'type -t _direnv_hook; echo $EDITOR; git var GIT_PAGER' 2> /dev/null",
            "function\nnano\nless",
        ),
        (
            "echo $LANG; TZ=Asia/Tokyo date -d @0 +%H:%M",
            "C.UTF-8\n09:00",
        ),
        (
            "python3 -c 'import zoneinfo; print(zoneinfo.ZoneInfo(\"Asia/Tokyo\"))'; test -e $TZDIR/Asia/Tokyo",
            "Asia/Tokyo",
        ),
        (
            "p=$(nix-build --no-out-link -E 'derivation { name = \"built\"; system = builtins.currentSystem; \
               builder = \"/bin/sh\"; args = [ \"-c\" \"echo built > $out\" ]; }'); cat $p",
            "built",
        ),
        (
            "nix-store --verify --check-contents 2>&1 | grep -vE '^(reading|checking)' || echo intact",
            "intact",
        ),
        // What the image was made of is no garbage.
        (
            "nix-store --gc > /dev/null 2>&1; nix-store --verify --check-contents; git --version | cut -c1-3",
            "git",
        ),
    ] {
        let found = sh(world, image, script)?;
        ensure!(
            found == expected,
            "`{script}` printed {found:?}, expected {expected:?}"
        );
    }
    let labels = text(&mut world.docker()?.command([
        "inspect",
        "--format",
        "{{json .Config.Labels}}",
        image,
    ]))?;
    ensure!(labels.contains("remoteUser"), "the labels are {labels}");
    verify_store(
        world,
        &fleet
            .half
            .build(&format!("{}.plan", Fleet::image(DEVCONTAINER)))?,
    )
}

pub(super) fn runtime(world: &World) -> Result<()> {
    let fleet = Fleet::new(world, "runtime")?;
    load(world, &fleet, RUNTIME, "runtime")?;
    let image = "runtime:latest";
    let printed = text(&mut world.docker()?.run(image))?;
    ensure!(printed == "1000", "the command printed {printed:?}");
    for (script, expected) in [
        ("id -un; pwd; echo $HOME", "app\n/app\n/app"),
        ("touch /app/x; test ! -w /etc/passwd; echo kept", "kept"),
        (
            "find / -xdev -perm /6000 -type f 2> /dev/null || true; command -v sudo su doas || echo none",
            "none",
        ),
        ("test ! -e /nix/var/nix/db || echo database", ""),
        ("echo ${LD_LIBRARY_PATH-none} $LANG", "none C.UTF-8"),
    ] {
        let found = sh(world, image, script)?;
        ensure!(
            found == expected,
            "`{script}` printed {found:?}, expected {expected:?}"
        );
    }
    Ok(())
}

/// The fleet as a flake, with both images.
fn flake(world: &World, fleet: &Fleet) -> Result<()> {
    copy_flakes(world, &fleet.work_dir)?;
    let at = |name: &str| format!("path:{}", fleet.work_dir.join(name).display());
    let (nixpkgs, nixply, system) = (at("nixpkgs-stub"), at("nixply-flake"), this_system());
    let flake = format!(
        r#"{{
  inputs.nixpkgs.url = "{nixpkgs}";
  inputs.nixply.url = "{nixply}";
  inputs.nixply.inputs.nixpkgs.follows = "nixpkgs";

  outputs = {{ self, nixpkgs, nixply }}@inputs:
    let
      debnix = import {fixture} {{ lock = {lock}; }};
      nixply = inputs.nixply.lib.withPkgs nixpkgs.legacyPackages.{system};
      fleet = {FLEET};
    in
    {{
      packages.{system} = {{
        devcontainer = fleet{DEVCONTAINER};
        runtime = fleet{RUNTIME};
      }};
    }};
}}
"#,
        fixture = world.fixture_dir.join("debnix.nix").display(),
        lock = fleet.work_dir.join("lock.json").display(),
    );
    let dir = fleet.work_dir.join("flake");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("flake.nix"), flake).context("cannot write the flake")
}

pub(super) fn of_root(world: &World) -> Result<()> {
    let fleet = Fleet::new(world, "fleet-root")?;
    let image = ".mkDevContainer { sets = [ \"base\" ]; packages = [ debnix.units.sudo ]; name = \"of-root\"; user = \"root\"; \
        extraConfig.Env = [ \"HOME=/root\" \"PATH=/usr/local/bin:/bin\" ]; }";
    load(world, &fleet, image, "of-root")?;
    for (script, expected) in [
        (
            "id -un; id -u; pwd; echo ~root",
            "root\n0\n/workspace\n/root",
        ),
        ("grep -c . /etc/passwd; grep -c :0: /etc/passwd", "1\n1"),
        (
            "stat -c '%a %U' /root /root/.config /nix/store",
            "700 root\n755 root\n755 root",
        ),
        (
            "sudo -n id -u; test ! -e /home && test ! -e /etc/sudoers.d/root",
            "0",
        ),
    ] {
        let found = sh(world, "of-root:latest", script)?;
        ensure!(
            found == expected,
            "`{script}` printed {found:?}, expected {expected:?}"
        );
    }
    let refused = fleet
        .half
        .refused(&Fleet::image(".mkRuntime { user = \"root\"; }"))?;
    ensure!(
        refused.contains("mkRuntime: argument `user` is `root`, expected another user"),
        "a production container of root is refused with\n{refused}"
    );
    Ok(())
}

pub(super) fn pushes(world: &World) -> Result<()> {
    let fleet = Fleet::new(world, "fleet-pushes")?;
    flake(world, &fleet)?;
    let registry = (world.registry.as_ref()).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    for (image, attribute) in [("devcontainer", DEVCONTAINER), ("runtime", RUNTIME)] {
        let reference = world.reference(&format!("fleet/{image}:v1"))?;
        let program = format!("path:./flake#{image}.push");
        let push = || {
            let words = ["run", "--impure", &program, "--", &reference, "--json"];
            pushed(&mut in_use(world, &fleet.work_dir, &words))
        };
        let first = push()?;
        ensure!(
            first["unchanged"] == false && first["layer_bytes_sent"] != 0,
            "{image} was there before: {first}"
        );
        // Neither does this machine remember anything the second time.
        fs::remove_dir_all(fleet.work_dir.join("cache"))?;
        let before = registry.log_from(0)?.len();
        let second = push()?;
        ensure!(
            second["unchanged"] == true && second["layer_bytes_sent"] == 0,
            "the second push of {image} sent something: {second}"
        );
        ensure!(first["digest"] == second["digest"], "{first} {second}");
        let log = registry.log_from(before)?;
        let writes = ["POST", "PATCH", "PUT"].map(|method| format!("\"{method} /v2/"));
        let written = (log.lines()).find(|line| writes.iter().any(|write| line.contains(write)));
        ensure!(
            log.contains("/v2/") && written.is_none(),
            "the second push of {image} asked for {written:?}"
        );
        let manifest = format!("{}.manifest", Fleet::image(attribute));
        let manifest = text(command("sha256sum", ["--"]).arg(fleet.half.build(&manifest)?))?;
        ensure!(
            manifest.starts_with(
                first["digest"]
                    .as_str()
                    .unwrap_or("?")
                    .trim_start_matches("sha256:")
            ),
            "{image} was pushed as {}, and its manifest is {manifest}",
            first["digest"]
        );
    }
    let catalog = fs::read(fleet.build(".catalog")?)?;
    let catalog: serde_json::Value = serde_json::from_slice(&catalog)?;
    ensure!(
        catalog["schema"] == "nixply.catalog/1",
        "this is no catalog: {catalog}"
    );
    Ok(())
}

pub(super) fn devcontainer_up(world: &World) -> Result<()> {
    let fleet = Fleet::new(world, "devcontainer-up")?;
    load(world, &fleet, DEVCONTAINER, "devcontainer")?;
    let workspace = fleet.work_dir.join("project");
    fs::create_dir_all(workspace.join(".devcontainer"))?;
    // The container's user is the owner of what is mounted, as on a developer's machine.
    chown(&workspace, Some(1000), Some(1000))?;
    // The template's settings, with this image; what it starts has to succeed.
    let template = world.root.join("nix/templates/project");
    let settings = fs::read(template.join(".devcontainer/devcontainer.json"))?;
    let mut settings: serde_json::Value = serde_json::from_slice(&settings)?;
    let started = format!(
        "{} && id -un > started",
        settings["postStartCommand"]
            .as_str()
            .context("no command")?
    );
    settings["image"] = "devcontainer:latest".into();
    settings["postStartCommand"] = started.into();
    settings["updateRemoteUserUID"] = false.into();
    settings["runArgs"] = serde_json::json!(["--network=none"]);
    fs::copy(template.join(".envrc"), workspace.join(".envrc"))?;
    fs::write(
        workspace.join(".devcontainer/devcontainer.json"),
        settings.to_string(),
    )?;
    let docker = world.docker()?;
    let mut up = command(install::npm_program("devcontainer")?, ["up"]);
    up.arg("--workspace-folder").arg(&workspace);
    let told = json(up.env("DOCKER_HOST", docker.host()))?;
    let container = told["containerId"]
        .as_str()
        .with_context(|| format!("devcontainer up said {told}"))?;
    ensure!(
        told["outcome"] == "success" && told["remoteUser"] == "vscode",
        "devcontainer up said {told}"
    );
    let started = fs::read_to_string(workspace.join("started"));
    text(&mut docker.command(["rm", "--force", container]))?;
    ensure!(
        started.as_deref().is_ok_and(|text| text == "vscode\n"),
        "postStartCommand left {started:?}"
    );
    Ok(())
}

/// What the documentation takes for nixpkgs, under nixpkgs' names and with its directories.
const PACKAGES: &str = r#"let
  inherit (debnix) units;
  triple = builtins.replaceStrings [ "-linux" ] [ "-linux-gnu" ] builtins.currentSystem;
  run = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/usr/bin:/bin";
    args = [ "-c" script ];
  };
  flat = name: package: run name "mkdir -p $out/lib && ln -s ${package}/lib/${triple}/* $out/lib/";
  pkgs = {
    inherit (units) coreutils git jq python3 direnv;
    bashInteractive = units.bash;
    nix = units.nix-bin;
    glibc = flat "glibc" units.glibc;
    stdenv = {
      hostPlatform.system = builtins.currentSystem;
      cc.cc.lib = flat "gcc-lib" units."libstdc++6";
    };
    sudo = units.sudo // { override = { pam }: units.sudo; };
    cacert = run "cacert" "mkdir -p $out/etc/ssl/certs && echo none > $out/etc/ssl/certs/ca-bundle.crt";
  };
in "#;

pub(super) fn documentation(world: &World) -> Result<()> {
    let fleet = Fleet::new(world, "fleet-documentation")?;
    let document = fs::read_to_string(world.root.join("docs/fleet.md"))?;
    let blocks: Vec<&str> = document
        .split("```nix\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [devcontainer, runtime] = blocks[..] else {
        anyhow::bail!("there are {} examples", blocks.len());
    };
    let plan = |block: &str| -> Result<serde_json::Value> {
        let plan = fleet.half.build(&format!("{PACKAGES}({block})"))?;
        let plan: serde_json::Value = serde_json::from_slice(&fs::read(plan)?)?;
        ensure!(plan["schema"] == "nixply.plan/1", "{block} made {plan}");
        Ok(plan)
    };
    plan(runtime)?;
    // The catalog as it is made, and committed.
    let (bindings, _) = devcontainer.rsplit_once("in\n").context("no bindings")?;
    let catalog = format!("{PACKAGES}({bindings}in fleet.catalog)");
    let committed = fleet.work_dir.join("catalog.json");
    fs::copy(fleet.half.build(&catalog)?, &committed)?;
    let with = |argument: &str| {
        plan(&devcontainer.replace("inherit pkgs;", &format!("inherit pkgs; {argument}")))
    };
    let made = plan(devcontainer)?;
    let given = with(&format!("catalog = {};", committed.display()))?;
    let without = with("catalog = false;")?;
    ensure!(
        without["packer"]["name"] == "solo",
        "without a catalog the packer is {}",
        without["packer"]
    );
    ensure!(
        made["layers"] == given["layers"] && made["packer"]["name"] == "fleet",
        "the catalog is another one as a file: {} and {}",
        made["packer"],
        given["packer"]
    );
    for (wrong, told) in [
        (
            "{ packagesets = { }; }",
            "there is no argument `packagesets`; did you mean `packageSets`?",
        ),
        (
            "{ packageSets = { }; compression = 3; }).mkRuntime { }",
            "argument `compression` is an integer",
        ),
        (
            "{ packageSets.base = [ ]; }).mkRuntime { sets = [ \"bsae\" ]; }",
            "there is no package set `bsae`; did you mean `base`?",
        ),
        (
            "{ packageSets.base = [ ]; }).catalog",
            "no package set has a package in it",
        ),
        (
            "{ packageSets = { }; }).mkDevContainer { workdir = \"/\"; }",
            "mkDevContainer: there is no argument `workdir`",
        ),
    ] {
        let close = if wrong.contains(')') { "" } else { ")" };
        let refused = fleet.half.refused(&format!(
            "{PACKAGES} ((x: nixply.lib.mkFleet ({{ inherit pkgs; }} // x)) {wrong}{close}"
        ))?;
        ensure!(refused.contains(told), "{wrong}: {refused}");
    }
    Ok(())
}

/// The store of this machine is what it was: containers got copies.
fn verify_store(world: &World, plan: &Path) -> Result<()> {
    let paths = world.nix.closure_paths(plan)?;
    let verified = output(
        world
            .nix
            .command("nix-store", ["--verify-path"])
            .args(&paths),
    )?;
    ensure!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    Ok(())
}
