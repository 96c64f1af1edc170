//! `pullImage`: an image of a registry as the archive that skopeo writes.

use crate::base::{plan, push, sandbox};
use crate::support::Sandbox;
use nixply_testkit::registry::RegistryProcess;
use serde_json::{Value, json};
use std::fs;

/// Runs the builder of `pullImage` and tells what it wrote.
fn pull(sandbox: &Sandbox, image: &str, digest: &str, more: &Value) -> Result<Vec<u8>, String> {
    let mut request = json!({
        "schema": "nixply.build/1", "output": "pull", "image_name": image, "image_digest": digest,
        "os": "linux", "arch": "amd64", "final_image_name": "acme/tool", "final_image_tag": "v1",
        "tls_verify": true,
    });
    let more = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
    let attributes = json!({"nixply": request, "outputs": {"out": sandbox.path("out")}});
    sandbox.write(".attrs.json", &attributes.to_string());
    let output = sandbox.run(&["build"]);
    if output.status.success() {
        Ok(fs::read(sandbox.path("out")).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// What skopeo writes of the same image.
fn skopeo(sandbox: &Sandbox, image: &str, name: &str, arch: &str) -> Vec<u8> {
    let _ = fs::remove_file(sandbox.path("skopeo.tar"));
    let copied = std::process::Command::new("skopeo")
        .args([
            "--insecure-policy",
            "--override-os",
            "linux",
            "--override-arch",
            arch,
            "copy",
            "-q",
        ])
        .args(["--src-tls-verify=false", image])
        .arg(format!(
            "docker-archive:{}:{name}",
            sandbox.path("skopeo.tar").display()
        ))
        .status();
    assert!(copied.unwrap().success());
    fs::read(sandbox.path("skopeo.tar")).unwrap()
}

#[test]
fn a_pulled_image_is_byte_for_byte_what_skopeo_writes() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    if nixply_testkit::require_program("skopeo").is_none() {
        return;
    }
    let sandbox = sandbox();
    let host = registry.host();
    let base = format!("{host}/debian:12");
    // What Go escapes when it writes a config again, and blanks that it leaves out.
    let base_json = fs::read_to_string(sandbox.path("base.json")).unwrap();
    sandbox.write(
        "base.json",
        &base_json.replace("serve", "<a> & \u{2028} \u{e9}"),
    );
    push(&sandbox, "base.json", &base, &["--compression", "none"]);
    let app = format!("{host}/team/app:v1");
    let layers = push(
        &sandbox,
        "app.json",
        &app,
        &["--base", &format!("docker://{base}")],
    );
    // The base and the application on it twice: a layer that stands twice.
    let twice = format!("{host}/team/twice:v1");
    let of_app = format!("docker://{app}");
    let copy = |options: &[&str]| push(&sandbox, "base.json", &twice, options);
    let twice = copy(&["--base", &of_app, "--manifest-format", "oci"]);
    let docker = format!("{host}/team/docker:v1");
    let docker = push(
        &sandbox,
        "closure.json",
        &docker,
        &["--manifest-format", "docker", "--platform", "linux/amd64"],
    );
    for (repository, result) in [
        ("team/app", &layers),
        ("team/twice", &twice),
        ("team/docker", &docker),
    ] {
        let digest = result["digest"].as_str().unwrap();
        let image = format!("{host}/{repository}");
        let pulled = pull(&sandbox, &image, digest, &json!({})).unwrap();
        let expected = skopeo(
            &sandbox,
            &format!("docker://{image}@{digest}"),
            "acme/tool:v1",
            "amd64",
        );
        assert!(pulled == expected, "{repository}");
        let named = json!({"final_image_name": "quay.io/acme/tool"});
        let pulled = pull(&sandbox, &image, digest, &named).unwrap();
        let name = "quay.io/acme/tool:v1";
        let expected = skopeo(
            &sandbox,
            &format!("docker://{image}@{digest}"),
            name,
            "amd64",
        );
        assert!(pulled == expected, "{repository} as {name}");
        // It is a base as any other archive.
        fs::write(sandbox.path("pulled.tar"), pulled).unwrap();
        let made = plan(&sandbox, &["--base", "pulled.tar"]);
        assert_eq!(made["layers"][0]["kind"], "base");
    }

    // Of several platforms, the one that is asked for.
    let arm = format!("{host}/team/app:arm");
    let arm = push(
        &sandbox,
        "closure.json",
        &arm,
        &["--platform", "linux/arm64"],
    );
    let parts = [&layers, &arm].map(|part| part["reference"].as_str().unwrap().to_owned());
    let index = format!("{host}/team/app:both");
    sandbox.stdout(&[
        "index", "create", &index, "--from", &parts[0], "--from", &parts[1],
    ]);
    let digest = registry.tag("team/app", "both").unwrap();
    let image = format!("{host}/team/app");
    let pulled = pull(&sandbox, &image, &digest, &json!({"arch": "arm64"})).unwrap();
    let expected = skopeo(
        &sandbox,
        &format!("docker://{image}@{digest}"),
        "acme/tool:v1",
        "arm64",
    );
    assert!(pulled == expected, "of an index");

    let error = pull(&sandbox, &image, &digest, &json!({"arch": "riscv64"})).unwrap_err();
    assert!(error.contains("linux/riscv64"), "{error}");
    let error = pull(&sandbox, &image, "sha256:0", &json!({})).unwrap_err();
    assert!(error.contains("is not a digest"), "{error}");
}
