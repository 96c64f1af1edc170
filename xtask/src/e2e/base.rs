//! Images on a base image: Debian's own tree, whose `/bin` is a symbolic link.

use super::World;
use crate::command::{self, command, text};
use crate::debian_root::DebianRoot;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// What the image on top puts into the base: below a link of the base, and into a directory that only root may read.
const HELLO: &str = "#!/bin/bash\necho hello from $0\n";

pub(super) fn debian(world: &World) -> Result<()> {
    let docker = world.docker()?;
    let base = debian_base(world)?;
    let lock = world.scratch.dir().join("debian.lock.json");
    text(
        world
            .nixply
            .command(["base", "lock", &base, "-o"])
            .arg(&lock),
    )?;
    let locked: Value = serde_json::from_slice(&fs::read(&lock)?)?;
    ensure!(
        locked["links"]["bin"] == "usr/bin" && locked["directories"]["tmp"]["mode"] == "1777",
        "the lock does not tell Debian's links and directories: {}",
        locked["links"]
    );

    let spec = world.scratch.dir().join("on-debian.json");
    let image = json!({
        "schema": "nixply.image/1",
        "closure": world.shell.closure,
        "base": lock,
        "files": [
            {"path": "/bin/hello", "type": "file", "mode": "0755", "content": HELLO},
            {"path": "/root/.note", "type": "file", "content": "x\n"},
            {"path": "/tmp/note", "type": "file", "content": "x\n"},
        ],
        "config": {"Cmd": ["/bin/hello"], "Env": ["GREETING=hello"]},
    });
    fs::write(&spec, image.to_string())?;
    on_saved(world, &spec)?;
    let reference = world.reference("on-debian:v1")?;
    // Layers of other steps may be mounted as well; the base's is the lowest.
    let mut push = world.nixply.command(["push", "--json"]);
    let pushed = crate::nixply::pushed(push.arg(&spec).arg(&reference))?;
    ensure!(
        pushed["layers"][0]["outcome"] == "mounted",
        "the base's one layer was not mounted: {pushed}"
    );
    let again = world.nixply.push(&spec, &reference, &[])?;
    ensure!(
        again.uploaded_layers == 0 && pushed["digest"] == again.digest.as_str(),
        "pushed again, it is {again:?}"
    );

    let run = |script: &str| text(docker.run(&reference).args(["/bin/bash", "-c", script]));
    let printed = text(&mut docker.run(&reference))?;
    ensure!(
        printed == "hello from /bin/hello",
        "the container printed {printed:?}"
    );
    let printed =
        run("readlink /bin; ls /usr/bin/hello; stat -c %a /root /tmp; echo $DEBIAN $GREETING")?;
    ensure!(
        printed == "usr/bin\n/usr/bin/hello\n700\n1777\nyes hello",
        "the base is not intact in the container: {printed:?}"
    );
    accounts(world, &lock)?;
    let echo = world.shell.root.join("bin/echo");
    let printed = text(docker.run(&reference).arg(echo).arg("from the store"))?;
    ensure!(
        printed == "from the store",
        "the store's echo printed {printed:?}"
    );
    contents(world, &lock)?;
    pulled(world, &base)
}

/// Contents that are laid out as a package is: `sbin` and `lib64` are links to directories, which Debian has, and so are
/// `tmp` and `root`, with modes of their own.
fn contents(world: &World, lock: &Path) -> Result<()> {
    let tool = world.scratch.subdir("tool")?;
    for directory in ["bin", "lib/greet", "root", "tmp"] {
        fs::create_dir_all(tool.join(directory))?;
    }
    fs::write(tool.join("bin/greet"), HELLO)?;
    fs::set_permissions(tool.join("bin/greet"), Permissions::from_mode(0o755))?;
    fs::write(tool.join("lib/greet/text"), "hello\n")?;
    symlink("../lib/greet/text", tool.join("bin/text"))?;
    symlink("bin", tool.join("sbin"))?;
    symlink("lib", tool.join("lib64"))?;
    let tool = text(world.nix.command("nix-store", ["--add"]).arg(&tool))?;
    let closure = world.scratch.dir().join("tool.json");
    world.nix.write_closure(Path::new(&tool), &closure)?;
    let spec = world.scratch.dir().join("tool-on-debian.json");
    let image = json!({
        "schema": "nixply.image/1",
        "closure": closure,
        "base": lock,
        "contents": [tool],
        // Both it and the link of the content come to stand at /usr/bin/greet.
        "root": {"links": {"/usr/bin/greet": format!("{tool}/bin/greet")}},
    });
    fs::write(&spec, image.to_string())?;
    let reference = world.reference("tool-on-debian:v1")?;
    world.nixply.push(&spec, &reference, &[])?;
    let script = "readlink /bin /sbin /lib64; stat -c %a /root /tmp; ls /sbin/chroot; \
        /sbin/greet; cat /bin/text /lib64/greet/text";
    let printed = text(
        world
            .docker()?
            .run(&reference)
            .args(["/bin/bash", "-c", script]),
    )?;
    ensure!(
        printed
            == "usr/bin\nusr/sbin\nusr/lib64\n700\n1777\n/sbin/chroot\nhello from /sbin/greet\nhello\nhello",
        "contents over Debian: {printed:?}"
    );
    Ok(())
}

