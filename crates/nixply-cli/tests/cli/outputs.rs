//! Outputs of Nix by their installable and by their path: what an image is made from, an image, and anything else.

use crate::support::{APP, DATA, LIB, LIBC, Sandbox};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The hash part of the output's store path.
const HASH: &str = "5555555555555555555555555555555f";

/// A sandbox whose `nix` knows the output behind `#`, and of every other path the closure of the small store.
struct Outputs {
    sandbox: Sandbox,
    dir: PathBuf,
}

impl Outputs {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.program(
            "nix",
            r#"case "$*" in *'#'*|*/5555*) exec /bin/cat output.json;; *) exec /bin/cat closure.json;; esac"#,
        );
        let dir = sandbox.path("").canonicalize().unwrap();
        Self { sandbox, dir }
    }

    /// The path of an output with a name, which `.#x` leads to from now on.
    fn output(&self, name: &str) -> PathBuf {
        let path = self.dir.join("store").join(format!("{HASH}-{name}"));
        let info = json!([{
            "path": path,
            "narHash": format!("sha256-{}=", "A".repeat(43)),
            "narSize": 1000,
            "references": [],
        }]);
        self.sandbox.write("output.json", &info.to_string());
        path
    }

    /// An output that is a file.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.output(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.sandbox.command(arguments);
        command.env("PATH", self.dir.join("bin")).output().unwrap()
    }

    fn show(&self, arguments: &[&str]) -> String {
        self.sandbox.shown(arguments, &self.run(arguments))
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn plan(&self, image: &str) -> Value {
        serde_json::from_str(&self.stdout(&["plan", image, "--json"])).unwrap()
    }

    /// The base names of all store paths in the plan of `.#x`; the plan of the output's own path is the same.
    fn planned(&self, path: &str) -> Vec<String> {
        let plan = self.plan(".#x");
        assert_eq!(plan, self.plan(path));
        let layers = plan["layers"].as_array().unwrap().iter();
        let paths = layers.flat_map(|layer| layer["paths"].as_array().cloned().unwrap_or_default());
        let base_name = |path: Value| {
            let path = path["path"].as_str().unwrap().to_owned();
            path.rsplit('/').next().unwrap().to_owned()
        };
        let mut names: Vec<String> = paths.map(base_name).collect();
        names.sort();
        names
    }

    /// The text of the plan of the small store.
    fn plan_text(&self) -> String {
        self.stdout(&[
            "plan",
            "closure.json",
            "--compression",
            "zstd",
            "--cmd",
            "app",
            "--json",
        ])
    }
}

const ALL: [&str; 4] = [APP, LIB, LIBC, DATA];

#[test]
fn a_plan_is_itself_for_every_command() {
    let outputs = Outputs::new();
    let text = outputs.plan_text();
    outputs.sandbox.write("plan.json", &text);
    let path = outputs.file("app-plan.json", &text);
    assert_eq!(outputs.planned(path.to_str().unwrap()), ALL);
    assert_eq!(outputs.stdout(&["plan", ".#x", "--json"]), text);
    assert_eq!(outputs.stdout(&["inspect", ".#x", "--json"]), text);
    let explained = outputs.stdout(&["explain", ".#x"]);
    assert!(explained.contains("4 store paths"), "{explained}");
    let compared = outputs.run(&["diff", ".#x", "plan.json", "--exit-code"]);
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    let store = ["--physical-store", "store"];
    let export = ["export", ".#x", "--format", "oci-dir", "-o", "layout", "-q"];
    outputs.stdout(&[&export[..], &store].concat());
    let verify = ["verify", "layout", "--plan", ".#x"];
    let verified = outputs.stdout(&[&verify[..], &store].concat());
    assert!(verified.ends_with("verified 3 layers\n"), "{verified}");
    let over = outputs.run(&["plan", ".#x", "--max-layers", "3"]);
    let stderr = String::from_utf8_lossy(&over.stderr);
    assert!(
        stderr.contains("`.#x` decides the layers already"),
        "{stderr}"
    );
}

