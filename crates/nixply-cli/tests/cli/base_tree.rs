//! What base images hold: in finished tars, in layers of nix2container, behind whiteouts.

use crate::base::{failure, files, json_of, kinds, plan, push, sandbox};
use crate::support::{APP, LIBC, Sandbox};
use nixply_testkit::registry::RegistryProcess;
use serde_json::{Value, json};
use std::fs;

const STORE: [&str; 2] = ["--physical-store", "store"];

/// Writes a tar of links and empty files: `bin -> usr/bin`, `etc/x`.
fn write_tar(sandbox: &Sandbox, name: &str, entries: &[&str]) {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(0);
        if let Some((path, target)) = entry.split_once(" -> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            builder.append_link(&mut header, path, target).unwrap();
        } else {
            builder.append_data(&mut header, entry, &b""[..]).unwrap();
        }
    }
    fs::write(sandbox.path(name), builder.into_inner().unwrap()).unwrap();
}

/// Writes the plan of an image of the closure's `libc` and finished tars.
fn write_plan_with_tars(sandbox: &Sandbox, name: &str, tars: &[&str]) {
    let spec = json!({
        "schema": "nixply.image/1",
        "closure": "closure.json",
        "roots": [format!("/nix/store/{LIBC}")],
        "platform": {"os": "linux", "architecture": "amd64"},
        "layer_tars": tars,
    });
    sandbox.write("with-tars.json", &spec.to_string());
    sandbox.stdout(&["plan", "with-tars.json", "--json", "-o", name]);
}

/// The base names of the store paths that a plan's own layers hold.
fn packed(plan: &Value) -> Vec<&str> {
    let layers = plan["layers"].as_array().unwrap().iter();
    layers
        .filter(|layer| layer["kind"] == "store")
        .flat_map(|layer| layer["paths"].as_array().unwrap())
        .map(|path| {
            path["path"]
                .as_str()
                .unwrap()
                .trim_start_matches("/nix/store/")
        })
        .collect()
}

#[test]
fn files_stand_where_the_links_of_a_finished_tar_lead() {
    let sandbox = sandbox();
    write_tar(&sandbox, "links.tar", &["usr/bin/sh", "bin -> usr/bin"]);
    write_plan_with_tars(&sandbox, "base-plan.json", &["links.tar"]);
    let made = plan(&sandbox, &["--base", "base-plan.json"]);
    let paths: Vec<&str> = files(&made).iter().map(|file| file.0).collect();
    assert_eq!(paths, ["root/.profile", "usr/bin/app"]);
    let libcs = packed(&made);
    assert_eq!(libcs.iter().filter(|path| **path == LIBC).count(), 1);
    // Built on an image that is built on an image.
    sandbox.write("plan.json", &made.to_string());
    let again = plan(&sandbox, &["--base", "plan.json"]);
    assert_eq!(again["base"]["tree"]["links"]["bin"], "usr/bin");
    assert_eq!(files(&again)[1].0, "usr/bin/app");

    // The tar is read, so it must be there, and be what was planned.
    write_tar(&sandbox, "links.tar", &["usr/bin/sh"]);
    let (code, stderr) = failure(&sandbox, &["plan", "app.json", "--base", "base-plan.json"]);
    assert_eq!(code, 3);
    let problem = "a layer of the base image is not the one that was planned: expected sha256:";
    assert!(stderr.contains(problem), "{stderr}");
    fs::remove_file(sandbox.path("links.tar")).unwrap();
    let (code, stderr) = failure(&sandbox, &["plan", "app.json", "--base", "base-plan.json"]);
    assert_eq!(code, 3);
    let problem = "layer 1 of the base image's plan cannot be looked into";
    assert!(stderr.contains(problem), "{stderr}");
}

#[test]
fn what_a_stored_base_holds_stays_known_through_a_plan_that_does_not_need_it() {
    let sandbox = sandbox();
    sandbox.stdout(&["export", "base.json", "-o", "base.tar"]);
    write_tar(&sandbox, "links.tar", &["opt/real/x", "opt/app -> real"]);
    let planned = |name: &str, fields: Value, base: &str, out: &str| {
        let mut spec = fields;
        spec["schema"] = json!("nixply.image/1");
        sandbox.write(name, &spec.to_string());
        let base = ["--base", base, "-o", out];
        sandbox.stdout(&[&["plan", name, "--json"][..], &STORE, &base].concat());
    };
    let tars = json!({"layer_tars": ["links.tar"]});
    planned("tar.json", tars, "base.tar", "tar-plan.json");
    let paths = json!({"closure": "closure.json"});
    planned("paths.json", paths, "tar-plan.json", "paths-plan.json");
    let made = plan(&sandbox, &["--base", "paths-plan.json"]);
    let links = &made["base"]["tree"]["links"];
    assert_eq!(
        (&links["bin"], &links["opt/app"]),
        (&json!("usr/bin"), &json!("real"))
    );
}

