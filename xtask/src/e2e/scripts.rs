//! `extraCommands` and `fakeRootCommands` where dockerTools would break something: over a base image that is a whole Debian, and
//! with the image's tree as their root.

use super::World;
use super::base::debian_archive;
use crate::command::{command, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A script as people write it: it uses directories that the base has otherwise, changes the contents, and has a tree of its own.
const SCRIPTS: &str = r#"
    contents = [ debnix.units.bash ];
    extraCommands = ''
        [ -L bin/bash ] || exit 1
        mkdir -p root tmp etc opt
        echo note > root/note
        echo note > tmp/note
        printf '#!/bin/bash\necho "own $0"\n' > bin/own
        chmod 755 bin/own
        ln bin/own bin/twin
    '';
    fakeRootCommands = "chown 7:8 opt; chmod 4755 bin/own";"#;

/// What a container of such an image has to print, the base's own programs being those that print it.
const CHECK: &str = "readlink /bin; /bin/own; /usr/bin/own; \
    stat -c '%n %a %u:%g' /usr/bin /tmp /root /opt /bin/own; cat /root/note /tmp/note; [ -e /etc/debian_version ]";
const CHECKED: &str = "usr/bin\nown /bin/own\nown /usr/bin/own\n\
    /usr/bin 755 0:0\n/tmp 1777 0:0\n/root 700 0:0\n/opt 755 7:8\n/bin/own 4755 0:0\nnote\nnote";

pub(super) fn over_debian(world: &World) -> Result<()> {
    let docker = world.docker()?;
    let base = format!("\"${{{}}}\"", debian_archive(world)?.display());
    let layered = |name: &str, arguments: &str| {
        format!(
            "(dockerTools.buildLayeredImage {{ name = \"nixply.test/{name}\"; tag = \"v1\"; {arguments} }})"
        )
    };
    let on_base = format!("fromImage = {base}; {SCRIPTS}");
    let exact = format!("{on_base} exact = true;");
    // A plan below another one: what its tar changed of the base is known, too.
    let plan = format!("{}.conf", layered("scripts-on-debian", &on_base));
    let on_plan = format!(
        "fromImage = {plan}; extraCommands = \"mkdir -p bin tmp; echo more > tmp/more; ln -s own bin/more\";"
    );
    for (name, arguments) in [
        ("scripts-on-debian", &on_base),
        ("exact-on-debian", &exact),
        ("scripts-on-scripts", &on_plan),
    ] {
        let archive = world.nix_half.build(&layered(name, arguments))?;
        text(docker.command(["load", "--quiet", "--input"]).arg(&archive))?;
        let reference = format!("nixply.test/{name}:v1");
        let printed = text(docker.run(&reference).args(["/bin/bash", "-c", CHECK]))
            .with_context(|| format!("{name}: it does not run"))?;
        ensure!(
            printed == CHECKED,
            "{name}: the container printed {printed:?}"
        );
    }

    // Without a base, dockerTools' bytes stay what they are.
    let alone = format!("{SCRIPTS} exact = true;");
    let plan = world
        .nix_half
        .build(&format!("{}.conf", layered("alone", &alone)))?;
    let plan: Value = serde_json::from_slice(&fs::read(plan)?)?;
    let layers = plan["layers"].as_array().context("no layers")?;
    let tar = layers.last().context("no layer")?;
    ensure!(
        tar["kind"] == "tar" && tar.get("placed").is_none(),
        "without a base, the tar is changed: {tar}"
    );
    Ok(())
}

/// What runs with the image's tree as its root, under proot and fakeroot: it looks at the contents, and at what is there beside them.
const IN_ROOT: &str = r#"
    extraCommands = "mkdir opt";
    fakeRootCommands = ''
        [ -L /bin/bash ]
        [ ! -e /usr ]
        mkdir -p /home/app /tmp
        echo app > /home/app/file
        chown -R 1000:100 /home/app
        chmod 1777 /tmp
        echo program > /opt/program
        chmod 4755 /opt/program
        chown 7:8 /opt/program
        ln -s /opt/program relative
    '';
    enableFakechroot = true;"#;

pub(super) fn in_root(world: &World) -> Result<()> {
    let tools = format!(
        "(import {} {{ nixply = tool; pkgs = pkgs // {{ \
           fakeroot = pkgs.fakerootInStore debnix.units.patchelf; }}; }}).dockerTools",
        world.root.join("nix").display()
    );
    let image = format!(
        "({tools}.buildLayeredImage {{ name = \"nixply.test/in-root\"; tag = \"v1\"; \
           contents = [ debnix.units.bash debnix.units.coreutils ]; {IN_ROOT} }})"
    );
    let plan = world.nix_half.build(&format!("{image}.conf"))?;
    let plan: Value = serde_json::from_slice(&fs::read(plan)?)?;
    let layers = plan["layers"].as_array().context("no layers")?;
    let tar = layers.last().and_then(|layer| layer["path"].as_str());
    let entries = entries(Path::new(tar.context("the last layer is no tar")?))?;
    for expected in [
        "drwxr-xr-x 1000/100 ./home/app/",
        "-rw-r--r-- 1000/100 ./home/app/file",
        "drwxrwxrwt 0/0 ./tmp/",
        "-rwsr-xr-x 7/8 ./opt/program",
        "lrwxrwxrwx 0/0 ./relative",
    ] {
        ensure!(
            entries.iter().any(|entry| entry == expected),
            "the layer has no `{expected}`: {entries:?}"
        );
    }
    // Unlike nixpkgs', without what proot shows of this machine.
    let foreign = |entry: &&String| {
        let name = entry.rsplit(' ').next().unwrap_or_default();
        ["./dev/", "./proc/", "./sys/", "./nix/", "./usr/"]
            .iter()
            .any(|directory| name.starts_with(directory))
    };
    let found = entries.iter().find(foreign);
    ensure!(found.is_none(), "the layer has {found:?}");

    let archive = world.nix_half.build(&image)?;
    let docker = world.docker()?;
    text(docker.command(["load", "--quiet", "--input"]).arg(&archive))?;
    let stat = [
        "/bin/stat",
        "-c",
        "%n %a %u:%g",
        "/opt/program",
        "/home/app/file",
        "/tmp",
    ];
    let printed = text(docker.run("nixply.test/in-root:v1").args(stat))?;
    ensure!(
        printed == "/opt/program 4755 7:8\n/home/app/file 644 1000:100\n/tmp 1777 0:0",
        "the container printed {printed:?}"
    );
    Ok(())
}

/// `MODE OWNER NAME` of the entries of a tar.
fn entries(tar: &Path) -> Result<Vec<String>> {
    let listed =
        text(command("tar", ["--numeric-owner", "--list", "--verbose", "--file"]).arg(tar))?;
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [mode, owner, _, _, _, name, ..] => format!("{mode} {owner} {name}"),
            _ => line.to_owned(),
        }
    };
    Ok(listed.lines().map(entry).collect())
}
