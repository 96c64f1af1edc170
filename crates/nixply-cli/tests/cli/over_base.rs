//! What an image changes of its base, and what not: owners and modes of store paths, and directories of finished tars.

use crate::support::{LIBC, Sandbox};
use nixply_layer::read_entries;
use nixply_oci::MediaType;
use serde_json::{Value, json};
use std::fs;
use std::io;

const STORE: [&str; 2] = ["--physical-store", "store"];

/// The layers of a plan that hold a store path: where they stand, and the modes that they give its entries.
fn holding(plan: &Value, path: &str) -> Vec<(usize, Vec<Value>)> {
    let layers = plan["layers"].as_array().unwrap().iter().enumerate();
    let held = layers.filter_map(|(at, layer)| {
        let paths = layer["paths"].as_array()?.iter();
        let found = paths.filter(|held| **held == path || held["path"] == path);
        let modes = found.filter_map(|held| held["permissions"].as_array().cloned());
        let modes: Vec<Value> = modes.flatten().map(|group| group["mode"].clone()).collect();
        layer.to_string().contains(path).then_some((at, modes))
    });
    held.collect()
}

fn planned(sandbox: &Sandbox, image: &Value, more: &[&str]) -> Value {
    sandbox.write("image.json", &image.to_string());
    let plan = [&["plan", "image.json", "--json"][..], &STORE, more].concat();
    serde_json::from_str(&sandbox.stdout(&plan)).unwrap()
}

#[test]
fn a_rule_over_a_store_path_of_the_base_puts_it_into_a_layer_of_ours() {
    let sandbox = Sandbox::new();
    let libc = format!("/nix/store/{LIBC}");
    let base = ["--root", &libc, "--platform", "linux/amd64"];
    sandbox.stdout(
        &[
            &["plan", "closure.json", "--json", "-o", "base.json"],
            &base[..],
        ]
        .concat(),
    );
    let export = ["export", "base.json", "-o", "base.tar"];
    sandbox.stdout(&[&export[..], &STORE].concat());
    let image = |rules: Value| {
        json!({
            "schema": "nixply.image/1",
            "closure": "closure.json",
            "platform": {"os": "linux", "architecture": "amd64"},
            "perms": rules,
        })
    };
    let rule = |mode: &str| json!([{"path": libc, "regex": "libc.so$", "mode": mode}]);
    for base in ["base.json", "base.tar"] {
        let without = planned(&sandbox, &image(json!([])), &["--base", base]);
        assert_eq!(holding(&without, &libc), [(0, vec![])], "{base}");
        let with = planned(&sandbox, &image(rule("4755")), &["--base", base]);
        let held = holding(&with, &libc);
        assert_eq!(held.len(), 2, "{base}: {with}");
        assert_eq!((held[0].0, &held[1].1), (0, &vec![json!("4755")]), "{base}");
        // The plan can be read again and made, and the layer above is the one with the mode.
        sandbox.write("plan.json", &with.to_string());
        let export = ["export", "plan.json", "-o", "image.tar"];
        sandbox.stdout(&[&export[..], &STORE].concat());
        let verify = ["verify", "image.tar", "--plan", "plan.json"];
        sandbox.stdout(&[&verify[..], &STORE].concat());
        // Built upon once more with the same rule, nothing is new; with another one it is.
        let again = planned(&sandbox, &image(rule("4755")), &["--base", "plan.json"]);
        assert_eq!(again["layers"], with["layers"], "{base}");
        let other = planned(&sandbox, &image(rule("2755")), &["--base", "plan.json"]);
        assert_eq!(holding(&other, &libc).len(), 3, "{base}");
    }
    // A database knows the path once.
    let mut image = image(rule("4755"));
    image["nix_database"] = json!(true);
    for base in ["base.json", "base.tar"] {
        let plan = planned(&sandbox, &image, &["--base", base]);
        let layers = plan["layers"].as_array().unwrap();
        let database = layers.last().unwrap();
        assert_eq!(database["kind"], "database");
        assert_eq!(
            database["references"].as_array().unwrap().len(),
            4,
            "{base}"
        );
        assert!(database.get("base_paths").is_none(), "{base}: {database}");
    }
}

/// Writes a tar as scripts leave it. `bin/` is a directory with mode 0755, `tmp/=700` one with another mode, all else a file.
fn write_tar(sandbox: &Sandbox, name: &str, lines: &[&str]) {
    let mut tar = tar::Builder::new(Vec::new());
    for line in lines {
        let (path, mode) = line.split_once('=').unwrap_or((line, "755"));
        let mut header = tar::Header::new_gnu();
        let kind = if path.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        };
        header.set_entry_type(kind);
        header.set_mode(u32::from_str_radix(mode, 8).unwrap());
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        tar.append_data(&mut header, path, io::empty()).unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    fs::write(sandbox.path(name), bytes).unwrap();
}

