//! Pushing to a real registry.

use crate::support::Sandbox;
use nixply_testkit::registry::RegistryProcess;
use serde_json::Value;
use std::fs;

const OPTIONS: [&str; 5] = [
    "--physical-store",
    "store",
    "-q",
    "--platform",
    "linux/amd64",
];

/// The last line of `--json`.
fn push_json(sandbox: &Sandbox, reference: &str, more: &[&str]) -> Value {
    let arguments = [
        &["push", "closure.json", reference, "--json"][..],
        &OPTIONS,
        more,
    ]
    .concat();
    let printed = sandbox.stdout(&arguments);
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

#[test]
fn a_push_sends_what_lacks_and_a_second_one_nothing() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let first = push_json(&sandbox, &reference, &["--digest-file", "digest"]);
    assert_eq!(first["layer_bytes_not_sent"], 0);
    assert_eq!(first["layers"].as_array().unwrap().len(), 3);
    assert_eq!(
        fs::read_to_string(sandbox.path("digest")).unwrap(),
        first["digest"].as_str().unwrap()
    );
    let image = format!("docker://{reference}");
    let text = sandbox.stdout(&["verify", &image, "--physical-store", "store"]);
    assert!(text.ends_with("verified 3 layers\n"), "{text}");

    // Nothing is read when nothing changed: the store may even be gone.
    fs::rename(sandbox.store(), sandbox.path("gone")).unwrap();
    let second = push_json(&sandbox, &reference, &["--tag", "latest"]);
    assert_eq!(second["layer_bytes_sent"], 0);
    assert_eq!(second["digest"], first["digest"]);
    assert_eq!(second["tags"], serde_json::json!(["v1", "latest"]));
    // A new tag for every commit learns from the one that stays.
    let third = push_json(
        &sandbox,
        &format!("{}/team/app:commit-2", registry.host()),
        &["--tag", "latest"],
    );
    assert_eq!(third["layer_bytes_sent"], 0);
    let latest = sandbox.stdout(&[
        "inspect",
        &format!("docker://{}/team/app:latest", registry.host()),
    ]);
    assert!(
        latest.contains(first["digest"].as_str().unwrap()),
        "{latest}"
    );
}

#[test]
fn a_push_that_fails_moves_no_tag() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let before = push_json(&sandbox, &reference, &[]);
    let plain = sandbox.stdout(&[
        "plan",
        "closure.json",
        "--compression",
        "none",
        "-o",
        "plan.json",
    ]);
    assert!(plain.is_empty());
    fs::remove_dir_all(sandbox.store().join(crate::support::LIB)).unwrap();
    let arguments = [&["push", "plan.json", &reference][..], &OPTIONS].concat();
    let output = sandbox.run(&arguments);
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(crate::support::LIB), "{stderr}");
    let now = sandbox.stdout(&["inspect", &format!("docker://{reference}")]);
    assert!(now.contains(before["digest"].as_str().unwrap()), "{now}");
}

#[test]
fn passwords_come_from_dockers_config() {
    let Some(registry) = RegistryProcess::start_with_user() else {
        return;
    };
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let arguments = [&["push", "closure.json", &reference][..], &OPTIONS].concat();
    let without = sandbox.run(&arguments);
    assert_eq!(without.status.code(), Some(4));
    let stderr = String::from_utf8(without.stderr).unwrap();
    assert!(stderr.contains("hint: log in to the registry"), "{stderr}");

    let refused = sandbox
        .command(&arguments)
        .env("REGISTRY_USERNAME", "ci")
        .env("REGISTRY_PASSWORD", "wrong")
        .output()
        .unwrap();
    let stderr = String::from_utf8(refused.stderr).unwrap();
    let hint = "hint: the user `ci` was refused: check REGISTRY_USERNAME and REGISTRY_PASSWORD";
    assert!(stderr.contains(hint), "{stderr}");

    fs::create_dir(sandbox.path("docker")).unwrap();
    let (user, password) = (
        nixply_testkit::registry::TEST_USER,
        nixply_testkit::registry::TEST_PASSWORD,
    );
    sandbox.write(
        "docker/config.json",
        &format!(
            r#"{{"auths": {{"{}": {{"username": "{user}", "password": "{password}"}}}}}}"#,
            registry.host()
        ),
    );
    let mut command = sandbox.command(&arguments);
    let output = command
        .env("DOCKER_CONFIG", sandbox.path("docker"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_registry_that_is_not_there_is_exit_code_4() {
    let sandbox = Sandbox::new();
    // Port 1 of the loopback address refuses connections on every machine that tests run on.
    let arguments = [
        &["push", "closure.json", "127.0.0.1:1/app:v1"][..],
        &OPTIONS,
    ]
    .concat();
    assert_eq!(sandbox.run(&arguments).status.code(), Some(4));
    let inspect = sandbox.run(&["inspect", "docker://127.0.0.1:1/app:v1"]);
    assert_eq!(inspect.status.code(), Some(4));
}

#[test]
fn a_digest_file_that_cannot_be_written_stops_the_push_before_it_starts() {
    let sandbox = Sandbox::new();
    let arguments = [
        &[
            "push",
            "closure.json",
            "127.0.0.1:1/app:v1",
            "--digest-file",
            "nowhere/digest",
        ][..],
        &OPTIONS,
    ];
    let output = sandbox.run(&arguments.concat());
    assert_eq!(
        output.status.code(),
        Some(1),
        "the registry was not even asked"
    );
}
