//! `nixply.dockerTools` in real containers: what nixpkgs asserts of its own functions in `nixos/tests/docker-tools.nix`, and what
//! nix2container asserts in `tests/default.nix`, as far as it is about images and not about those programs.

use super::World;
use crate::command::{self, output, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments that every image here has: a shell to look around with.
const SHELL: &str = "tag = \"v1\"; contents = [ debnix.units.bash debnix.units.coreutils ]; config.Env = [ \"PATH=/bin\" ];";

pub(super) fn layered(name: &str, arguments: &str) -> String {
    format!(
        "(dockerTools.buildLayeredImage ({{ {SHELL} }} // {{ name = \"{name}\"; {arguments} }}))"
    )
}

/// Builds an archive and loads it.
pub(super) fn load(world: &World, image: &str) -> Result<PathBuf> {
    let archive = world.nix_half.build(image)?;
    text(
        world
            .docker()?
            .command(["load", "--quiet", "--input"])
            .arg(&archive),
    )?;
    Ok(archive)
}

/// What a command prints in a container of an image.
pub(super) fn run(world: &World, reference: &str, command: &[&str]) -> Result<String> {
    text(world.docker()?.run(reference).args(command))
}

pub(super) fn inspect(world: &World, reference: &str) -> Result<Value> {
    let inspected: Value =
        command::json(&mut world.docker()?.command(["image", "inspect", reference]))?;
    Ok(inspected[0].clone())
}

pub(super) fn layers(world: &World, reference: &str) -> Result<Vec<String>> {
    let inspected = inspect(world, reference)?;
    let layers = inspected["RootFS"]["Layers"].as_array();
    let texts = layers.context("no layers")?.iter();
    Ok(texts.filter_map(Value::as_str).map(str::to_owned).collect())
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<()> {
    ensure!(
        found == expected,
        "{what}: found {found:?}, expected {expected:?}"
    );
    Ok(())
}

pub(super) fn archives_and_streams(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let mut images = Vec::new();
    for (compressor, magic) in [
        ("gz", &b"\x1f\x8b"[..]),
        ("zstd", b"\x28\xb5"),
        ("none", b""),
    ] {
        let image = layered(
            "nixply.test/Forms",
            &format!("compressor = \"{compressor}\";"),
        );
        let archive = half.build(&image)?;
        ensure!(
            fs::read(&archive)?.starts_with(magic),
            "{}",
            archive.display()
        );
        let name = archive.display().to_string();
        ensure!(name.contains("-Forms.tar"), "{name}");
        // Docker 20.10 reads a gzipped archive, and no zstd one.
        if compressor != "zstd" {
            load(world, &image)?;
            images.push(inspect(world, "nixply.test/forms:v1")?["Id"].clone());
        }
    }
    let stream =
        format!("(dockerTools.streamLayeredImage {{ name = \"nixply.test/Forms\"; {SHELL} }})");
    let script = half.build(&stream)?;
    for (arguments, reference) in [
        (&[][..], "nixply.test/forms:v1"),
        (
            &["--repo_tag", "localhost:5000/other:v2"],
            "localhost:5000/other:v2",
        ),
    ] {
        let archive = world.scratch.dir().join("streamed.tar");
        fs::write(
            &archive,
            command::stdout(Command::new(&script).args(arguments))?,
        )?;
        text(
            world
                .docker()?
                .command(["load", "--quiet", "--input"])
                .arg(&archive),
        )?;
        images.push(inspect(world, reference)?["Id"].clone());
    }
    ensure!(
        images.iter().all(|id| *id == images[0]),
        "not one image: {images:?}"
    );
    same(
        "passthru",
        &half.eval(&format!(
            "[ {stream}.imageName {stream}.imageTag {stream}.isExe ]"
        ))?,
        &serde_json::json!(["nixply.test/forms", "v1", true]),
    )?;

    // Without a tag, it is a hash that Nix knows.
    let untagged = layered("nixply.test/untagged", "tag = null;");
    load(world, &untagged)?;
    let tag = half.eval(&format!("{untagged}.imageTag"))?;
    let tag = tag.as_str().context("no tag")?;
    ensure!(tag.len() == 32, "{tag}");
    let printed = run(
        world,
        &format!("nixply.test/untagged:{tag}"),
        &["echo", "here"],
    )?;
    same("the container", &printed, &"here".to_owned())?;
    let script = half.build(&format!("{untagged}.stream"))?;
    let archive = world.scratch.dir().join("untagged.tar");
    fs::write(&archive, command::stdout(&mut Command::new(&script))?)?;
    let mut load = world.docker()?.command(["load", "--input"]);
    let loaded = text(load.arg(&archive))?;
    ensure!(
        loaded.ends_with(&format!("nixply.test/untagged:{tag}")),
        "docker load printed {loaded}"
    );
    Ok(())
}

pub(super) fn scripts(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let scripts = r#"
        extraCommands = "mkdir -p opt; echo made > opt/file; chmod 600 opt/file";
        fakeRootCommands = ''
            mkdir -p home/app tmp
            chmod 1777 tmp
            chown -R 1000:100 home/app
            cp ${debnix.units.coreutils}/bin/id opt/id
            chmod 4755 opt/id
        '';"#;
    let image = layered("nixply.test/scripts", scripts);
    load(world, &image)?;
    let stat = [
        "stat",
        "-c",
        "%n %a %u:%g",
        "/opt/file",
        "/home/app",
        "/tmp",
        "/opt/id",
        "/bin",
    ];
    same(
        "owners and modes",
        &run(world, "nixply.test/scripts:v1", &stat)?,
        &"/opt/file 600 0:0\n/home/app 755 1000:100\n/tmp 1777 0:0\n/opt/id 4755 0:0\n/bin 755 0:0"
            .to_owned(),
    )?;
    let as_user = text(&mut world.docker()?.command([
        "run",
        "--rm",
        "--network=none",
        "--user",
        "1000",
        "nixply.test/scripts:v1",
        "/opt/id",
        "-u",
    ]))?;
    same("the setuid program", &as_user, &"0".to_owned())?;

    // Another script, and no layer of store paths is another one.
    let other = layered(
        "nixply.test/other-scripts",
        "extraCommands = \"mkdir other\";",
    );
    load(world, &other)?;
    let (mut before, mut after) = (
        layers(world, "nixply.test/scripts:v1")?,
        layers(world, "nixply.test/other-scripts:v1")?,
    );
    ensure!(
        before.pop() != after.pop(),
        "the scripts are not in the last layer"
    );
    same("the store layers", &after, &before)?;

    // Unlike nixpkgs', they stop where a command fails.
    for argument in ["extraCommands", "fakeRootCommands"] {
        let failing = layered(
            "nixply.test/fails",
            &format!("{argument} = \"false; touch x\";"),
        );
        half.refused(&failing)?;
    }
    Ok(())
}

pub(super) fn config_and_store(world: &World) -> Result<()> {
    let image = layered(
        "nixply.test/plain",
        "created = \"2024-06-25T20:55:05+02:00\"; architecture = \"arm64\"; config = { User = \"1000\"; };",
    );
    load(world, &image)?;
    let inspected = inspect(world, "nixply.test/plain:v1")?;
    same(
        "created",
        &inspected["Created"],
        &Value::from("2024-06-25T18:55:05Z"),
    )?;
    same(
        "the architecture",
        &inspected["Architecture"],
        &Value::from("arm64"),
    )?;

    // Somebody who is not root reads the store, and links lead where they should.
    let user = layered(
        "nixply.test/user",
        "config = { User = \"1000\"; Env = [ \"PATH=/bin\" ]; };",
    );
    load(world, &user)?;
    let bash =
        "for file in /nix/store/*/bin/bash; do [ -x \"$file\" ] && readlink /bin/bash; done; id -u";
    let printed = run(world, "nixply.test/user:v1", &["bash", "-c", bash])?;
    ensure!(
        printed.starts_with("/nix/store/") && printed.ends_with("/bin/bash\n1000"),
        "{printed}"
    );

    // No store paths: no store at all.
    let without = layered("nixply.test/without", "includeStorePaths = false;");
    let archive = load(world, &without)?;
    same(
        "layers without a store",
        &layers(world, "nixply.test/without:v1")?.len(),
        &1,
    )?;
    let closure = world.nix.closure_paths(&archive)?;
    ensure!(closure.len() <= 1, "the archive refers to {closure:?}");
    let started = output(
        world
            .docker()?
            .run("nixply.test/without:v1")
            .arg("/bin/bash"),
    )?;
    ensure!(
        !started.status.success(),
        "there is a shell without a store"
    );

    // Fewer layers than store paths: none is lost.
    let few = layered("nixply.test/few", "maxLayers = 4;");
    load(world, &few)?;
    same("layers", &layers(world, "nixply.test/few:v1")?.len(), &4)?;
    let expected = world
        .nix
        .closure_paths(&world.nix_half.build("debnix.units.coreutils")?)?;
    for path in expected {
        run(
            world,
            "nixply.test/few:v1",
            &["test", "-e", &path.display().to_string()],
        )?;
    }

    // Images of the same packages have the same layers.
    let twin = layered("nixply.test/twin", "config = { Env = [ \"A=1\" ]; };");
    load(world, &twin)?;
    same(
        "a second image's layers",
        &layers(world, "nixply.test/twin:v1")?,
        &layers(world, "nixply.test/user:v1")?,
    )
}

pub(super) fn layered_on_layered(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let base = layered(
        "nixply.test/base",
        "config = { Env = [ \"PATH=/bin\" \"A=base\" \"B=base\" ]; Cmd = [ \"/bin/bash\" ]; }; extraCommands = \"echo base > base\";",
    );
    load(world, &base)?;
    let base_layers = layers(world, "nixply.test/base:v1")?;
    let on_top = format!(
        "(dockerTools.buildLayeredImage {{
            name = \"nixply.test/top\"; tag = \"v1\"; fromImage = {base}; maxLayers = {};
            config = {{ Env = [ \"B=top\" \"C=top\" ]; }}; extraCommands = \"echo top > top\";
        }})",
        base_layers.len() + 2
    );
    load(world, &on_top)?;
    let top_layers = layers(world, "nixply.test/top:v1")?;
    ensure!(
        top_layers.starts_with(&base_layers),
        "the base's layers are not the lowest"
    );
    let printed = run(
        world,
        "nixply.test/top:v1",
        &["bash", "-c", "echo $A $B $C $(cat /base /top)"],
    )?;
    same(
        "the environment",
        &printed,
        &"base top top base top".to_owned(),
    )?;
    // What the base runs is not taken over, as in nixpkgs.
    same(
        "the command",
        &inspect(world, "nixply.test/top:v1")?["Config"]["Cmd"],
        &Value::Null,
    )?;
    let no_room = format!(
        "(dockerTools.buildLayeredImage {{ name = \"x\"; fromImage = {base}; contents = [ debnix.units.bash ]; maxLayers = 2; }})"
    );
    half.refused(&no_room).map(drop)
}

pub(super) fn conf(world: &World) -> Result<()> {
    let half = &world.nix_half;
    let exact = layered(
        "nixply.test/exact",
        "exact = true; packer = \"popularity\"; uid = 1000; uname = \"joe\";",
    );
    let plan: Value = serde_json::from_slice(&fs::read(half.build(&format!("{exact}.conf"))?)?)?;
    // The conf that dockerTools would have given its script for these layers.
    let layers = plan["layers"].as_array().context("no layers")?;
    let paths = |layer: &Value| -> Vec<Value> {
        let paths = layer["paths"].as_array().into_iter().flatten();
        paths.map(|path| path["path"].clone()).collect()
    };
    let store_layers: Vec<Vec<Value>> = layers
        .iter()
        .map(paths)
        .filter(|paths| !paths.is_empty())
        .collect();
    let tar = layers
        .last()
        .and_then(|layer| layer["path"].as_str())
        .context("no tar")?;
    let conf = serde_json::json!({
        "architecture": plan["platform"]["architecture"], "os": "linux", "config": plan["config"],
        "store_dir": "/nix/store", "from_image": null, "store_layers": store_layers,
        "customisation_layer": Path::new(tar).parent(), "repo_tag": "nixply.test/exact:v1",
        "created": "1970-01-01T00:00:01+00:00", "mtime": "1970-01-01T00:00:01+00:00",
        "uid": "1000", "gid": "0", "uname": "joe", "gname": "root",
    });
    let file = world.scratch.dir().join("exact-conf.json");
    fs::write(&file, conf.to_string())?;
    let script = world.scratch.dir().join("stream-exact");
    fs::write(
        &script,
        format!("#! /bin/bash -e\nexec stream {} \"$@\"\n", file.display()),
    )?;
    for image in [&file, &script] {
        let planned: Value = command::json(world.nixply.command(["plan", "--json"]).arg(image))?;
        same(
            "the layers of the conf",
            &planned["layers"],
            &plan["layers"],
        )?;
    }
    let pushed = world
        .nixply
        .push(&script, &world.reference("exact:v1")?, &[])?;
    let again = world
        .nixply
        .push(&file, &world.reference("exact:v1")?, &[])?;
    same("the digest", &again.digest, &pushed.digest)
}

pub(super) fn arguments(world: &World) -> Result<()> {
    let half = &world.nix_half;
    for (arguments, message) in [
        (
            "content = [ ];",
            "there is no argument `content`; did you mean `contents`?",
        ),
        (
            "maxLayers = 1;",
            "argument `maxLayers` is 1, expected at least 2",
        ),
        ("mtime = \"now\";", "every layer would be new every time"),
        (
            "compressor = \"xz\";",
            "expected one of `gz`, `zstd`, `none`",
        ),
        (
            "layeringPipeline = [ [ \"reverse\" ] [ \"split_evry\" 5 ] ];",
            "layering pipeline, step 2: `split_evry` is not an operation",
        ),
    ] {
        let said = half.refused(&layered("nixply.test/refused", arguments))?;
        ensure!(said.contains(message), "{arguments}: {said}");
    }
    // What is not nixply's comes from nixpkgs, and what can be overridden can be.
    half.build("dockerTools.fakeNss")?;
    let overridden = format!(
        "{}.override {{ tag = \"v9\"; }}",
        layered("nixply.test/over", "")
    );
    same(
        "override",
        &half.eval(&format!("({overridden}).imageTag"))?,
        &Value::from("v9"),
    )?;
    // A time of files is dockerTools' business.
    let dated = layered("nixply.test/dated", "mtime = \"2024-06-25T18:55:05Z\";");
    let plan: Value = serde_json::from_slice(&fs::read(half.build(&format!("{dated}.conf"))?)?)?;
    same(
        "mtime",
        &plan["layer_format"]["mtime_secs"],
        &Value::from(1_719_341_705),
    )
}

/// The documents whose examples are built.
const DOCUMENTS: [&str; 2] = [
    "migrating-from-dockertools.md",
    "migrating-from-nix2container.md",
];

pub(super) fn documented_examples(world: &World) -> Result<()> {
    let docs = world.fixture_dir.join("../../docs");
    let mut built = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(docs.join(document))
            .with_context(|| format!("cannot read {document}"))?;
        for block in text.split("```nix\n").skip(1) {
            let example = block.split("```").next().unwrap_or_default();
            let packages = "pkgs // { inherit (debnix.units) bash coreutils; }";
            let whole = format!(
                "let example = {{ nixply, pkgs }}: {example}; in \
                 example {{ nixply = withPkgs; pkgs = {packages}; }}"
            );
            world
                .nix_half
                .build(&whole)
                .with_context(|| format!("{document}: this example is not built: {example}"))?;
            built += 1;
        }
    }
    ensure!(built >= 8, "only {built} examples were found");
    Ok(())
}