/// `NAME MODE` of the entries of the highest layer of an image of `image.json`, and the layer in its plan.
fn top_layer(sandbox: &Sandbox, image: &Value, base: &str) -> (Vec<String>, Value) {
    let plan = planned(sandbox, image, &["--base", base, "--compression", "none"]);
    sandbox.write("plan.json", &plan.to_string());
    let export = ["export", "plan.json", "-o", "image", "--format", "oci-dir"];
    let _ = fs::remove_dir_all(sandbox.path("image"));
    sandbox.stdout(&[&export[..], &STORE].concat());
    let verify = ["verify", "image", "--plan", "plan.json"];
    sandbox.stdout(&[&verify[..], &STORE].concat());
    let layer = plan["layers"].as_array().unwrap().last().unwrap().clone();
    let diff_id = layer["diff_id"].as_str().unwrap().replace(':', "/");
    let mut blob = fs::File::open(sandbox.path("image/blobs").join(diff_id)).unwrap();
    let mut entries = Vec::new();
    read_entries(
        &mut blob,
        &MediaType::OciLayerTar,
        |_| false,
        &mut |entry| {
            let name = String::from_utf8(entry.name).unwrap();
            entries.push(format!("{name} {:o}", entry.mode));
        },
    )
    .unwrap();
    (entries, layer)
}

#[test]
fn a_finished_tar_replaces_no_link_of_the_base_and_changes_no_directory() {
    let sandbox = crate::base::sandbox();
    sandbox.stdout(&["export", "base.json", "-o", "base.tar"]);
    sandbox.stdout(&["plan", "base.json", "--json", "-o", "base-plan.json"]);
    let lines = ["bin/", "bin/app=755", "root/", "root/.profile=644", "etc/"];
    write_tar(&sandbox, "layer.tar", &lines);
    write_tar(&sandbox, "other.tar", &["usr/", "usr/bin/", "etc/=711"]);
    let image = |tars: &[&str]| json!({"schema": "nixply.image/1", "layer_tars": tars});
    for base in ["base.tar", "base-plan.json"] {
        let (entries, layer) = top_layer(&sandbox, &image(&["layer.tar"]), base);
        let expected = [
            "usr 755",
            "usr/bin 755",
            "usr/bin/app 755",
            "root 700",
            "root/.profile 644",
            "etc 755",
        ];
        assert_eq!(entries, expected, "{base}");
        assert_eq!(layer["placed"]["moved"], json!({"bin": "usr/bin"}));
        let directories = json!({"root": {"mode": "0700", "uid": 0, "gid": 0}});
        assert_eq!(layer["placed"]["directories"], directories);

        // One that damages nothing stays as it is, and a tar stands above the tars before it.
        let (entries, layer) = top_layer(&sandbox, &image(&["other.tar"]), base);
        assert_eq!(entries, ["usr 755", "usr/bin 755", "etc 711"], "{base}");
        assert!(layer.get("placed").is_none(), "{layer}");
        let (_, layer) = top_layer(&sandbox, &image(&["other.tar", "layer.tar"]), base);
        assert_eq!(layer["placed"]["directories"]["etc"]["mode"], "0711");
    }

    // The root files of the image itself are below its tars, too.
    let mut own = image(&["layer.tar"]);
    own["root"] = json!({"directories": {"/etc": {"mode": "0750"}}});
    let (_, layer) = top_layer(&sandbox, &own, "base.tar");
    assert_eq!(layer["placed"]["directories"]["etc"]["mode"], "0750");
}

#[test]
fn a_finished_tar_that_cannot_stand_on_the_base_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let base = json!({
        "schema": "nixply.image/1",
        "files": [
            {"path": "usr/bin", "type": "directory"},
            {"path": "bin", "type": "symlink", "target": "usr/bin"},
            {"path": "loop", "type": "symlink", "target": "loop"},
        ],
    });
    sandbox.write("base.json", &base.to_string());
    sandbox.stdout(&["plan", "base.json", "--json", "-o", "base-plan.json"]);
    let refused = |lines: &[&str]| {
        write_tar(&sandbox, "layer.tar", lines);
        let image = json!({"schema": "nixply.image/1", "layer_tars": ["layer.tar"]});
        sandbox.write("image.json", &image.to_string());
        sandbox.show(&["plan", "image.json", "--base", "base-plan.json"])
    };
    let shown = [
        refused(&["bin/", "bin/x", "usr/", "usr/bin/", "usr/bin/x"]),
        refused(&["loop/", "loop/x"]),
    ];
    insta::assert_snapshot!(shown.concat());
}
