//! What an image changes of its base: owners and modes of store paths that the base holds.

use crate::support::{LIBC, Sandbox};
use serde_json::{Value, json};

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
