//! Images on disk: written, looked at, compared with the store.

use crate::support::{APP, LIB, LIBC, Sandbox};
use std::fs;

const STORE: [&str; 3] = ["--physical-store", "store", "-q"];

/// A layer for each path, unless `more` names a packer.
fn export(sandbox: &Sandbox, format: &str, output: &str, more: &[&str]) -> String {
    let per_path: &[&str] = if more.contains(&"--packer") {
        &[]
    } else {
        &["--packer", "per-path"]
    };
    let arguments = [
        &[
            "export",
            "closure.json",
            "--format",
            format,
            "-o",
            output,
            "--platform",
            "linux/amd64",
        ][..],
        &STORE,
        per_path,
        more,
    ];
    sandbox.stdout(&arguments.concat())
}

#[test]
fn inspect_tells_what_a_container_runs() {
    let sandbox = Sandbox::new();
    let spec = serde_json::json!({
        "schema": "nixply.image/1", "closure": "closure.json", "platform": {"os": "linux", "architecture": "amd64"},
        "config": {
            "Entrypoint": ["/bin/app", "--greeting", "good day"], "Cmd": ["run"], "User": "app",
            "WorkingDir": "/work", "Env": ["PATH=/bin", "LANG=C"], "ExposedPorts": {"80/tcp": {}},
            "Labels": {"org.example.team": "infra"},
        },
        "contents": [format!("/nix/store/{APP}")],
        "root": {"users": {"app": {"uid": 1000}}},
    });
    sandbox.write("image.json", &spec.to_string());
    let export = [
        "export",
        "image.json",
        "--format",
        "oci-dir",
        "-o",
        "layout",
    ];
    sandbox.stdout(&[&export[..], &STORE].concat());
    insta::assert_snapshot!(sandbox.show(&["inspect", "layout"]));
}

