//! `nixply index create`.

use crate::support::Sandbox;
use nixply_testkit::registry::RegistryProcess;
use std::fs;

/// Pushes the closure by digest and gives the digest.
fn push(sandbox: &Sandbox, repository: &str, platform: &str) -> String {
    sandbox.stdout(&[
        "push",
        "closure.json",
        repository,
        "--by-digest",
        "--digest-file",
        "digest",
        "--platform",
        platform,
        "--physical-store",
        "store",
        "-q",
    ]);
    fs::read_to_string(sandbox.path("digest")).unwrap()
}

#[test]
fn what_is_done_is_told() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let repository = format!("{}/team/app", registry.host());
    let other = format!("{}/team/other", registry.host());
    let amd64 = push(&sandbox, &repository, "linux/amd64");
    let arm64 = push(&sandbox, &other, "linux/arm64");
    let arm64 = format!("{other}@{arm64}");
    let reference = format!("{repository}:v1");
    let create = [
        "index", "create", &reference, "--tag", "latest", "--from", &amd64, &arm64,
    ];
    let mut text = String::new();
    let mut show = |more: &[&str]| {
        let shown = sandbox.show(&[&create[..], more].concat());
        for line in shown.replace(registry.host(), "[REGISTRY]").lines() {
            // How often a client asks is not what this is about.
            if !line.starts_with("  \"requests\":") {
                text.push_str(line);
                text.push('\n');
            }
        }
        text.push('\n');
    };
    show(&["--dry-run"]);
    show(&["--digest-file", "index"]);
    show(&[]);
    show(&["--dry-run"]);
    show(&[
        "--annotation",
        "org.opencontainers.image.version=1",
        "--json",
    ]);
    show(&["--from", &format!("{reference}-absent")]);
    show(&["--from", "docker.io/library/alpine:3"]);
    show(&["--from", "sha256:12"]);
    show(&["--digest-file", "nowhere/digest"]);
    insta::assert_snapshot!(text);
    let index = fs::read_to_string(sandbox.path("index")).unwrap();
    assert!(text.contains(&format!("digest  {index}\n")), "{index}");

    let inspect = ["inspect", &format!("docker://{repository}:latest")];
    let mut inspected = sandbox
        .show(&inspect)
        .replace(registry.host(), "[REGISTRY]");
    inspected.push_str(&sandbox.stdout(&[&inspect[..], &["--json"]].concat()));
    insta::assert_snapshot!(inspected);
    let one = sandbox.stdout(&[&inspect[..], &["--platform", "linux/arm64"]].concat());
    assert!(
        one.contains("linux/arm64") && one.contains("3 layers"),
        "{one}"
    );

    for platform in ["linux/amd64", "linux/arm64"] {
        let image = format!("docker://{repository}:latest");
        let verify = [
            "verify",
            &image,
            "--platform",
            platform,
            "--physical-store",
            "store",
        ];
        let verified = sandbox.stdout(&verify);
        assert!(verified.ends_with("verified 3 layers\n"), "{verified}");
    }
}

#[test]
fn two_images_for_one_platform_are_refused() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let repository = format!("{}/team/app", registry.host());
    let plain = push(&sandbox, &repository, "linux/arm64");
    let with_variant = push(&sandbox, &repository, "linux/arm64/v8");
    let arguments = [
        "index",
        "create",
        &repository,
        "--from",
        &plain,
        "--from",
        &with_variant,
    ];
    let shown = sandbox.show(&arguments);
    let shown = shown.replace(registry.host(), "[REGISTRY]");
    insta::assert_snapshot!(shown);
    assert!(registry.tag("team/app", "latest").is_none());
}
