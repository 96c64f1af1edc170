//! More of what nixpkgs asserts of its dockerTools in `nixos/tests/docker-tools.nix`; `counterparts.rs` says which case is where.

use super::World;
use super::docker_tools::{inspect, layered, layers, load, run, same};
use super::nix_half::NixHalf;
use crate::command::{self, text};
use crate::debnix::{self, Environment};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// What every image has that says nothing else: one second after 1970 began.
const SECOND_1: &str = "1970-01-01T00:00:01Z";

pub(super) fn dates(world: &World) -> Result<()> {
    load(world, &layered("nixply.test/stable", ""))?;
    let created = |name: &str| Ok::<_, anyhow::Error>(inspect(world, name)?["Created"].clone());
    let stable = created("nixply.test/stable:v1")?;
    same("the date by default", &stable, &Value::from(SECOND_1))?;
    load(world, &layered("nixply.test/now", "created = \"now\";"))?;
    let now = created("nixply.test/now:v1")?;
    let now = now.as_str().context("no date")?;
    ensure!(now > "2024", "created `now` is {now}");
    // Only the config is another one.
    same(
        "the layers of another date",
        &layers(world, "nixply.test/now:v1")?,
        &layers(world, "nixply.test/stable:v1")?,
    )
}

pub(super) fn mounted_store(world: &World) -> Result<()> {
    let image = layered("nixply.test/mounted", "includeStorePaths = false;");
    load(world, &image)?;
    let mounted = [
        "run",
        "--rm",
        "--network=none",
        "--volume=/nix/store:/nix/store:ro",
        "nixply.test/mounted:v1",
        "bash",
        "-c",
        "echo here",
    ];
    let printed = text(&mut world.docker()?.command(mounted))?;
    same("with the store", &printed, &"here".to_owned())
}

pub(super) fn layer_limits(world: &World) -> Result<()> {
    let two = layered("nixply.test/two", "maxLayers = 2;");
    load(world, &two)?;
    same(
        "layers of two",
        &layers(world, "nixply.test/two:v1")?.len(),
        &2,
    )?;
    let here = ["bash", "-c", "echo here"];
    same(
        "two layers",
        &run(world, "nixply.test/two:v1", &here)?,
        &"here".to_owned(),
    )?;

    // A base, its layers counted, and all store paths are there.
    let on_two = format!(
        "(dockerTools.buildLayeredImage {{
            name = \"nixply.test/four\"; tag = \"v1\"; fromImage = {two}; maxLayers = 4;
            contents = [ debnix.environments.python ]; config.Env = [ \"PATH=/bin\" ];
        }})"
    );
    load(world, &on_two)?;
    same(
        "layers of four",
        &layers(world, "nixply.test/four:v1")?.len(),
        &4,
    )?;
    let python = ["python3", "-c", "import ssl; print(ssl.__name__)"];
    same(
        "bulk",
        &run(world, "nixply.test/four:v1", &python)?,
        &"ssl".to_owned(),
    )?;

    // One on another on another: what is higher wins, and each variable stands once.
    let stacked = |number: u32, base: &str| {
        format!(
            "(dockerTools.buildLayeredImage {{
                name = \"nixply.test/stack{number}\"; tag = \"v1\"; {base}
                config.Env = [ \"PATH=/bin\" \"LAST=layer{number}\" \"LAYER{number}=true\" ];
                extraCommands = ''
                  mkdir -p tmp
                  echo layer{number} > tmp/last
                  echo layer{number} > tmp/layer{number}
                '';
            }})"
        )
    };
    let first = stacked(
        1,
        "contents = [ debnix.units.bash debnix.units.coreutils ];",
    );
    let second = stacked(2, &format!("fromImage = {first};"));
    let third = stacked(3, &format!("fromImage = {second};"));
    load(world, &third)?;
    let script = "cat /tmp/layer1 /tmp/layer2 /tmp/layer3 /tmp/last; echo $LAYER1 $LAYER2 $LAYER3";
    same(
        "three on each other",
        &run(world, "nixply.test/stack3:v1", &["bash", "-c", script])?,
        &"layer1\nlayer2\nlayer3\nlayer3\ntrue true true".to_owned(),
    )?;
    let config = inspect(world, "nixply.test/stack3:v1")?;
    let env = config["Config"]["Env"]
        .as_array()
        .context("no environment")?;
    let last: Vec<&Value> = (env.iter())
        .filter(|entry| {
            entry
                .as_str()
                .is_some_and(|entry| entry.starts_with("LAST="))
        })
        .collect();
    same("the last value", &last, &vec![&Value::from("LAST=layer3")])?;

    // nixply's own function stands on such an image, too.
    let own = format!(
        "(nixply.lib.buildImage {{ name = \"nixply.test/own\"; tag = \"v1\"; fromImage = {first}; }}).archive"
    );
    load(world, &own)?;
    let printed = run(
        world,
        "nixply.test/own:v1",
        &["bash", "-c", "cat /tmp/last"],
    )?;
    same("on a layered image", &printed, &"layer1".to_owned())
}

