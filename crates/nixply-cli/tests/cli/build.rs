//! `nixply build` and `nixply program`: what Nix runs, and what people run that Nix made.

use crate::support::{APP, DATA, LIB, LIBC, Sandbox};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

const SPEC: &str = "5555555555555555555555555555555f-app-spec.json";

/// The closure of `closure.json` as Nix exports it to a builder, and a specification on top that refers to the application.
fn exported_closure(sandbox: &Sandbox) -> Value {
    let closure = fs::read(sandbox.path("closure.json")).unwrap();
    let closure: Value = serde_json::from_slice(&closure).unwrap();
    let mut graph: Vec<Value> = (closure.as_object().unwrap().iter())
        .map(|(path, entry)| {
            json!({
                "path": path,
                "narHash": entry["narHash"],
                "narSize": entry["narSize"],
                "references": entry["references"],
                "closureSize": 1,
            })
        })
        .collect();
    graph.push(json!({
        "path": format!("/nix/store/{SPEC}"),
        "narHash": format!("sha256:{}", "0".repeat(52)),
        "narSize": 10,
        "references": [format!("/nix/store/{APP}")],
        "closureSize": 1,
    }));
    Value::Array(graph)
}

fn attributes(sandbox: &Sandbox, request: &Value) -> Value {
    let mut nixply = json!({ "schema": "nixply.build/1" });
    let request = request.as_object().unwrap().clone();
    nixply.as_object_mut().unwrap().extend(request);
    json!({
        "name": "x",
        "builder": "/nix/store/nixply/bin/nixply",
        "nixply": nixply,
        "outputs": { "out": sandbox.path("out") },
        "closure": exported_closure(sandbox),
    })
}

/// Runs the builder as Nix 2.3 does: the attributes are a file in the directory of the build.
fn build(sandbox: &Sandbox, request: &Value) -> Output {
    let attributes = attributes(sandbox, request);
    sandbox.write(".attrs.json", &attributes.to_string());
    sandbox.run(&["build"])
}

fn built(sandbox: &Sandbox, request: &Value) -> String {
    let output = build(sandbox, request);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    fs::read_to_string(sandbox.path("out")).unwrap()
}

#[test]
fn a_plan_holds_what_the_specification_names_and_not_the_specification() {
    let sandbox = Sandbox::new();
    let cmd = format!("/nix/store/{APP}/bin/app");
    let image = json!({
        "schema": "nixply.image/1",
        "name": "app",
        "platform": { "os": "linux", "architecture": "amd64" },
        "config": { "Cmd": [cmd] },
    });
    let spec = built(&sandbox, &json!({ "output": "spec", "image": image }));
    let parsed: Value = serde_json::from_str(&spec).unwrap();
    assert_eq!(parsed, image);
    assert!(spec.contains(&cmd), "Nix finds no reference in {spec}");

    sandbox.write(SPEC, &spec);
    let request = json!({ "output": "plan", "spec": sandbox.path(SPEC) });
    let plan = built(&sandbox, &request);
    for path in [APP, LIB, LIBC, DATA] {
        assert!(plan.contains(path), "{path} is not in {plan}");
    }
    assert!(!plan.contains(SPEC), "{plan}");
    // The same image on the command line has the same plan.
    let by_hand = [
        "plan",
        "closure.json",
        "--platform",
        "linux/amd64",
        "--json",
    ];
    let by_hand = sandbox.stdout(&[&by_hand[..], &["--name", "app", "--cmd", &cmd]].concat());
    assert_eq!(plan, by_hand);
}

#[test]
fn newer_nix_names_the_file_of_attributes() {
    let sandbox = Sandbox::new();
    let image = json!({ "schema": "nixply.image/1" });
    let attributes = attributes(&sandbox, &json!({ "output": "spec", "image": image }));
    sandbox.write("elsewhere.json", &attributes.to_string());
    let mut command = sandbox.command(&["build"]);
    command.env("NIX_ATTRS_JSON_FILE", sandbox.path("elsewhere.json"));
    assert!(command.output().unwrap().status.success());
    assert!(sandbox.path("out").is_file());
}

#[test]
fn a_program_is_a_command_with_its_first_words() {
    let sandbox = Sandbox::new();
    let request = json!({
        "output": "program",
        "name": "show",
        "interpreter": env!("CARGO_BIN_EXE_nixply"),
        "program": {
            "schema": "nixply.program/1",
            "command": ["plan", sandbox.path("closure.json")],
        },
    });
    let output = build(&sandbox, &request);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let program = sandbox.path("out/bin/show");
    let mode = fs::metadata(&program).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let text = fs::read_to_string(&program).unwrap();
    assert!(text.starts_with("#!/"), "{text}");
    assert!(
        text.lines().next().unwrap().ends_with("nixply program"),
        "{text}"
    );

    let program = program.display().to_string();
    let run = |arguments: &[&str]| sandbox.run(&[&["program", &program], arguments].concat());
    let stdout = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(stdout(&run(&[])), sandbox.stdout(&["plan", "closure.json"]));
    assert_eq!(
        stdout(&run(&["--max-layers", "1", "--json"])),
        sandbox.stdout(&["plan", "closure.json", "--max-layers", "1", "--json"])
    );
    // Options belong to the command, help included.
    assert_eq!(
        stdout(&run(&["--help"])),
        sandbox.stdout(&["plan", "--help"])
    );
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));
}