#[test]
fn a_plan_tells_where_its_layers_are_decided() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "plan.json",
        &sandbox.stdout(&["plan", "closure.json", "--json"]),
    );
    let mut text = String::new();
    for options in [
        ["--max-layers", "3"],
        ["--catalog", "catalog.json"],
        ["--root", "x"],
    ] {
        text.push_str(&sandbox.show(&[&["plan", "plan.json"][..], &options].concat()));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_engine_without_its_daemon_is_told() {
    let sandbox = Sandbox::new();
    sandbox.program("docker", "exit 1");
    let load = [
        "load",
        "closure.json",
        "--name",
        "app",
        "-q",
        "--physical-store",
        "store",
    ];
    let show = |more: &[&str]| {
        let arguments = [&load[..], more].concat();
        let mut command = sandbox.command(&arguments);
        let output = command.env("PATH", sandbox.path("bin")).output().unwrap();
        sandbox.shown(&arguments, &output)
    };
    let mut text = show(&[]);
    sandbox.program("podman", "exec /bin/cat > loaded");
    text.push_str(&show(&[]));
    text.push_str(&show(&["--into", "docker"]));
    text.push_str(&show(&["--into", "podman"]));
    insta::assert_snapshot!(text);
    assert!(std::fs::metadata(sandbox.path("loaded")).unwrap().len() > 1000);
    // A daemon that answers said itself what was wrong.
    sandbox.program("docker", r#"test "$1" = version"#);
    let text = show(&[]);
    assert!(
        text.contains("error: `docker load` failed: exit status: 1\n--- exit"),
        "{text}"
    );
}

#[test]
fn every_form_holds_the_same_image() {
    let sandbox = Sandbox::new();
    let name = ["--name", "example.org/app", "--tag", "v1"];
    let dir = export(&sandbox, "oci-dir", "layout", &name);
    let archive = export(&sandbox, "archive", "archive.tar", &name);
    assert_eq!(dir, archive);
    let inspected = sandbox.stdout(&["inspect", "layout", "--json"]);
    assert_eq!(
        sandbox.stdout(&["inspect", "archive.tar", "--json"]),
        inspected
    );
    export(&sandbox, "docker-archive", "docker.tar", &name);
    for image in ["layout", "archive.tar", "docker.tar"] {
        let text = sandbox.stdout(&["verify", image, "--physical-store", "store"]);
        assert!(text.ends_with("verified 4 layers\n"), "{image}: {text}");
    }
    insta::assert_snapshot!(sandbox.show(&["inspect", "layout"]));
    insta::assert_snapshot!(sandbox.show(&[
        "verify",
        "layout",
        "--physical-store",
        "store",
        "--json"
    ]));
}

#[test]
fn standard_output_takes_an_archive() {
    let sandbox = Sandbox::new();
    export(&sandbox, "archive", "archive.tar", &["--packer", "auto"]);
    let arguments = [
        &[
            "export",
            "closure.json",
            "--format",
            "archive",
            "-o",
            "-",
            "--platform",
            "linux/amd64",
        ][..],
        &STORE,
    ];
    let output = sandbox.run(&arguments.concat());
    assert_eq!(
        output.stdout,
        fs::read(sandbox.path("archive.tar")).unwrap()
    );
}

#[test]
fn the_digest_does_not_depend_on_threads_or_environment() {
    let sandbox = Sandbox::new();
    let arguments = |jobs| {
        [
            &[
                "export",
                "closure.json",
                "--format",
                "archive",
                "-o",
                "-",
                "--platform",
                "linux/amd64",
            ][..],
            &STORE,
            &["--jobs", jobs],
        ]
        .concat()
    };
    let expected = sandbox.run(&arguments("1")).stdout;
    assert!(!expected.is_empty());
    for jobs in ["2", "16"] {
        let mut command = sandbox.command(&arguments(jobs));
        command
            .env("TZ", "Asia/Kathmandu")
            .env("LANG", "tr_TR.UTF-8")
            .env("SOURCE_DATE_EPOCH", "7");
        assert!(
            command.output().unwrap().stdout == expected,
            "--jobs {jobs} gave other bytes"
        );
    }
}

#[test]
fn a_changed_store_is_told_from_the_image() {
    let sandbox = Sandbox::new();
    export(&sandbox, "oci-dir", "layout", &[]);
    let libc = sandbox.store().join(LIBC).join("lib/libc.so");
    let mut content = fs::read(&libc).unwrap();
    content[70_000] = b'x';
    fs::write(&libc, content).unwrap();
    fs::remove_file(sandbox.store().join(LIB).join("lib/lib.so")).unwrap();
    insta::assert_snapshot!(sandbox.show(&["verify", "layout", "--physical-store", "store"]));
}

#[test]
fn a_damaged_image_is_input_that_lies() {
    let sandbox = Sandbox::new();
    export(&sandbox, "oci-dir", "layout", &[]);
    let blobs = sandbox.path("layout/blobs/sha256");
    let biggest = fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut content = fs::read(&biggest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&biggest, content).unwrap();
    let output = sandbox.run(&["verify", "layout", "--physical-store", "store"]);
    assert!(matches!(output.status.code(), Some(3 | 5)), "{output:?}");
}

#[test]
fn the_exact_bytes_of_dockertools_are_verified_too() {
    let sandbox = Sandbox::new();
    export(
        &sandbox,
        "oci-dir",
        "layout",
        &["--layer-format", "dockertools", "--packer", "popularity"],
    );
    let text = sandbox.stdout(&["verify", "layout", "--physical-store", "store"]);
    assert!(text.ends_with("verified 4 layers\n"), "{text}");
}

#[test]
fn root_files_are_verified_with_the_plan() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "image.json",
        r#"{"schema": "nixply.image/1", "closure": "closure.json", "packer": "per-path", "files": [
          {"path": "bin/sudo", "type": "file", "mode": "4755", "content": "x"},
          {"path": "etc/link", "type": "symlink", "target": "/bin/sudo"}]}"#,
    );
    sandbox.stdout(&["plan", "image.json", "-o", "plan.json"]);
    let arguments = [
        &["export", "plan.json", "--format", "oci-dir", "-o", "layout"][..],
        &STORE,
    ]
    .concat();
    sandbox.stdout(&arguments);
    let verify = ["verify", "layout", "--physical-store", "store"];
    let dockertools = [
        &[
            "export",
            "image.json",
            "--format",
            "oci-dir",
            "-o",
            "exact",
            "--layer-format",
            "dockertools",
        ][..],
        &STORE,
    ];
    sandbox.stdout(&dockertools.concat());
    let without = sandbox.run(&verify);
    assert_eq!(
        without.status.code(),
        Some(5),
        "what is not compared is not verified"
    );
    let stderr = String::from_utf8(without.stderr).unwrap();
    assert!(
        stderr.contains("compared 4 of 5 layers") && stderr.contains("--plan"),
        "{stderr}"
    );
    let with = sandbox.stdout(&[&verify[..], &["--plan", "plan.json"]].concat());
    assert!(!with.contains("nothing says"), "{with}");
    assert!(with.ends_with("verified 5 layers\n"), "{with}");
    let spec = sandbox.stdout(&[&verify[..], &["--plan", "image.json"]].concat());
    assert!(spec.ends_with("verified 5 layers\n"), "{spec}");
    sandbox.stdout(&[
        "plan",
        "image.json",
        "-o",
        "other.json",
        "--cmd",
        "/bin/other",
    ]);
    let other = sandbox.run(&[&verify[..], &["--plan", "other.json"]].concat());
    assert_eq!(
        other.status.code(),
        Some(5),
        "the config is part of the image"
    );
}

#[test]
fn an_archive_that_is_not_read_to_its_end_is_a_failure() {
    let sandbox = Sandbox::new();
    let arguments = [
        &[
            "export",
            "closure.json",
            "--format",
            "docker-archive",
            "-o",
            "-",
        ][..],
        &STORE,
    ]
    .concat();
    let mut child = sandbox
        .command(&arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn an_archive_is_what_is_written_without_a_format() {
    let sandbox = Sandbox::new();
    let export = |more: &[&str], output: &str| {
        let store = ["export", "closure.json", "--physical-store", "store", "-q"];
        sandbox.stdout(&[&store[..], more, &["-o", output]].concat())
    };
    assert_eq!(
        export(&[], "plain.tar"),
        export(&["--format", "archive"], "archive.tar")
    );
    let read = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert!(read("plain.tar") == read("archive.tar"));
}
