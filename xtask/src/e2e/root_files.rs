//! What stands outside the store, in a real container: users, modes, setuid, capabilities, links into contents.

use super::World;
use crate::command::{self, text};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const IMAGE: &str = "nixply.test/root-files";

/// `cap_net_bind_service`, as `/proc/PID/status` prints a set.
const NET_BIND_SERVICE: &str = "0000000000000400";

pub(super) fn in_docker(world: &World) -> Result<()> {
    let docker = world.docker()?;
    let spec = write(world, "root-files", &spec(world)?)?;
    let mut load = world.nixply.command(["load"]);
    load.arg(&spec).args(["--into", "docker"]);
    text(load.env("DOCKER_HOST", docker.host()))?;
    let image = format!("{IMAGE}:v1");
    let run = |script: &str| text(docker.run(&image).args(["/bin/sh", "-c", script]));
    let check = |script: &str, expected: &str| {
        let printed = run(script)?;
        ensure!(
            printed == expected,
            "`{script}` printed\n{printed}\nexpected\n{expected}"
        );
        Ok(())
    };
    check(
        "stat -c '%a %u:%g %n' /tmp /var/tmp /etc/shadow /root /home/joe /home/joe/.config /home/joe/.config/x /srv/shared /bin/id",
        "1777 0:0 /tmp\n\
         1777 0:0 /var/tmp\n\
         640 0:42 /etc/shadow\n\
         700 0:0 /root\n\
         755 1000:1000 /home/joe\n\
         755 1000:1000 /home/joe/.config\n\
         600 1000:1000 /home/joe/.config/x\n\
         2770 0:10 /srv/shared\n\
         4755 0:0 /bin/id",
    )?;
    // Names, by the files that glibc reads.
    check(
        "whoami; echo ~joe; stat -c %U:%G /home/joe/.config/x",
        "joe\n/home/joe\njoe:joe",
    )?;
    // id is setuid, and nothing else is.
    check("id -u; id -ru; /usr/bin/env id -Gn", "0\n1000\njoe wheel")?;
    check("cat /etc/shadow 2>/dev/null || echo refused", "refused")?;
    check("echo y > ~/.config/y && cat ~/.config/y", "y")?;
    check(
        "echo z > /srv/shared/z && stat -c %G /srv/shared/z",
        "wheel",
    )?;
    let effective = "while read -r name set; do test \"$name\" = CapEff: && echo \"$set\"; done < /proc/self/status; true";
    check(effective, "0000000000000000")?;
    check(
        &format!("/usr/local/bin/serve -c '{effective}'"),
        NET_BIND_SERVICE,
    )?;
    let getxattr = "python3 -B -c 'import os; print(os.getxattr(\"/usr/local/bin/serve\", \"security.capability\").hex())'";
    check(getxattr, "0100000200040000000000000000000000000000")?;
    let bash = unit(world, "bash")?.join("bin/bash");
    check(
        "head -n 1 /etc/os-release; readlink /bin/bash",
        &format!("ID=nixos\n{}", bash.display()),
    )?;
    let tzdata = unit(world, "tzdata")?;
    check(
        &format!("stat -c '%a %U:%G' {}", tzdata.display()),
        "755 root:wheel",
    )
}

pub(super) fn verified(world: &World) -> Result<()> {
    let with_rule = write(world, "with-rule", &spec(world)?)?;
    let layout = world.scratch.dir().join("root-files-layout");
    world.nixply.export(&with_rule, "oci-dir", &layout)?;
    let mut verify = world.nixply.command(["verify"]);
    verify.arg(&layout).arg("--plan").arg(&with_rule);
    let said = text(&mut verify)?;
    ensure!(said.contains("verified"), "verify printed {said}");
    // Without a plan the history says which entries have modes of their own; only the root files are told by nobody.
    let mut verify = world.nixply.command(["verify", "--json"]);
    let output = command::output(verify.arg(&layout))?;
    let verified: Value = serde_json::from_slice(&output.stdout)?;
    let layers = verified["layers"].as_array().context("no layers")?;
    let not_made = layers
        .iter()
        .filter(|layer| layer["compared_with"] != "store");
    ensure!(
        not_made.count() == 1 && layers.iter().all(|layer| layer["difference"].is_null()),
        "verify without a plan printed {verified}"
    );

    // The rule changes the layer of the path that it is for, and no other.
    let mut without = spec(world)?;
    let rules = without["perms"].as_array_mut().context("no perms")?;
    let tzdata = json!(unit(world, "tzdata")?);
    rules.retain(|rule| rule["path"] != tzdata);
    let without = write(world, "without-rule", &without)?;
    let [with_rule, without] = [keys(world, &with_rule)?, keys(world, &without)?];
    let changed = with_rule.difference(&without).count();
    ensure!(changed == 1, "{changed} layers have another key");
    Ok(())
}

fn spec(world: &World) -> Result<Value> {
    let [bash, coreutils, python] = ["bash", "coreutils", "python3"].map(|name| unit(world, name));
    let (bash, coreutils, python) = (bash?, coreutils?, python?);
    Ok(json!({
        "schema": "nixply.image/1",
        "name": IMAGE,
        "tag": "v1",
        "closure": world.python.closure,
        "contents": [bash, coreutils, python],
        "on_collision": "first",
        "config": {
            "User": "joe",
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/joe"],
        },
        "root": {
            "users": {
                "joe": { "uid": 1000, "groups": ["wheel"], "shell": bash.join("bin/bash") },
            },
            "groups": { "wheel": { "gid": 10 }, "shadow": { "gid": 42 } },
            "files": {
                "/home/joe/.config/x": { "text": "x", "mode": "0600", "user": "joe" },
                "/usr/local/bin/serve": {
                    "source": bash.join("bin/bash"),
                    "mode": "0755",
                    "capabilities": "cap_net_bind_service+ep",
                },
            },
            "directories": { "/srv/shared": { "mode": "2770", "group": "wheel" } },
            "shell": bash.join("bin/bash"),
            "env": coreutils.join("bin/env"),
            "os_release": { "NAME": "NixOS", "ID": "nixos" },
        },
        "perms": [
            // A content: the root gets a file of its own.
            { "path": coreutils, "regex": "/bin/id$", "mode": "4755" },
            // Not a content: the layer has it so.
            { "path": unit(world, "tzdata")?, "regex": "-tzdata-[^/]*$", "mode": "0755", "group": "wheel" },
        ],
    }))
}

/// The store path of a Debian package, by the package's name.
fn unit(world: &World, package: &str) -> Result<PathBuf> {
    let paths = world.nix.closure_paths(&world.python.root)?;
    let begin = format!("{package}-");
    paths
        .into_iter()
        .find(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            // 32 digits and a hyphen.
            name.and_then(|name| name.get(33..))
                .is_some_and(|name| name.starts_with(&begin))
        })
        .with_context(|| format!("no store path of {package}"))
}

fn write(world: &World, name: &str, spec: &Value) -> Result<PathBuf> {
    let file = world.scratch.dir().join(format!("{name}.image.json"));
    fs::write(&file, serde_json::to_vec_pretty(spec)?)?;
    Ok(file)
}

/// The keys of the layers that are planned.
fn keys(world: &World, spec: &Path) -> Result<BTreeSet<String>> {
    let plan = command::json(world.nixply.command(["plan", "--json"]).arg(spec))?;
    let layers = plan["layers"].as_array().context("a plan without layers")?;
    Ok(layers
        .iter()
        .filter_map(|layer| layer["key"].as_str().map(str::to_owned))
        .collect())
}
