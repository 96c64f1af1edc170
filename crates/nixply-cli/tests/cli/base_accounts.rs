//! Users and groups over those of a base image.

use crate::base::{failure, json_of, push};
use crate::support::{LIBC, Sandbox};
use nixply_testkit::registry::RegistryProcess;
use serde_json::{Value, json};
use std::fs;

const STORE: [&str; 2] = ["--physical-store", "store"];
const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n";
const GROUP: &str = "root:x:0:\nsudo:x:27:\npostgres:x:999:\n";

/// A sandbox with `base.json`, an image with users of its own, and `app.json`, one that adds a user.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    write_base(
        &sandbox,
        &json!([
            {"path": "etc/passwd", "type": "file", "content": PASSWD},
            {"path": "etc/group", "type": "file", "content": GROUP},
            {"path": "etc/shadow", "type": "file", "content": "root:$6$secret:1::::::\n", "mode": "0640"},
            {"path": "etc/nsswitch.conf", "type": "file", "content": "passwd: files\n"},
            {"path": "var/lib/postgresql", "type": "directory", "mode": "0700", "uid": 999, "gid": 999},
        ]),
    );
    let app = json!({
        "schema": "nixply.image/1",
        "platform": {"os": "linux", "architecture": "amd64"},
        "root": {
            "users": {"joe": {"uid": 1000, "groups": ["sudo"]}},
            "files": {"/var/lib/postgresql/x/y": {"text": "", "user": "postgres"}},
        },
    });
    sandbox.write("app.json", &app.to_string());
    sandbox
}

fn write_base(sandbox: &Sandbox, files: &Value) {
    let base = json!({
        "schema": "nixply.image/1",
        "platform": {"os": "linux", "architecture": "amd64"},
        "files": files,
        "config": {"User": "postgres"},
    });
    sandbox.write("base.json", &base.to_string());
}

