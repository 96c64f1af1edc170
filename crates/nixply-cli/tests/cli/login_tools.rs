//! skopeo, podman and Docker read what `nixply login` wrote, and the reverse.

use crate::login::{AUTH, login, read, run, texts, with_input};
use crate::support::Sandbox;
use nixply_testkit::registry::{RegistryProcess, TEST_PASSWORD, TEST_USER};
use nixply_testkit::require_program;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A program of this machine with a home of its own and nothing else.
fn tool(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Command {
    // Some of them want it to be there.
    fs::create_dir_all(sandbox.path("runtime")).unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(sandbox.path("."))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", sandbox.path("home"))
        .env("XDG_RUNTIME_DIR", sandbox.path("runtime"));
    command
}

/// A registry that wants a password and holds `team/app:v1`, with the login for it in `home/`.
fn logged_in_with_image(sandbox: &Sandbox) -> Option<RegistryProcess> {
    let registry = RegistryProcess::start_with_user()?;
    let target = format!("{}/team/app:v1", registry.host());
    let (code, _, stderr) = login(sandbox, registry.host(), TEST_PASSWORD, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let push = [
        "push",
        "closure.json",
        &target,
        "--physical-store",
        "store",
        "-q",
    ];
    assert_eq!(texts(&run(sandbox, &push, "")).0, Some(0));
    Some(registry)
}

#[test]
fn skopeo_reads_what_login_wrote_and_the_reverse() {
    let Some(skopeo) = require_program("skopeo") else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(registry) = logged_in_with_image(&sandbox) else {
        return;
    };
    let host = registry.host();
    let image = format!("docker://{host}/team/app:v1");
    let inspect = [
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        &image,
    ];
    let (code, stdout, stderr) = texts(&tool(&sandbox, &skopeo, &inspect).output().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("sha256:"), "{stdout}");
    assert_eq!(texts(&run(&sandbox, &["logout", host], "")).0, Some(0));
    assert_ne!(
        texts(&tool(&sandbox, &skopeo, &inspect).output().unwrap()).0,
        Some(0)
    );

    // Into the file of the session, then into one by name, with a namespace.
    let ours = ["inspect", &image];
    assert_eq!(texts(&run(&sandbox, &ours, "")).0, Some(4));
    let logs_in = [
        "login",
        "--tls-verify=false",
        "-u",
        TEST_USER,
        "--password-stdin",
    ];
    let (code, _, stderr) = texts(&with_input(
        &mut tool(&sandbox, &skopeo, &[&logs_in[..], &[host]].concat()),
        TEST_PASSWORD,
    ));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(sandbox.path("runtime/containers/auth.json").exists());
    assert_eq!(texts(&run(&sandbox, &ours, "")).0, Some(0));
    fs::remove_dir_all(sandbox.path("runtime")).unwrap();
    let namespace = format!("{host}/team");
    let named = ["--authfile", "named.json"];
    let (code, _, stderr) = login(&sandbox, &namespace, TEST_PASSWORD, &named);
    assert_eq!(code, Some(0), "{stderr}");
    let inspect = [&inspect[..], &named].concat();
    let (code, _, stderr) = texts(&tool(&sandbox, &skopeo, &inspect).output().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        texts(&run(&sandbox, &[&ours[..], &named].concat(), "")).0,
        Some(0)
    );
}

#[test]
fn podman_knows_who_is_logged_in_and_logs_out() {
    let Some(podman) = require_program("podman") else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(registry) = logged_in_with_image(&sandbox) else {
        return;
    };
    let host = registry.host();
    let who = ["login", "--get-login", host];
    let (code, stdout, stderr) = texts(&tool(&sandbox, &podman, &who).output().unwrap());
    assert_eq!((code, stdout.trim()), (Some(0), TEST_USER), "{stderr}");
    let file = "home/.docker/config.json";
    let logout = ["logout", "--authfile", file, host];
    let (code, _, stderr) = texts(&tool(&sandbox, &podman, &logout).output().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!read(&sandbox, file).contains(AUTH));

    let logs_in = [
        "login",
        "--tls-verify=false",
        "--authfile",
        file,
        "-u",
        TEST_USER,
        "--password-stdin",
        host,
    ];
    let (code, _, stderr) = texts(&with_input(
        &mut tool(&sandbox, &podman, &logs_in),
        TEST_PASSWORD,
    ));
    assert_eq!(code, Some(0), "{stderr}");
    let image = format!("docker://{host}/team/app:v1");
    assert_eq!(texts(&run(&sandbox, &["inspect", &image], "")).0, Some(0));
}

#[test]
fn docker_reads_what_login_wrote_and_the_reverse() {
    let Some(docker) = require_program("docker") else {
        return;
    };
    let sandbox = Sandbox::new();
    let Some(registry) = logged_in_with_image(&sandbox) else {
        return;
    };
    let host = registry.host();
    let image = format!("{host}/team/app:v1");
    // Without a daemon: `manifest` is done by the client alone.
    let inspect = [
        "--host",
        "unix:///nonexistent",
        "manifest",
        "inspect",
        "--insecure",
        &image,
    ];
    let (code, stdout, stderr) = texts(&tool(&sandbox, &docker, &inspect).output().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("schemaVersion"), "{stdout}");
    let logout = ["--host", "unix:///nonexistent", "logout", host];
    let (code, _, stderr) = texts(&tool(&sandbox, &docker, &logout).output().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!read(&sandbox, "home/.docker/config.json").contains(AUTH));
    assert_ne!(
        texts(&tool(&sandbox, &docker, &inspect).output().unwrap()).0,
        Some(0)
    );

    let ours = ["inspect", &format!("docker://{image}")];
    assert_eq!(texts(&run(&sandbox, &ours, "")).0, Some(4));
    let logs_in = [
        "--host",
        "unix:///nonexistent",
        "login",
        "-u",
        TEST_USER,
        "--password-stdin",
        host,
    ];
    let (code, _, stderr) = texts(&with_input(
        &mut tool(&sandbox, &docker, &logs_in),
        TEST_PASSWORD,
    ));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(texts(&run(&sandbox, &ours, "")).0, Some(0));
}