/// What `pullImage` gives is loaded and runs, and dockerTools' functions stand on it.
fn pulled(world: &World, base: &str) -> Result<()> {
    let docker = world.docker()?;
    let (image, digest) = base.split_once('@').context("the base has no digest")?;
    let archive = world.scratch.dir().join("debian-by-skopeo.tar");
    copy_by_skopeo(image, digest, &archive)?;
    let pull = pull_expression(image, digest, &sha256_of(&archive)?);
    fs::remove_file(&archive).context("cannot remove the copy")?;
    let loaded = world.nix_half.build(&pull)?;
    text(docker.command(["load", "--quiet", "--input"]).arg(&loaded))?;
    let debian = text(
        docker
            .run(&format!("{image}:latest"))
            .args(["bash", "-c", "echo $DEBIAN"]),
    )?;
    ensure!(debian == "yes", "the pulled image printed {debian:?}");
    let on_top = format!(
        "(dockerTools.buildLayeredImage {{
            name = \"nixply.test/on-pulled\"; tag = \"v1\"; fromImage = {pull};
            config.Cmd = [ \"${{debnix.units.coreutils}}/bin/echo\" \"on top\" ];
        }})"
    );
    let on_top = world.nix_half.build(&on_top)?;
    text(docker.command(["load", "--quiet", "--input"]).arg(&on_top))?;
    let printed = text(&mut docker.run("nixply.test/on-pulled:v1"))?;
    ensure!(printed == "on top", "on the pulled image: {printed:?}");
    Ok(())
}

fn pull_expression(image: &str, digest: &str, sha256: &str) -> String {
    format!(
        "(nixply.lib.pullImage {{ imageName = \"{image}\"; imageDigest = \"{digest}\"; sha256 = \"{sha256}\"; }})"
    )
}

fn copy_by_skopeo(image: &str, digest: &str, archive: &Path) -> Result<()> {
    let options = [
        "--insecure-policy",
        "copy",
        "--quiet",
        "--src-tls-verify=false",
    ];
    let to = format!("docker-archive:{}:{image}:latest", archive.display());
    text(
        command("skopeo", options)
            .arg(format!("docker://{image}@{digest}"))
            .arg(to),
    )
    .map(drop)
}

fn sha256_of(file: &Path) -> Result<String> {
    let printed = text(command("sha256sum", ["--"]).arg(file))?;
    Ok(printed.split(' ').next().unwrap_or_default().to_owned())
}

/// Users are added to the base's own, as one of which it runs.
fn accounts(world: &World, lock: &Path) -> Result<()> {
    let docker = world.docker()?;
    let spec = world.scratch.dir().join("users-on-debian.json");
    let image = json!({
        "schema": "nixply.image/1",
        "base": lock,
        "root": {
            "users": {
                "joe": {"uid": 1000, "groups": ["sudo"]},
                "postgres": {"uid": 999, "shell": "/bin/bash"},
            },
            "files": {
                "/var/lib/postgres/conf/a": {"text": "a", "user": "postgres"},
                "/home/joe/.config/b": {"text": "b", "user": "joe", "mode": "0600"},
            },
        },
    });
    fs::write(&spec, image.to_string())?;
    let reference = world.reference("users-on-debian:v1")?;
    world.nixply.push(&spec, &reference, &[])?;
    let run = |user: &str, script: &str| {
        let args = ["run", "--rm", "--network=none", "--user", user, &reference];
        text(docker.command(args).args(["/bin/bash", "-c", script]))
    };
    // Nobody says who it runs as: the base does.
    let printed = text(docker.run(&reference).args(["/bin/bash", "-c", "id -un"]))?;
    ensure!(printed == "postgres", "it runs as {printed}");
    for (user, script, expected) in [
        (
            "postgres",
            "id",
            "uid=999(postgres) gid=999(postgres) groups=999(postgres)",
        ),
        (
            "joe",
            "id; cat ~/.config/b",
            "uid=1000(joe) gid=1000(joe) groups=1000(joe),27(sudo)\nb",
        ),
        (
            "postgres",
            "id joe; echo ~joe; touch ~/x ~/conf/x 2>&1",
            "uid=1000(joe) gid=1000(joe) groups=1000(joe),27(sudo)\n/home/joe",
        ),
        (
            "postgres",
            "stat -c '%a %U:%G' ~ ~/conf ~/conf/a /home/joe /home/joe/.config /tmp",
            "750 postgres:postgres\n755 postgres:postgres\n644 postgres:postgres\n755 joe:joe\n755 joe:joe\n1777 root:root",
        ),
        (
            "root",
            "cat /etc/shadow; head -n 1 /etc/nsswitch.conf; head -n 1 /etc/passwd",
            "root:$6$secret:1::::::\n# of the base\nroot:x:0:0:root:/root:/bin/sh",
        ),
    ] {
        let printed = run(user, script)?;
        ensure!(
            printed == expected,
            "`{script}` printed\n{printed}\nexpected\n{expected}"
        );
    }
    let plan = text(world.nixply.command(["plan", "--json"]).arg(&spec))?;
    ensure!(
        !plan.contains("secret") && !fs::read_to_string(lock)?.contains("secret"),
        "the base's passwords are told"
    );
    Ok(())
}