#[test]
fn a_plan_stands_for_the_closure_of_its_image() {
    let outputs = Outputs::new();
    outputs.file("app-plan.json", outputs.plan_text());
    outputs.stdout(&[
        "bench",
        "reuse",
        ".#x",
        "--json",
        "reuse.json",
        "--save",
        "fleet.json",
    ]);
    let fleet = fs::read_to_string(outputs.dir.join("fleet.json")).unwrap();
    assert!(
        fleet.contains(LIBC) && !fleet.contains("app-plan.json"),
        "{fleet}"
    );
    let app = format!("/nix/store/{APP}");
    outputs
        .sandbox
        .write("sets.json", &json!({"app": [app]}).to_string());
    let catalog = outputs.stdout(&["catalog", ".#x", "--sets", "sets.json", "--level", "1"]);
    assert!(catalog.contains(LIBC), "{catalog}");
    outputs.sandbox.write("plan.json", &outputs.plan_text());
    let explained = outputs.stdout(&["explain", "plan.json", LIBC, "--closure", ".#x"]);
    assert!(explained.contains("app 1.0 (root)"), "{explained}");
}

#[test]
fn whatever_an_image_is_made_from_is_told_by_its_content() {
    let outputs = Outputs::new();
    let dir = outputs.dir.display();
    let spec = json!({"schema": "nixply.image/1", "store_paths": [format!("/nix/store/{APP}")]});
    let path = outputs.file("image.json", spec.to_string());
    assert_eq!(outputs.planned(path.to_str().unwrap()), ALL);

    let store_layers: Vec<[String; 1]> = ALL.map(|name| [format!("/nix/store/{name}")]).to_vec();
    fs::create_dir(outputs.dir.join("custom")).unwrap();
    fs::write(outputs.dir.join("custom/layer.tar"), [0; 10240]).unwrap();
    let checksum = nixply_oci::DiffId::of(&[0; 10240]).to_string();
    outputs
        .sandbox
        .write("custom/checksum", checksum.strip_prefix("sha256:").unwrap());
    let conf = json!({
        "architecture": "amd64", "config": {}, "store_dir": "/nix/store", "from_image": null,
        "store_layers": store_layers, "customisation_layer": format!("{dir}/custom"),
        "repo_tag": "app:v1", "created": "1970-01-01T00:00:01Z",
        "uid": "0", "gid": "0", "uname": "root", "gname": "root",
    });
    let path = outputs.file("app-conf.json", conf.to_string());
    assert_eq!(outputs.planned(path.to_str().unwrap()), ALL);

    let script = format!("#!/bin/sh\nexec stream {} \"$@\"\n", path.display());
    let path = outputs.file("stream-app", script);
    assert_eq!(outputs.planned(path.to_str().unwrap()), ALL);

    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/nix2container/root.json"
    );
    let path = outputs.file("image-app.json", fs::read(fixture).unwrap());
    outputs.planned(path.to_str().unwrap());
    assert_eq!(outputs.plan(".#x")["layers"][0]["kind"], "nix2container");
}