pub(super) fn without_store_paths(world: &World) -> Result<()> {
    let image = "(dockerTools.buildLayeredImage {
        name = \"nixply.test/no-store\"; tag = \"v1\"; extraCommands = \"echo here > file\"; config.Cmd = [ \"/file\" ];
    })";
    load(world, image)?;
    let docker = world.docker()?;
    let container = text(&mut docker.command(["create", "nixply.test/no-store:v1"]))?;
    let mut list = Command::new("tar");
    let tar = world.scratch.dir().join("no-store.tar");
    fs::write(
        &tar,
        command::stdout(&mut docker.command(["export", &container]))?,
    )?;
    let listed = text(list.arg("-tf").arg(&tar))?;
    text(&mut docker.command(["rm", &container]))?;
    ensure!(
        listed.lines().any(|name| name == "file")
            && !listed.lines().any(|name| name.starts_with("nix")),
        "the container has {listed}"
    );
    Ok(())
}

pub(super) fn store_symlink(world: &World) -> Result<()> {
    let link = "(pkgs.runCommand \"link\" { } \"ln -s ${debnix.units.coreutils} $out\")";
    for (kind, arguments) in [("own", ""), ("exact", "exact = true;")] {
        let name = format!("nixply.test/link-{kind}");
        let image = format!(
            "(dockerTools.buildLayeredImage {{
                name = \"{name}\"; tag = \"v1\"; contents = [ debnix.units.bash {link} ]; {arguments}
                config.Env = [ \"PATH=/bin\" \"LINK=${{{link}}}\" ];
            }})"
        );
        load(world, &image)?;
        let script = "test -L $LINK && test -x $LINK/bin/ls && readlink $LINK";
        let target = run(world, &format!("{name}:v1"), &["bash", "-c", script])?;
        let coreutils = world.nix_half.build("debnix.units.coreutils")?;
        same(
            "where the store path leads",
            &target,
            &coreutils.display().to_string(),
        )?;
    }
    Ok(())
}

const WITH_NIX: [Environment; 1] = [Environment {
    name: "with-nix",
    packages: &["bash", "coreutils", "nix-bin"],
}];

