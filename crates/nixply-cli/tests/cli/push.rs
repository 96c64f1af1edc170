//! What a push tells: to people, to machines, in a dry run, with `-v`, and when it is interrupted.

use crate::signals::signal;
use crate::support::{LIBC, Sandbox};
use crate::terminal::run_on_terminal;
use nixply_testkit::registry::{
    Answer, Fault, FaultProxy, Phase, RecordingRegistry, RegistryProcess, Rule,
};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const OPTIONS: [&str; 4] = ["--physical-store", "store", "--platform", "linux/amd64"];

fn arguments<'a>(reference: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["push", "closure.json", reference][..], &OPTIONS, more].concat()
}

/// What is shown, without what differs from run to run.
fn redacted(sandbox: &Sandbox, registry: &str, arguments: &[&str]) -> String {
    let shown = sandbox.show(arguments).replace(registry, "[REGISTRY]");
    let lines = shown.lines().map(|line| {
        let mut line = line.to_owned();
        for (before, after) in [
            ("\"seconds\":", "}"),
            ("\"requests\":", ","),
            ("\"bytes_sent\":", ","),
            ("\"bytes_received\":", ","),
            ("  time     ", ""),
            (" not sent, ", " sent in "),
            ("", " of "),
            (" sent in ", " request"),
            (" in ", ": "),
        ] {
            line = without(&line, before, after);
        }
        line + "\n"
    });
    let mut lines: Vec<String> = lines.collect();
    // Layers are made and sent side by side: which is done first is chance.
    let is_layer = |line: &String| line.starts_with("[N] of ") || line.starts_with(LAYER_EVENT);
    for layers in lines.chunk_by_mut(|one, next| is_layer(one) && is_layer(next)) {
        layers.sort();
    }
    lines.concat()
}

/// What begins the events of a layer.
const LAYER_EVENT: &str = r#"{"event":"layer-"#;

/// A line without the number that stands between two texts, to its end if the second is empty.
fn without(line: &str, before: &str, after: &str) -> String {
    let Some((head, tail)) = line.split_once(before) else {
        return line.to_owned();
    };
    let end = if after.is_empty() {
        Some(tail.len())
    } else {
        tail.find(after)
    };
    match end {
        Some(end) if tail[..end].starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{head}{before}[N]{}", &tail[end..])
        }
        _ => line.to_owned(),
    }
}