/// The same tree from Docker's own archive is the same base.
fn on_saved(world: &World, spec: &Path) -> Result<()> {
    let plan = |more: &[&str]| {
        let mut plan = world.nixply.command(["plan", "--json"]);
        command::json(plan.arg(spec).args(more))
    };
    let saved = saved(world);
    let saved = plan(&["--base", &saved.display().to_string()])?;
    let locked = plan(&[])?;
    for part in [
        "/layers/0/diff_id",
        "/config",
        "/base/tree",
        "/base/history",
    ] {
        ensure!(
            saved.pointer(part) == locked.pointer(part) && locked.pointer(part).is_some(),
            "{part} of the saved base is {:?}",
            saved.pointer(part)
        );
    }
    Ok(())
}

/// Debian's tree as Docker saves it, made where no step has made it yet.
pub(super) fn debian_archive(world: &World) -> Result<PathBuf> {
    if !saved(world).exists() {
        debian_base(world)?;
    }
    Ok(saved(world))
}

/// Where Docker saves the base.
fn saved(world: &World) -> PathBuf {
    world.scratch.dir().join("debian-saved.tar")
}

/// Debian's tree as an image of one layer in the registry, made by Docker; tells it by digest.
fn debian_base(world: &World) -> Result<String> {
    let dir = world.scratch.subdir("debian-base")?;
    let root = DebianRoot::unpack(&this_release()?, dir, &[])?;
    for (file, lines) in [
        (
            "etc/passwd",
            "postgres:x:999:999::/var/lib/postgres:/bin/sh\n",
        ),
        ("etc/group", "sudo:x:27:\npostgres:x:999:\n"),
    ] {
        let file = root.path(file);
        let before = fs::read_to_string(&file)?;
        fs::write(file, before + lines)?;
    }
    fs::write(root.path("etc/shadow"), "root:$6$secret:1::::::\n")?;
    fs::write(
        root.path("etc/nsswitch.conf"),
        "# of the base\npasswd: files\ngroup: files\n",
    )?;
    let docker = world.docker()?;
    let base = world.reference("debian:base")?;
    let import = "chmod 1777 tmp && chmod 700 root && chmod 640 etc/shadow && \
        mkdir -m 750 var/lib/postgres && chown 999:999 var/lib/postgres && \
        tar -c --exclude=./apt . | docker import --change 'ENV DEBIAN=yes' --change 'USER postgres' - \"$0\" && docker push -q \"$0\"";
    let mut import = command("sh", ["-euc", import, &base]);
    import
        .current_dir(root.path("/"))
        .env("DOCKER_HOST", docker.host());
    text(&mut import)?;
    let digests =
        text(&mut docker.command(["inspect", "--format", "{{index .RepoDigests 0}}", &base]))?;
    text(
        docker
            .command(["save", &base, "--output"])
            .arg(saved(world)),
    )?;
    text(&mut docker.command(["rmi", "--force", &base]))?;
    Ok(digests)
}

/// The code name of the Debian that this is.
fn this_release() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_owned)
        .context("this Debian has no code name")
}