/// The root files of a plan on a base, by path, with what they hold.
fn root_files(sandbox: &Sandbox, image: &str, base: &str) -> Vec<(String, Option<String>)> {
    let plan = json_of(
        sandbox,
        &[&["plan", image, "--json", "--base", base][..], &STORE].concat(),
    );
    let layers = plan["layers"].as_array().unwrap();
    let root = layers
        .iter()
        .rfind(|layer| layer["kind"] == "root")
        .unwrap();
    let files = root["files"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    files
        .map(|file| (text(&file["path"]).unwrap(), text(&file["content"])))
        .collect()
}

fn assert_merged(files: &[(String, Option<String>)]) {
    let named = files
        .iter()
        .map(|(path, content)| (&path[..], content.as_deref()));
    let passwd = format!("{PASSWD}joe:!:1000:1000::/home/joe:/bin/sh\n");
    let group = GROUP.replace("sudo:x:27:", "sudo:x:27:joe") + "joe:x:1000:\n";
    assert_eq!(
        named.collect::<Vec<_>>(),
        [
            ("etc/group", Some(&group[..])),
            ("etc/passwd", Some(&passwd)),
            ("home/joe", None),
            ("tmp", None),
            ("var/lib/postgresql", None),
            ("var/lib/postgresql/x/y", Some("")),
            ("var/tmp", None),
        ]
    );
}

#[test]
fn users_are_added_to_those_of_every_form_of_base() {
    let sandbox = sandbox();
    sandbox.stdout(&["export", "base.json", "-o", "base.tar"]);
    sandbox.stdout(&[
        "export",
        "base.json",
        "--format",
        "oci-dir",
        "-o",
        "base-dir",
    ]);
    sandbox.stdout(&["plan", "base.json", "--json", "-o", "base-plan.json"]);
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let base = format!("{}/base:v1", registry.host());
    push(&sandbox, "base.json", &base, &[]);
    sandbox.stdout(&["base", "lock", &base, "-o", "lock.json"]);
    for base in [
        "base.tar",
        "base-dir",
        "base-plan.json",
        "lock.json",
        &format!("docker://{base}"),
    ] {
        assert_merged(&root_files(&sandbox, "app.json", base));
    }
    let lock = fs::read_to_string(sandbox.path("lock.json")).unwrap();
    assert!(!lock.contains("secret"), "{lock}");

    // An image on an image on an image: the first one's users are still there.
    sandbox.stdout(&[
        "plan",
        "app.json",
        "--json",
        "--base",
        "lock.json",
        "-o",
        "app-plan.json",
    ]);
    let more = json!({"schema": "nixply.image/1", "root": {"users": {"ann": {"uid": 1001, "group": "postgres"}}}});
    sandbox.write("more.json", &more.to_string());
    let files = root_files(&sandbox, "more.json", "app-plan.json");
    let passwd = files.iter().find(|file| file.0 == "etc/passwd").unwrap();
    let passwd = passwd.1.as_deref().unwrap();
    assert!(passwd.starts_with(PASSWD), "{passwd}");
    assert!(
        passwd
            .ends_with("\njoe:!:1000:1000::/home/joe:/bin/sh\nann:!:1001:999::/home/ann:/bin/sh\n"),
        "{passwd}"
    );
}

#[test]
fn users_that_nobody_knows_are_not_replaced() {
    let sandbox = sandbox();
    sandbox.stdout(&["plan", "base.json", "--json", "-o", "base-plan.json"]);
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let base = format!("{}/base:v1", registry.host());
    push(&sandbox, "base.json", &base, &[]);
    sandbox.stdout(&["base", "lock", &base, "-o", "lock.json"]);
    let mut lock: Value =
        serde_json::from_slice(&fs::read(sandbox.path("lock.json")).unwrap()).unwrap();
    lock.as_object_mut().unwrap().remove("accounts");
    sandbox.write("old-lock.json", &lock.to_string());
    let (code, stderr) = failure(&sandbox, &["plan", "app.json", "--base", "old-lock.json"]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains("nobody knows which users and groups the base image has"),
        "{stderr}"
    );
    assert!(stderr.contains("lock the base image again"), "{stderr}");

    let link = |target: &str| json!([{"path": "etc/passwd", "type": "symlink", "target": target}]);
    write_base(&sandbox, &link("/run/passwd"));
    sandbox.stdout(&["export", "base.json", "-o", "base.tar"]);
    let (code, stderr) = failure(&sandbox, &["plan", "app.json", "--base", "base.tar"]);
    assert_eq!(code, 3);
    assert!(stderr.contains("nobody knows which users"), "{stderr}");

    let app = json!({"schema": "nixply.image/1", "root": {"users": {"other": {"uid": 999}}}});
    sandbox.write("app.json", &app.to_string());
    let (code, stderr) = failure(&sandbox, &["plan", "app.json", "--base", "base-plan.json"]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains(
            "user `other` cannot have the ID 999, which is that of `postgres` in the base image"
        ),
        "{stderr}"
    );
}

#[test]
fn files_behind_links_into_the_store_are_read() {
    let sandbox = sandbox();
    let etc = sandbox.store().join(LIBC).join("etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("passwd"), PASSWD).unwrap();
    fs::write(etc.join("group"), GROUP).unwrap();
    let base = |root: Value| {
        let mut base = json!({
            "schema": "nixply.image/1",
            "closure": "closure.json",
            "roots": [format!("/nix/store/{LIBC}")],
            "platform": {"os": "linux", "architecture": "amd64"},
        });
        base.as_object_mut()
            .unwrap()
            .extend(root.as_object().unwrap().clone());
        sandbox.write("base.json", &base.to_string());
        sandbox.stdout(
            &[
                &["plan", "base.json", "--json", "-o", "base-plan.json"][..],
                &STORE,
            ]
            .concat(),
        );
        root_files(&sandbox, "app.json", "base-plan.json")
    };
    let libc = format!("/nix/store/{LIBC}");
    for root in [
        json!({"contents": [libc]}),
        json!({"root": {"links": {
            "/etc/passwd": format!("{libc}/etc/passwd"), "/etc/group": format!("{libc}/etc/group"),
        }}}),
        json!({"root": {"files": {
            "/etc/passwd": {"source": format!("{libc}/etc/passwd")}, "/etc/group": {"text": GROUP},
        }}}),
    ] {
        let files = base(root);
        let passwd = files.iter().find(|file| file.0 == "etc/passwd").unwrap();
        let expected = format!("{PASSWD}joe:x:1000:1000::/home/joe:/bin/sh\n");
        assert_eq!(passwd.1.as_deref(), Some(&expected[..]));
        let shadow = files.iter().find(|file| file.0 == "etc/shadow").unwrap();
        assert_eq!(shadow.1.as_deref(), Some("joe:!:1::::::\n"));
    }
}