#[test]
fn what_is_done_is_told_to_people() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let other = format!("{}/team/other:v1", registry.host());
    let third = format!("{}/team/third:v1", registry.host());
    let one_job = ["--jobs", "1"];
    let mut text = String::new();
    for (reference, more) in [
        (&reference, &["--dry-run"][..]),
        (&reference, &one_job),
        (&reference, &[]),
        (&reference, &["-q", "--tag", "latest"]),
        (&other, &["--reuse-from", &reference, "--dry-run"]),
        (&other, &["-q", "--reuse-from", &reference]),
        (&third, &["--reuse-from", &reference]),
        (&reference, &["--tag", "next"]),
        (&reference, &["--dry-run"]),
    ] {
        text.push_str(&redacted(
            &sandbox,
            registry.host(),
            &arguments(reference, more),
        ));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_done_is_told_to_machines() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let other = format!("{}/team/other:v1", registry.host());
    let mut text = String::new();
    for (reference, more) in [
        (
            &reference,
            &["--json", "--jobs", "1", "--connections", "1"][..],
        ),
        (&reference, &["--json"]),
        (
            &other,
            &["--json", "--connections", "1", "--reuse-from", &reference],
        ),
    ] {
        text.push_str(&redacted(
            &sandbox,
            registry.host(),
            &arguments(reference, more),
        ));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_the_user_asked_for_and_does_not_get_is_warned_of() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let host = registry.host();
    let stderr_of = |reference: &str, more: &[&str]| {
        let output = sandbox.run(&arguments(reference, &[&["-q"], more].concat()));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let image = format!("{host}/team/app:v1");
    assert_eq!(
        stderr_of(&image, &[]),
        "",
        "no index is there to begin with"
    );
    let (other, none) = (format!("{host}/team/other:v1"), format!("{host}/none:v1"));
    let stderr = stderr_of(&other, &["--reuse-from", &none, "--reuse-from", &image]);
    let expected = format!(
        "warning: --reuse-from {none}: there is no such image, or it has none of these layers\n"
    );
    assert_eq!(stderr, expected);
    let third = format!("{host}/team/third:v1");
    let stderr = stderr_of(&third, &["--layer-index", &image]);
    let expected = format!("warning: going on without the layer index {image}: ");
    assert!(stderr.starts_with(&expected), "{stderr}");
    let docker = ["--manifest-format", "docker", "--annotation", "a=b"];
    let stderr = stderr_of(&third, &docker);
    let expected = "warning: Docker's manifest has no annotations: `a` left out\n";
    assert_eq!(stderr, expected);

    let index = format!("docker://{host}/team/app:nixply-layers");
    let inspect = sandbox.run(&["inspect", &index]);
    let stderr = String::from_utf8(inspect.stderr).unwrap();
    assert!(
        stderr.contains("is a layer index of nixply, not an image"),
        "{stderr}"
    );
}

#[test]
fn every_line_of_json_is_an_event_and_the_last_the_result() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let printed = sandbox.stdout(&arguments(&reference, &["--json"]));
    let events: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (first, last) = (&events[0], events.last().unwrap());
    assert_eq!(
        (&first["event"], &first["schema"]),
        (&"start".into(), &"nixply.push/1".into())
    );
    assert_eq!(
        (&last["event"], &last["schema"]),
        (&"result".into(), &"nixply.push/1".into())
    );
    let done = events.iter().filter(|event| event["event"] == "layer-done");
    assert_eq!(done.count(), 3);
    let sent: u64 = last["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["sent_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(last["layer_bytes_sent"], sent);
    assert!(
        last["bytes_sent"].as_u64().unwrap() > sent,
        "the config and the manifest too"
    );
    assert!(last["requests"].as_u64().unwrap() >= 10, "{last}");
}

#[test]
fn a_push_that_fails_ends_its_json_with_the_error() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    fs::remove_dir_all(sandbox.store().join(LIBC)).unwrap();
    let output = sandbox.run(&arguments(&reference, &["--json"]));
    assert_eq!(output.status.code(), Some(3));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "error");
    assert_eq!(last["exit_code"], 3);
    let message = last["message"].as_str().unwrap();
    assert!(message.contains(LIBC), "{message}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with(&format!("error: {message}\n")),
        "{stderr}"
    );
}

#[test]
fn requests_are_shown_and_why_they_are_made_again() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let registry = RecordingRegistry::start_with(|request| {
        // The first question of a push is for the tag.
        let is_first = request.path.ends_with("/manifests/v1") && request.method == "GET";
        (is_first && !ASKED.swap(true, Ordering::SeqCst)).then(|| Answer::status(503))
    });
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let output = sandbox.run(&arguments(&reference, &["-v", "-q"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let has = |start: &str, end: &str| {
        stderr
            .lines()
            .any(|line| line.starts_with(start) && line.contains(end))
    };
    let url = format!("http://{}/v2/team/app/manifests/v1", registry.host());
    assert!(has(&format!("GET {url}: 503 after "), " ms"), "{stderr}");
    assert!(has("failure 1, again in ", "503"), "{stderr}");
    assert!(has(&format!("GET {url}: 404 after "), " ms"), "{stderr}");
    assert!(has("POST ", "/blobs/uploads/: 202 after "), "{stderr}");
    assert!(has(&format!("PUT {url}: 201 after "), " ms"), "{stderr}");
    assert!(!stderr.contains('?'), "queries may be signatures: {stderr}");
}

#[test]
fn a_registry_that_goes_away_leaves_a_rest_to_send() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let reset = |phase| Rule::on(phase, Fault::ResetRequest { after_bytes: 0 });
    let resets = [Phase::UploadStart, Phase::UploadPatch, Phase::UploadPut].map(reset);
    let proxy = FaultProxy::start(registry.host(), resets.into());
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", proxy.host());
    let output = sandbox.run(&arguments(&reference, &["-q", "--retries", "0"]));
    assert_eq!(output.status.code(), Some(4));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let hint = "hint: run the same command again: it sends only the rest";
    assert!(stderr.trim_end().ends_with(hint), "{stderr}");
}

#[test]
fn a_broken_upload_says_where_it_goes_on() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let once = Rule::on(Phase::UploadPatch, Fault::ResetRequest { after_bytes: 0 }).times(1);
    let proxy = FaultProxy::start(registry.host(), vec![once]);
    let sandbox = Sandbox::new();
    // Too big to be held: it is sent while it is made.
    sandbox.grow(64 << 20);
    let reference = format!("{}/team/app:v1", proxy.host());
    let options = ["--jobs", "1", "--compression", "none"];
    let output = sandbox.run(&arguments(&reference, &options));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let broken = |line: &&str| line.starts_with("note: sending the layer ");
    let notes: Vec<&str> = stderr.lines().filter(broken).collect();
    assert_eq!(notes.len(), 1, "{stderr}");
    assert!(
        notes[0].contains(" broke off, starting again: "),
        "{stderr}"
    );
}