pub(super) fn pull_image(world: &World) -> Result<()> {
    let reference = world.reference("pulled:v1")?;
    // Without store paths: an output of a fixed hash may refer to none, and nixply's own libraries could be among them.
    let spec = world.scratch.dir().join("pulled.json");
    let files = json!([{"path": "/etc/greeting", "type": "file", "content": HELLO}]);
    let spec_json = json!({"schema": "nixply.image/1", "files": files});
    fs::write(&spec, spec_json.to_string())?;
    let pushed = world.nixply.push(&spec, &reference, &["--env", "A=<1>"])?;
    let image = world.reference("pulled")?;
    let archive = world.scratch.dir().join("by-skopeo.tar");
    copy_by_skopeo(&image, &pushed.digest, &archive)?;
    let sha256 = sha256_of(&archive)?;
    let pull = |sha256: &str| pull_expression(&image, &pushed.digest, sha256);
    let pulled = world.nix_half.build(&pull(&sha256))?;
    ensure!(
        fs::read(&pulled)? == fs::read(&archive)?,
        "{} is not what skopeo writes",
        pulled.display()
    );
    world.nix_half.check(&pull(&sha256))?;
    let said = world.nix_half.refused(&pull(&"0".repeat(64)))?;
    ensure!(
        said.contains("hash mismatch"),
        "a wrong hash is not told:\n{said}"
    );

    // Both forms of a base in a derivation.
    let on_archive = image_on(world, &pull(&sha256))?;
    let plan: Value = serde_json::from_slice(&fs::read(&on_archive)?)?;
    ensure!(
        plan["layers"][0]["source"]["path"] == pulled.display().to_string(),
        "the plan does not stand on {}",
        pulled.display()
    );
    let lock = world.scratch.dir().join("pulled.lock.json");
    text(
        world
            .nixply
            .command(["base", "lock", &reference, "-o"])
            .arg(&lock),
    )?;
    let lock_base = format!("nixply.lib.base {{ lock = {}; }}", lock.display());
    let on_lock = image_on(world, &lock_base)?;
    no_layers_of(world, &lock_base, &lock)?;
    let documented = documented(world, &lock)?;
    let plan: Value = serde_json::from_slice(&fs::read(&documented)?)?;
    ensure!(
        plan["layers"][0]["kind"] == "base" && plan.to_string().contains("bin/greet"),
        "the documented image is {}",
        documented.display()
    );
    let target = world.reference("on-lock:v1")?;
    let on_lock = world.nixply.push(&on_lock, &target, &[])?;
    ensure!(
        on_lock.mounted_layers > 0,
        "nothing of the base was mounted: {on_lock:?}"
    );
    let target = world.reference("on-archive:v1")?;
    let on_archive = world.nixply.push(&on_archive, &target, &[])?;
    ensure!(
        on_archive.uploaded_layers > 0,
        "the archive's layers went nowhere: {on_archive:?}"
    );
    Ok(())
}

/// What would have to hold the layers of a base that is in a registry is refused, by evaluation where that can know it.
fn no_layers_of(world: &World, lock_base: &str, lock: &Path) -> Result<()> {
    let half = &world.nix_half;
    let on = |base: &str| {
        format!(
            "(nixply.lib.buildImage {{ name = \"on-base\"; fromImage = {base}; root = {{ }}; }})"
        )
    };
    let on_lock = on(lock_base);
    let layered = format!(
        "(dockerTools.buildLayeredImage {{ name = \"on-base\"; fromImage = {lock_base}; }})"
    );
    for refused in [
        format!("{on_lock}.archive"),
        format!("{on_lock}.ociLayout"),
        format!("{}.archive", on(&lock.display().to_string())),
        format!("{}.archive", on(&on_lock)),
        format!("{}.archive", on("\"docker://example.org/base:v1\"")),
        layered.clone(),
    ] {
        let said = half.refused(&refused)?;
        ensure!(
            said.contains("would hold the layers of its base, which are in a registry"),
            "{refused}: {said}"
        );
    }
    // What a derivation holds is known to the builder alone.
    let unknown = format!("\"${{{}}}\"", lock.display());
    let said = half.refused(&format!("{}.archive", on(&unknown)))?;
    ensure!(
        said.contains("the layers of the base image are in a registry"),
        "{said}"
    );
    half.build(&format!("{layered}.push"))?;
    half.build(&format!("{on_lock}.manifest"))?;
    Ok(())
}

/// The plan of the image in the documentation, with a lock that is there.
fn documented(world: &World, lock: &Path) -> Result<PathBuf> {
    let docs = fs::read_to_string(world.root.join("docs/base-images.md"))?;
    let example = docs
        .split_once("```nix\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .map(|(example, _)| example.replace("./debian.lock.json", &lock.display().to_string()));
    let example = example.context("docs/base-images.md has no example in Nix")?;
    world.nix_half.build(&format!("({example})"))
}

/// The plan of an image with one root file on a base.
fn image_on(world: &World, base: &str) -> Result<PathBuf> {
    world.nix_half.build(&format!(
        "(nixply.lib.buildImage {{ name = \"on-base\"; fromImage = {base}; root.files.\"/etc/note\".text = \"x\"; }})"
    ))
}