pub(super) fn nix_database(world: &World) -> Result<()> {
    let work_dir = world.scratch.subdir("docker-tools-nix")?;
    debnix::build(&world.nix, &world.fixture_dir, &work_dir, &[], &WITH_NIX)?;
    let half = NixHalf::new(&world.root, &world.nix, &world.nixply, &work_dir)?;
    let text_file = "(pkgs.runCommand \"data\" { } \"echo some data > $out\")";
    let image = format!(
        "(dockerTools.buildLayeredImageWithNixDb {{
            name = \"nixply.test/nix\"; tag = \"v1\"; contents = debnix.environments.with-nix.paths;
            config.Env = [ \"PATH=/bin\" \"USER=root\" \"HOME=/\" \"NIX_PAGER=cat\" \"DATA=${{{text_file}}}\" ];
        }})"
    );
    let archive = half.build(&image)?;
    text(
        world
            .docker()?
            .command(["load", "--quiet", "--input"])
            .arg(&archive),
    )?;
    let in_container = |script: &str| run(world, "nixply.test/nix:v1", &["bash", "-c", script]);
    let nix = half.build("debnix.units.nix-bin")?;
    let expected = world.nix.closure_paths(&nix)?;
    let found = in_container(&format!("nix-store -qR {}", nix.display()))?;
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let mut known: Vec<String> = expected
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    known.sort_unstable();
    same(
        "the closure of Nix, by Nix in the container",
        &found,
        &known.iter().map(String::as_str).collect(),
    )?;
    // What the config names is registered, too, and every byte is as Nix knows it.
    same(
        "a text of the config",
        &in_container("nix-store -qR $DATA > /dev/null; cat $DATA")?,
        &"some data".to_owned(),
    )?;
    let verified =
        "nix-store --verify --check-contents 2>&1 | grep -vE '^(reading|checking)' || echo intact";
    same("the store", &in_container(verified)?, &"intact".to_owned())?;
    let links = format!("readlink {}/bin/nix-daemon", nix.display());
    same(
        "a link inside a store path",
        &in_container(&links)?,
        &"nix".to_owned(),
    )?;
    let modes = "stat -c '%a %u' /nix /nix/store $DATA";
    same(
        "modes",
        &in_container(modes)?,
        &"755 0\n755 0\n444 0".to_owned(),
    )
}

pub(super) fn merged(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let tagged = layered(
        "nixply.test/merged-a",
        "config = { Env = [ \"PATH=/bin\" \"NAME=a\" ]; };",
    );
    let untagged = layered(
        "nixply.test/merged-b",
        "tag = null; config = { Env = [ \"PATH=/bin\" \"NAME=b\" ]; };",
    );
    let streamed = "(dockerTools.streamLayeredImage {
        name = \"nixply.test/merged-c\"; tag = \"v1\"; contents = [ debnix.units.bash debnix.units.coreutils ];
        config.Env = [ \"PATH=/bin\" \"NAME=c\" ];
        fakeRootCommands = \"mkdir -p home/jane; chown 1000 home/jane\";
    })";
    let own = "(nixply.lib.buildImage {
        name = \"nixply.test/merged-d\"; tag = \"v1\"; contents = [ debnix.units.bash debnix.units.coreutils ];
        config.Env = [ \"PATH=/bin\" \"NAME=d\" ];
    })";
    let archive = load(
        world,
        &format!("(dockerTools.mergeImages [ {tagged} {untagged} {streamed} {own} ])"),
    )?;
    let tag = half.eval(&format!("{untagged}.imageTag"))?;
    let tag = tag.as_str().context("no tag")?.to_owned();
    for (letter, tag) in [("a", "v1"), ("b", tag.as_str()), ("c", "v1"), ("d", "v1")] {
        let reference = format!("nixply.test/merged-{letter}:{tag}");
        let printed = run(world, &reference, &["bash", "-c", "echo $NAME"])?;
        same("a merged image", &printed, &letter.to_owned())?;
    }
    // Owners are as they were, and what images share stands once.
    let owner = run(
        world,
        "nixply.test/merged-c:v1",
        &["stat", "-c", "%u", "/home/jane"],
    )?;
    same("an owner", &owner, &"1000".to_owned())?;
    let one = half.build(&tagged)?;
    let (one, all) = (fs::metadata(one)?.len(), fs::metadata(archive)?.len());
    ensure!(all < 3 * one, "four images take {all} bytes, one {one}");
    let refused = half.refused(&format!(
        "(dockerTools.mergeImages [ {} ])",
        "debnix.units.bash"
    ))?;
    ensure!(refused.contains("bash"), "{refused}");
    Ok(())
}