#[test]
fn a_layer_that_is_done_twice_is_counted_once() {
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let registry = RecordingRegistry::start_with(|request| {
        if request.method != "PUT" || !request.path.contains("/manifests/") {
            return None;
        }
        let manifest: Value = serde_json::from_slice(&request.body).unwrap();
        let lost = manifest["layers"][0]["digest"].as_str().unwrap();
        let refusal = || Answer::refusal(404, "MANIFEST_BLOB_UNKNOWN", lost);
        (!REFUSED.swap(true, Ordering::SeqCst)).then(refusal)
    });
    let sandbox = Sandbox::new();
    let reference = format!("{}/team/app:v1", registry.host());
    let output = sandbox.run(&arguments(&reference, &["--jobs", "1"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let counts = stderr
        .lines()
        .filter_map(|line| line.split_once(" done: "))
        .map(|(count, _)| count);
    assert_eq!(
        counts.collect::<Vec<_>>(),
        ["1 of 3", "2 of 3", "3 of 3", "3 of 3"]
    );
}

#[test]
fn an_interrupted_push_says_what_to_do_and_moves_no_tag() {
    for (how, code, on_terminal) in [(Signal::INT, 130, false), (Signal::TERM, 143, true)] {
        let Some(registry) = RegistryProcess::start() else {
            return;
        };
        let sandbox = Sandbox::new();
        sandbox.grow(64 << 30);
        let reference = format!("{}/team/app:v1", registry.host());
        let arguments = arguments(&reference, &[]);
        let mut command = sandbox.command(&arguments);
        let (stderr, status) = if on_terminal {
            // From inside: the terminal's process is not known here.
            let script = format!("(sleep 1; kill -{} $$) & exec \"$0\" \"$@\"", how.as_raw());
            let program = command.get_program().to_owned();
            let mut shell = std::process::Command::new("/bin/sh");
            shell
                .args(["-c", &script])
                .arg(program)
                .args(&arguments)
                .current_dir(sandbox.path("."))
                .env("TERM", "xterm");
            let (seen, output) = run_on_terminal(&mut shell, 100);
            (seen, output.status)
        } else {
            let child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            thread::sleep(Duration::from_secs(1));
            signal(&child, how);
            let output = child.wait_with_output().unwrap();
            (String::from_utf8(output.stderr).unwrap(), output.status)
        };
        assert_eq!(status.code(), Some(code), "{stderr}");
        let is_drawn =
            stderr.contains("pushing 0 of 3 layers") || stderr.contains("pushing 2 of 3 layers");
        assert_eq!(is_drawn, on_terminal, "{stderr}");
        let message = "error: interrupted; run the same command again: it sends only the rest";
        assert!(stderr.trim_end().ends_with(message), "{stderr}");
        let inspect = sandbox.run(&["inspect", &format!("docker://{reference}")]);
        assert_eq!(inspect.status.code(), Some(4), "there is no such tag");
    }
}

#[test]
fn this_machine_remembers_unless_it_may_not() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let push = |tag: &str, more: &[&str]| {
        let reference = format!("{}/team/app:{tag}", registry.host());
        let alone = [&["--json", "--no-layer-index"][..], more].concat();
        let output = sandbox
            .command(&arguments(&reference, &alone))
            .env("NIXPLY_CACHE_DIR", sandbox.path("cache"))
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        let layers = result["layers"].as_array().unwrap().clone();
        let sources = layers
            .iter()
            .map(|layer| layer["source"].as_str().unwrap().to_owned());
        sources.collect::<Vec<_>>()
    };
    assert_eq!(push("a", &["--no-cache"]), ["made"; 3]);
    assert!(!sandbox.path("cache").exists());
    assert_eq!(push("b", &[]), ["made"; 3]);
    assert_eq!(push("c", &[]), ["local"; 3]);
    assert_eq!(push("d", &["--no-cache"]), ["made"; 3]);
    assert_eq!(push("e", &["--no-records"]), ["made"; 3]);
    assert_eq!(push("f", &["--verify-records"]), ["local"; 3]);
}

/// Images of one repository with the same layers, and nothing but the manifest itself says that the first is there.
#[test]
fn an_image_that_is_there_by_digest_is_not_sent_again() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let repository = format!("{}/team/app", registry.host());
    let push = |label: &str| {
        let more = ["--by-digest", "--json", "--label", label];
        let printed = sandbox.stdout(&arguments(&repository, &more));
        let result: serde_json::Value =
            serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        (result["digest"].clone(), result["unchanged"].clone())
    };
    let (first, second) = (push("a=1"), push("a=2"));
    assert_ne!(first.0, second.0);
    assert_eq!((&first.1, &second.1), (&false.into(), &false.into()));
    assert_eq!(push("a=1"), (first.0, true.into()));
    assert_eq!(push("a=2"), (second.0, true.into()));
}

#[test]
fn a_push_by_digest_moves_no_tag() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let repository = format!("{}/team/app", registry.host());
    let more = [
        "--by-digest",
        "--manifest-format",
        "docker",
        "--digest-file",
        "digest",
    ];
    sandbox.stdout(&arguments(&repository, &more));
    let digest = fs::read_to_string(sandbox.path("digest")).unwrap();
    let tagged = sandbox.run(&["inspect", &format!("docker://{repository}:latest")]);
    assert_eq!(tagged.status.code(), Some(4));
    let text = sandbox.stdout(&[
        "inspect",
        &format!("docker://{repository}@{digest}"),
        "--json",
    ]);
    assert!(text.contains(&digest), "{text}");
    let verify = [
        "verify",
        &format!("docker://{repository}@{digest}"),
        "--physical-store",
        "store",
    ];
    assert!(sandbox.stdout(&verify).ends_with("verified 3 layers\n"));
}