#[test]
fn contents_give_way_to_directories_and_root_files() {
    let sandbox = sandbox();
    let store = sandbox.store().join(APP);
    fs::write(store.join("bin/env"), "env").unwrap();
    fs::create_dir(store.join("root")).unwrap();
    std::os::unix::fs::symlink("bin", store.join("sbin")).unwrap();
    let content = format!("/nix/store/{APP}");
    let image = json!({
        "schema": "nixply.image/1",
        "closure": "closure.json",
        "contents": [content],
        "root": {"tmp": false, "env": format!("{content}/bin/env")},
    });
    sandbox.write("app.json", &image.to_string());
    let over = |base: &str| {
        let made = [&["plan", "app.json", "--json", "--base", base][..], &STORE].concat();
        let made = json_of(&sandbox, &made);
        let layers = made["layers"].as_array().unwrap();
        layers
            .iter()
            .rfind(|layer| layer["kind"] == "root")
            .unwrap()
            .clone()
    };
    let base = json!({
        "schema": "nixply.image/1",
        "platform": {"os": "linux", "architecture": "amd64"},
        "files": [
            {"path": "usr/bin/sh", "type": "file", "content": "x"},
            {"path": "bin", "type": "symlink", "target": "usr/bin"},
            {"path": "root", "type": "directory", "mode": "0700"},
            {"path": "sbin/init", "type": "file", "content": "x"},
        ],
    });
    sandbox.write("old.json", &base.to_string());
    sandbox.stdout(&["export", "old.json", "-o", "old.tar"]);
    let root = over("old.tar");
    assert_eq!(
        root["contents"],
        json!([{
            "path": content,
            "symlinks": {
                "sbin/app": "/usr/bin/app",
                "sbin/env": "/usr/bin/env",
                "usr/bin/app": format!("{content}/bin/app"),
            },
        }])
    );
    assert_eq!(root["files"].as_array().unwrap().len(), 1);
    assert_eq!(root["files"][0]["path"], "usr/bin/env");
    // As a plan, the base is the same.
    sandbox.stdout(&["plan", "old.json", "--json", "-o", "old-plan.json"]);
    assert_eq!(over("old-plan.json"), root);
    // The image can be made and read again.
    let export = ["export", "app.json", "--base", "old.tar", "-o", "image.tar"];
    sandbox.stdout(&[&export[..], &STORE].concat());

    let mut file = base;
    file["files"][3]["path"] = json!("usr/bin/app/x");
    sandbox.write("odd.json", &file.to_string());
    sandbox.stdout(&["export", "odd.json", "-o", "odd.tar"]);
    let arguments = [&["plan", "app.json", "--base", "odd.tar"][..], &STORE].concat();
    let (code, stderr) = failure(&sandbox, &arguments);
    assert_eq!(code, 3);
    let problem = format!(
        "error: `{content}/bin/app` would replace the directory `usr/bin/app` of the base image\n"
    );
    assert!(stderr.starts_with(&problem), "{stderr}");
    assert!(stderr.contains("hint: leave it out"), "{stderr}");
}

#[test]
fn a_plan_whose_tar_hides_a_store_path_is_refused() {
    let sandbox = sandbox();
    let whiteout = format!("nix/store/.wh.{LIBC}");
    write_tar(&sandbox, "hides.tar", &[&whiteout]);
    write_plan_with_tars(&sandbox, "base-plan.json", &["hides.tar"]);
    let (code, stderr) = failure(&sandbox, &["plan", "app.json", "--base", "base-plan.json"]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains(&format!(
            "the base image's plan holds `/nix/store/{LIBC}`, and a finished tar above it takes it away"
        )),
        "{stderr}"
    );
}

