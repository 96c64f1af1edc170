//! SIGINT and SIGTERM: an exit code that shells know, and nothing half written.

use crate::support::Sandbox;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// Takes many seconds to read, hash and compress.
const ENDLESS_BYTES: u64 = 64 << 30;

const OPTIONS: [&str; 4] = ["--physical-store", "store", "--platform", "linux/amd64"];

pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
}

fn start(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for something that the command does early.
fn wait_until(child: &mut Child, is_so: impl Fn() -> bool) {
    while !is_so() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before its time");
        thread::sleep(Duration::from_millis(10));
    }
}

fn assert_interrupted(output: &Output, code: i32) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.ends_with("error: interrupted\n"), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn an_interrupted_export_leaves_nothing_behind() {
    for (how, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for format in ["archive", "oci-dir"] {
            let sandbox = Sandbox::new();
            sandbox.grow(ENDLESS_BYTES);
            let arguments = ["export", "closure.json", "--format", format, "-o", "out"];
            let arguments = [&arguments[..], &OPTIONS].concat();
            let mut child = start(&mut sandbox.command(&arguments));
            wait_until(&mut child, || !sandbox.names(".nixply-").is_empty());
            signal(&child, how);
            assert_interrupted(&child.wait_with_output().unwrap(), code);
            assert_eq!(sandbox.names(".nixply-"), [""; 0]);
            assert_eq!(sandbox.names("out"), [""; 0]);
        }
    }
}

#[test]
fn an_interrupted_export_leaves_an_older_layout_as_it_was() {
    let sandbox = Sandbox::new();
    let arguments = ["export", "closure.json", "--format", "oci-dir", "-o", "out"];
    let arguments = [&arguments[..], &OPTIONS].concat();
    sandbox.stdout(&arguments);
    let index = fs::read(sandbox.path("out/index.json")).unwrap();
    sandbox.grow(ENDLESS_BYTES);
    let other = [&arguments[..], &["--compression", "zstd"]].concat();
    let mut child = start(&mut sandbox.command(&other));
    let temporary = || {
        let entries = fs::read_dir(sandbox.path("out")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".nixply-")).count()
    };
    wait_until(&mut child, || temporary() > 0);
    signal(&child, Signal::TERM);
    assert_interrupted(&child.wait_with_output().unwrap(), 143);
    assert_eq!(temporary(), 0);
    assert_eq!(fs::read(sandbox.path("out/index.json")).unwrap(), index);
}

#[test]
fn an_interrupted_load_ends_its_engine() {
    let sandbox = Sandbox::new();
    sandbox.grow(ENDLESS_BYTES);
    fs::create_dir(sandbox.path("bin")).unwrap();
    fs::create_dir(sandbox.path("tmp")).unwrap();
    // An engine that reads what it gets and tells when that ends.
    sandbox.write(
        "bin/docker",
        "#!/bin/sh\n: > started\n/bin/cat > /dev/null\n: > ended\n",
    );
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sandbox.path("bin/docker"), executable).unwrap();
    let arguments = [&["load", "closure.json", "--name", "app"][..], &OPTIONS].concat();
    let mut command = sandbox.command(&arguments);
    command
        .env("PATH", sandbox.path("bin"))
        .env("TMPDIR", sandbox.path("tmp"));
    let mut child = start(&mut command);
    wait_until(&mut child, || sandbox.path("started").exists());
    signal(&child, Signal::INT);
    assert_interrupted(&child.wait_with_output().unwrap(), 130);
    assert_eq!(fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
    // The engine holds the test's pipe: it has ended when the output has.
    assert!(sandbox.path("ended").exists());
}