#[test]
fn the_images_own_name_counts_where_no_ref_is_given() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = Sandbox::new();
    let own = format!("{}/team/app:hash", registry.host());
    let push = |words: &[&str]| {
        let program = ["push", "closure.json", "--own-name", &own];
        sandbox.stdout(&[&program[..], words, &OPTIONS].concat())
    };
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    assert_eq!(first_line(push(&["-q"])), own);
    let elsewhere = format!("{}/team/other", registry.host());
    assert_eq!(
        first_line(push(&[&elsewhere])),
        format!("{elsewhere}:latest")
    );
    let by_digest = first_line(push(&["--by-digest"]));
    assert!(
        by_digest.starts_with(own.strip_suffix(":hash").unwrap()),
        "{by_digest}"
    );
    assert!(!by_digest.contains(":hash"), "{by_digest}");
    let mut text = String::new();
    for words in [
        &["push", "closure.json", "--own-name", "app:hash", "-q"][..],
        &["push", "closure.json", "-q"],
    ] {
        text.push_str(&sandbox.show(words));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_does_not_go_together() {
    let sandbox = Sandbox::new();
    let mut text = String::new();
    for (reference, more) in [
        ("127.0.0.1:1/app:v1", &["--by-digest"][..]),
        ("127.0.0.1:1/app", &["--by-digest", "--tag", "v1"]),
        (
            "127.0.0.1:1/app",
            &["--layer-index", "127.0.0.1:1/index", "--no-layer-index"],
        ),
        (
            "127.0.0.1:1/app",
            &["--no-records", "--reuse-from", "127.0.0.1:1/b:v1"],
        ),
        ("127.0.0.1:1/app", &["--no-records", "--verify-records"]),
        ("127.0.0.1:1/app", &["--reuse-from", "not a reference"]),
        (
            "127.0.0.1:1/app",
            &[
                "--layer-index",
                "127.0.0.1:1/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ],
        ),
        (
            "127.0.0.1:1/app",
            &["--manifest-format", "docker", "--compression", "zstd"],
        ),
        ("127.0.0.1:1/app", &["--dry-run", "--digest-file", "digest"]),
    ] {
        text.push_str(&sandbox.show(&arguments(reference, more)));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}