#[test]
fn a_program_is_the_plan_that_it_names() {
    let outputs = Outputs::new();
    outputs.sandbox.write("plan.json", &outputs.plan_text());
    let plan = outputs.dir.join("plan.json");
    let program = |command: Value| {
        let json = json!({"schema": "nixply.program/1", "command": command});
        format!("#!/nix/store/x-nixply/bin/nixply program\n{json}\n")
    };
    let stream = program(json!(["stream", plan, "--default-tag", "v1"]));
    let path = outputs.file("stream-app", &stream);
    assert_eq!(outputs.planned(path.to_str().unwrap()), ALL);
    assert_eq!(
        outputs.stdout(&["plan", ".#x", "--json"]),
        outputs.plan_text()
    );
    // As `push` and `load` have it: the program alone in `bin`.
    let path = outputs.output("push-app");
    fs::create_dir_all(path.join("bin")).unwrap();
    fs::write(path.join("bin/push-app"), program(json!(["push", plan]))).unwrap();
    assert_eq!(outputs.planned(path.to_str().unwrap()), ALL);
    assert_eq!(
        outputs.planned(path.join("bin/push-app").to_str().unwrap()),
        ALL
    );
    // Outside the store it is the same.
    outputs.sandbox.write("program", &stream);
    assert_eq!(outputs.plan("program"), outputs.plan("plan.json"));
    outputs.sandbox.write("program", &program(json!(["cache"])));
    let refused = outputs.run(&["plan", "program"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(
        stderr.contains("`program` is a program of nixply that names no plan"),
        "{stderr}"
    );
    // Beside other programs it is part of a package.
    fs::write(path.join("bin/other"), "").unwrap();
    assert_eq!(
        outputs.planned(path.to_str().unwrap()),
        [format!("{HASH}-push-app")]
    );
}

/// A tar of files, made by the command itself or by tar.
fn tar(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn images_are_refused() {
    let outputs = Outputs::new();
    let export = ["export", "closure.json", "--physical-store", "store", "-q"];
    let archive = outputs.output("app.tar");
    let archive_text = archive.to_str().unwrap();
    outputs.stdout(&[&export[..], &["-o", archive_text]].concat());
    let mut text = String::new();
    for arguments in [
        &["plan", ".#x"][..],
        &["plan", &format!("store/{HASH}-app.tar")],
        &["push", ".#x", "localhost:1/app"],
        &["inspect", ".#x"],
    ] {
        text.push_str(&outputs.show(arguments));
        text.push('\n');
    }
    // What the hint says.
    assert!(
        outputs
            .stdout(&["inspect", archive_text])
            .contains("3 layers")
    );
    outputs.sandbox.write(
        "output-closure.json",
        &fs::read_to_string(outputs.dir.join("output.json")).unwrap(),
    );
    assert!(
        outputs
            .stdout(&["plan", "output-closure.json"])
            .contains("app.tar")
    );
    let gzipped = Command::new("gzip").args(["-nc", archive_text]).output();
    outputs.file("app.tar.gz", gzipped.unwrap().stdout);
    text.push_str(&outputs.show(&["plan", ".#x"]));
    text.push('\n');
    let layout = outputs.output("app-oci-layout");
    outputs.stdout(
        &[
            &export[..],
            &["--format", "oci-dir", "-o", layout.to_str().unwrap()],
        ]
        .concat(),
    );
    text.push_str(&outputs.show(&["plan", ".#x"]));
    text.push('\n');
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = fs::read(layout.join("blobs/sha256").join(&digest[7..])).unwrap();
    outputs.file("app-manifest.json", &manifest);
    text.push_str(&outputs.show(&["plan", ".#x"]));
    text.push('\n');
    // Outside the store it is the same.
    fs::write(outputs.dir.join("manifest.json"), manifest).unwrap();
    text.push_str(&outputs.show(&["plan", "manifest.json"]));
    fs::rename(layout, outputs.dir.join("layout")).unwrap();
    text.push('\n');
    text.push_str(&outputs.show(&["plan", "layout"]));
    insta::assert_snapshot!(text);
}

#[test]
fn anything_else_is_what_an_image_holds() {
    let outputs = Outputs::new();
    let sources = tar(&[("hello-1.0/manifest.json", "[]")]);
    let conf = "#!/bin/sh\nexec /nix/store/x-app --config /nix/store/x-app-conf.json\n";
    let list = format!("/nix/store/{APP}\n/nix/store/{LIB}\n");
    for (name, content) in [
        ("hello-1.0.tar", sources.as_slice()),
        (
            "extension.tar",
            &tar(&[("manifest.json", r#"{"manifest_version": 3}"#)]),
        ),
        ("script", conf.as_bytes()),
        ("settings.json", br#"{"schema": "other/1"}"#),
        ("list.json", b"[1, 2]"),
        ("paths", list.as_bytes()),
        ("code.c", b"/* code */"),
        ("empty", b""),
    ] {
        let path = outputs.file(name, content);
        assert_eq!(
            outputs.planned(path.to_str().unwrap()),
            [format!("{HASH}-{name}")]
        );
    }
    let directory = outputs.output("package");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("plan.json"), outputs.plan_text()).unwrap();
    assert_eq!(
        outputs.planned(directory.to_str().unwrap()),
        [format!("{HASH}-package")]
    );
    // With several outputs, none of them is the image.
    let plan = outputs.file("app-plan.json", outputs.plan_text());
    let info = fs::read_to_string(outputs.dir.join("output.json")).unwrap();
    let mut infos: Vec<Value> = serde_json::from_str(&info).unwrap();
    infos.push(infos[0].clone());
    infos[1]["path"] = json!(format!("{}-doc", plan.display()));
    outputs
        .sandbox
        .write("output.json", &json!(infos).to_string());
    let both = outputs.stdout(&["plan", ".#x", "--json"]);
    assert!(both.contains("app-plan.json-doc"), "{both}");
}