#[test]
fn the_database_is_of_the_store_paths_that_the_image_has() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = sandbox();
    let spec = json!({"schema": "nixply.image/1", "closure": "closure.json", "nix_database": true});
    sandbox.write("database.json", &spec.to_string());
    let over = |base: &str| {
        let online = format!("docker://{base}");
        json_of(
            &sandbox,
            &["plan", "database.json", "--json", "--base", &online],
        )
    };
    let whole = format!("{}/base:whole", registry.host());
    write_tar(&sandbox, "nothing.tar", &["etc/x"]);
    write_plan_with_tars(&sandbox, "base-plan.json", &["nothing.tar"]);
    push(&sandbox, "base-plan.json", &whole, &[]);
    let made = over(&whole);
    assert!(!packed(&made).contains(&LIBC), "{made}");

    let hidden = format!("{}/base:hidden", registry.host());
    let whiteout = format!("nix/store/.wh.{LIBC}");
    write_tar(&sandbox, "hides.tar", &[&whiteout]);
    write_plan_with_tars(&sandbox, "base-plan.json", &["hides.tar"]);
    push(&sandbox, "base-plan.json", &hidden, &[]);
    let made = over(&hidden);
    assert!(packed(&made).contains(&LIBC), "{made}");
    assert!(packed(&made).contains(&APP));
    let database = made["layers"].as_array().unwrap().last().unwrap();
    assert_eq!(database["kind"], "database");
    assert_eq!(database.get("base_paths"), None);

    // What the base has and the closure does not would be missing in it.
    let others = json!({
        "schema": "nixply.image/1",
        "closure": "closure.json",
        "roots": [format!("/nix/store/{}", crate::support::DATA)],
        "nix_database": true,
    });
    sandbox.write("others.json", &others.to_string());
    let online = format!("docker://{whole}");
    let (code, stderr) = failure(&sandbox, &["plan", "others.json", "--base", &online]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains(&format!("the base image holds `/nix/store/{LIBC}`")),
        "{stderr}"
    );
    let online = format!("docker://{hidden}");
    let made = json_of(
        &sandbox,
        &["plan", "others.json", "--json", "--base", &online],
    );
    assert_eq!(kinds(&made), ["base", "base", "store", "database"]);
}

#[test]
fn a_database_in_a_finished_layer_is_seen() {
    let sandbox = sandbox();
    let spec = json!({
        "schema": "nixply.image/1",
        "closure": "closure.json",
        "platform": {"os": "linux", "architecture": "amd64"},
        "nix_database": true,
    });
    sandbox.write("database.json", &spec.to_string());
    sandbox.stdout(&[&["export", "database.json", "-o", "base.tar"][..], &STORE].concat());
    let says = |image: &str| {
        let output = sandbox.run(&["plan", image, "--base", "base.tar"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = says("app.json");
    let problem =
        "the base image has a database of its store paths, which does not tell those of this image";
    assert!(said.contains(problem), "{said}");
    assert_eq!(says("database.json"), "");

    // What a Nix had not written into the base's database yet must not be written into the new one.
    let log = "nix/var/nix/db/db.sqlite-wal";
    write_tar(&sandbox, "log.tar", &[log, "nix/var/nix/db/db.sqlite"]);
    write_plan_with_tars(&sandbox, "base-plan.json", &["log.tar"]);
    let over = |base: &str| {
        let planned = ["plan", "database.json", "--json", "--base", base];
        let made = json_of(&sandbox, &planned);
        made["layers"].as_array().unwrap().last().unwrap().clone()
    };
    assert_eq!(over("base.tar").get("emptied"), None);
    assert_eq!(over("base-plan.json")["emptied"], json!(["db.sqlite-wal"]));
    sandbox.stdout(
        &[
            &[
                "export",
                "database.json",
                "--base",
                "base-plan.json",
                "-o",
                "image.tar",
            ][..],
            &STORE,
        ]
        .concat(),
    );
    write_tar(&sandbox, "link.tar", &["nix/var -> /data", "data/x"]);
    write_plan_with_tars(&sandbox, "base-plan.json", &["link.tar"]);
    let (code, stderr) = failure(
        &sandbox,
        &["plan", "database.json", "--base", "base-plan.json"],
    );
    assert_eq!(code, 3);
    assert!(
        stderr.contains("`/nix/var` is a symbolic link in the base image"),
        "{stderr}"
    );
}

#[test]
fn files_stand_where_the_links_of_a_layer_of_nix2container_lead() {
    let sandbox = sandbox();
    let link = sandbox.store().join(LIBC).join("bin");
    std::os::unix::fs::symlink("lib", link).unwrap();
    let libc = format!("/nix/store/{LIBC}");
    let diff_id = format!("sha256:{}", "1".repeat(64));
    let image = json!({
        "version": 1,
        "arch": "amd64",
        "image-config": {},
        "layers": [{
            "digest": diff_id, "diff_ids": diff_id, "size": 1024,
            "paths": [{"path": libc, "options": {"rewrite": {"regex": format!("^{libc}"), "repl": ""}}}],
        }],
    });
    sandbox.write("image.json", &image.to_string());
    sandbox.stdout(&["plan", "image.json", "--json", "-o", "base-plan.json"]);
    let over = [
        &["plan", "app.json", "--json", "--base", "base-plan.json"][..],
        &STORE,
    ]
    .concat();
    let made = json_of(&sandbox, &over);
    let paths: Vec<&str> = files(&made).iter().map(|file| file.0).collect();
    assert_eq!(paths, ["lib", "lib/app", "root/.profile"]);
}