#[test]
fn mistakes_are_told() {
    let sandbox = Sandbox::new();
    let mut text = sandbox.show(&["build"]);
    let image = json!({ "schema": "nixply.image/1", "max_layers": "3" });
    sandbox.write("bad-spec.json", &image.to_string());
    for request in [
        json!({ "output": "disk-image" }),
        json!({ "schema": "nixply.build/2" }),
        json!({ "output": "spec" }),
        json!({ "output": "plan", "spec": sandbox.path("bad-spec.json") }),
        json!({ "output": "archive", "plan": "closure.json", "format": "zip" }),
        json!({ "output": "manifest", "plan": "closure.json" }),
    ] {
        text.push_str(&sandbox.shown(&["build"], &build(&sandbox, &request)));
    }
    for program in [
        "",
        "#!/x\n{",
        r#"{"schema":"nixply.program/2","command":["plan"]}"#,
        r#"{"schema":"nixply.program/1","command":["program","program"]}"#,
    ] {
        sandbox.write("program", program);
        text.push_str(&sandbox.show(&["program", "program"]));
    }
    insta::assert_snapshot!(text);
}

/// A lock of `base.json`, whose layers are in a registry that nobody can reach.
fn unreachable_lock(sandbox: &Sandbox) {
    let export = ["export", "base.json", "-o", "base", "--format", "oci-dir"];
    sandbox.stdout(&export);
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().replace(':', "/");
        fs::read_to_string(sandbox.path("base/blobs").join(digest)).unwrap()
    };
    let index = fs::read(sandbox.path("base/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let digest = &index["manifests"][0]["digest"];
    let manifest = blob(digest);
    let document: Value = serde_json::from_str(&manifest).unwrap();
    let lock = json!({
        "schema": "nixply.base/1",
        "reference": format!("registry.invalid/base@{}", digest.as_str().unwrap()),
        "platform": {"os": "linux", "architecture": "amd64"},
        "config": blob(&document["config"]["digest"]),
        "manifest": manifest,
        "links": {"bin": "usr/bin"},
        "usual_directories": {"": "usr", "usr": "bin"},
    });
    sandbox.write("base.lock.json", &lock.to_string());
}

#[test]
fn what_would_have_to_be_fetched_is_refused_at_once_and_a_manifest_needs_no_base_layer() {
    let sandbox = crate::base::sandbox();
    unreachable_lock(&sandbox);
    let files = json!([{"path": "/etc/x", "type": "file", "content": "x"}]);
    let image = json!({"schema": "nixply.image/1", "base": "base.lock.json", "files": files});
    sandbox.write("image.json", &image.to_string());
    sandbox.stdout(&["plan", "image.json", "--json", "-o", "plan.json"]);
    let plan = sandbox.path("plan.json");
    let manifest = built(&sandbox, &json!({"output": "manifest", "plan": plan}));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2, "{manifest}");
    let shown = ["archive", "oci-layout"].map(|output| {
        let request = json!({"output": output, "plan": plan});
        let output = build(&sandbox, &request);
        sandbox.shown(&["build"], &output)
    });
    let reference = fs::read_to_string(sandbox.path("base.lock.json")).unwrap();
    let reference: Value = serde_json::from_str(&reference).unwrap();
    let digest = reference["reference"].as_str().unwrap();
    insta::assert_snapshot!(shown.concat().replace(digest, "[BASE]"));
}

#[test]
fn a_builder_speaks_as_people_write_nix() {
    let sandbox = Sandbox::new();
    let refused = |fields: Value| {
        let mut image = json!({
            "schema": "nixply.image/1",
            "platform": { "os": "linux", "architecture": "amd64" },
            "config": { "Cmd": [format!("/nix/store/{APP}/bin/app")] },
        });
        image
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        sandbox.write(SPEC, &image.to_string());
        let request = json!({ "output": "plan", "spec": sandbox.path(SPEC) });
        let output = build(&sandbox, &request);
        assert!(!output.status.success(), "{fields}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(json!({ "root": { "files": { "/x": { "text": "", "user": "app" } } } }));
    assert_eq!(
        said,
        "error: root: file `/x`: there is no user `app`\n\nhint: define it: `root.users.app = …`\n"
    );
    let said = refused(json!({ "created": "2024-01-01" }));
    assert!(
        said.starts_with("error: argument `created` is `2024-01-01`, expected RFC 3339"),
        "{said}"
    );
    // A rule does not bring its path into the image.
    let other = "/nix/store/6666666666666666666666666666666f-redis";
    let said = refused(json!({ "perms": [{ "path": other, "regex": "x$", "mode": "4755" }] }));
    assert!(
        said.contains(&format!(
            "perms: rule `x$` is for `{other}`, which is not in the image's closure"
        )),
        "{said}"
    );
}

#[test]
fn a_builder_warns_of_what_a_container_fails_on() {
    let sandbox = Sandbox::new();
    let image = json!({
        "schema": "nixply.image/1",
        "platform": { "os": "linux", "architecture": "amd64" },
        "root": { "users": { "app": { "uid": 1000 } } },
        "config": { "Cmd": ["/bin/bsh"], "User": "ap", "Env": [format!("A=/nix/store/{APP}")] },
    });
    sandbox.write(SPEC, &image.to_string());
    let request = json!({ "output": "plan", "spec": sandbox.path(SPEC) });
    let output = build(&sandbox, &request);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "warning: `config.User` names the user `ap`, but the image's `/etc/passwd` has none of that name\n\
         warning: `config.Cmd` starts `/bin/bsh`, which is not in the image\n"
    );
}