pub(super) fn pipeline(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let steps = "[
        [ \"split_paths\" [ debnix.units.bash ] ]
        [ \"over\" \"main\" [ \"split_every\" 1 ] ]
        [ \"flatten\" ]
        [ \"map\" [ \"remove_paths\" [ nixply-unused ] ] ]
        [ \"limit_layers\" 3 ]
    ]";
    // A path that nobody else needs: it is not in the image for being named.
    let unused = "let nixply-unused = pkgs.runCommand \"unused\" { } \"echo unused > $out\"; in ";
    let image = format!(
        "({unused}{})",
        layered(
            "nixply.test/steps",
            &format!("exact = true; layeringPipeline = {steps};")
        )
    );
    load(world, &image)?;
    let plan: Value = serde_json::from_slice(&fs::read(half.build(&format!("{image}.conf"))?)?)?;
    ensure!(
        !plan.to_string().contains("-unused"),
        "the image has a path that only a step names"
    );
    same(
        "the packer",
        &plan["packer"]["name"],
        &Value::from("pipeline"),
    )?;
    let planned = plan["layers"].as_array().context("no layers")?;
    // Smallest first: what only bash needs, and bash.
    for (layer, name) in planned.iter().zip(["-libtinfo6-", "-bash-"]) {
        let path = layer["paths"][0]["path"].as_str().context("no path")?;
        ensure!(path.contains(name), "a layer holds {path}, expected {name}");
    }
    same("layers", &planned.len(), &4)?;
    same(
        "a container",
        &run(world, "nixply.test/steps:v1", &["bash", "-c", "echo here"])?,
        &"here".to_owned(),
    )?;
    // The same by a file.
    let file = world.scratch.dir().join("steps.json");
    fs::write(&file, half.eval(&format!("{unused}{steps}"))?.to_string())?;
    let by_file = layered(
        "nixply.test/steps",
        &format!("exact = true; layeringPipeline = {};", file.display()),
    );
    let by_file: Value =
        serde_json::from_slice(&fs::read(half.build(&format!("{by_file}.conf"))?)?)?;
    same("layers by a file", &by_file["layers"], &plan["layers"])
}

/// nixpkgs' attributes of dockerTools, and whether nixply has its own.
const ATTRIBUTES: &[(&str, bool)] = &[
    ("binSh", false),
    ("buildImage", false),
    ("buildImageWithNixDb", false),
    ("buildLayeredImage", true),
    ("buildLayeredImageWithNixDb", true),
    ("buildNixShellImage", false),
    ("caCertificates", false),
    ("examples", false),
    ("exportImage", false),
    ("fakeNss", false),
    ("mergeDrvs", false),
    ("mergeImages", true),
    ("mkPureLayer", false),
    ("mkRootLayer", false),
    ("pullImage", true),
    ("runWithOverlay", false),
    ("shadowSetup", false),
    ("shellScript", false),
    ("streamLayeredImage", true),
    ("streamNixShellImage", false),
    ("tarsum", false),
    ("tests", false),
    ("usrBinEnv", false),
];

pub(super) fn attributes(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let names: Vec<&str> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
    same(
        "the attributes",
        &half.eval("builtins.attrNames dockerTools")?,
        &Value::from(names),
    )?;
    for (name, is_own) in ATTRIBUTES {
        // As nixpkgs-like has it, every attribute of nixpkgs says its own name.
        let theirs = format!("pkgs.dockerTools.{name}");
        let is_theirs = half.eval(&format!(
            "let same = x: builtins.isAttrs x && (x.theirs or null) == \"{name}\"; in same dockerTools.{name} && same {theirs}"
        ))?;
        same(name, &is_theirs, &Value::from(!is_own))?;
    }
    // What falls through is built as it is.
    half.build("dockerTools.fakeNss")?;
    // Without nixpkgs there are nixply's own.
    let own: Vec<&str> = (ATTRIBUTES.iter())
        .filter_map(|(name, is_own)| is_own.then_some(*name))
        .collect();
    same(
        "the attributes without nixpkgs",
        &half.eval("builtins.attrNames nixply.dockerTools")?,
        &Value::from(own),
    )
}
