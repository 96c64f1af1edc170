//! Pushes that are killed at any moment: the tag names the old image or the new one, whole, and the next push sends only
//! the rest.

use crate::signals::signal;
use crate::support::Sandbox;
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{Fault, FaultProxy, Phase, RegistryProcess, Rule};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many store paths, and layers, the image has.
const N_PATHS: u64 = 8;

/// The last two are larger than the half-finished layers that a push with [`JOBS`] holds in memory.
const LARGE_BYTES: usize = 4400 << 10;

/// So many that the memory for one layer is the least there is, 4 MiB.
const JOBS: &str = "8";

/// How many pushes are killed side by side.
const AT_ONCE: u32 = 5;

/// How often each of them is killed. SIGKILL has 50 moments.
const ROUNDS: u32 = 10;

/// A store with noise in it, and the closure of all of that.
struct Store {
    sandbox: Sandbox,
}

impl Store {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let entries: Vec<String> = (0..N_PATHS)
            .map(|n| {
                let name = format!("{n:032}-part-{n}");
                let n_bytes = if n < N_PATHS - 2 { 50_000 } else { LARGE_BYTES };
                let dir = sandbox.store().join(&name);
                fs::create_dir(&dir).unwrap();
                fs::write(dir.join("noise"), TestLayer::noise(n, n_bytes).blob()).unwrap();
                // The last digit before `=` may only carry four bits.
                let digit = char::from(b'a' + u8::try_from(n).unwrap());
                let hash = digit.to_string().repeat(42);
                format!(
                    r#""/nix/store/{name}": {{"ca": null, "deriver": null, "narHash": "sha256-{hash}A=", "narSize": {n_bytes},
                    "references": [], "registrationTime": 1, "signatures": [], "ultimate": true}}"#
                )
            })
            .collect();
        sandbox.write("large.json", &format!("{{{}}}\n", entries.join(",\n")));
        Self { sandbox }
    }

    /// `nixply push` of a closure with a cache and a temporary directory of its own.
    fn push(&self, closure: &str, reference: &str, own: &str) -> Command {
        for dir in ["cache", "tmp"] {
            fs::create_dir_all(self.sandbox.path(&format!("{own}-{dir}"))).unwrap();
        }
        let mut command = self
            .sandbox
            .command(&["push", closure, reference, "--json", "-q"]);
        command
            .args(["--physical-store", "store", "--platform", "linux/amd64"])
            .args(["--jobs", JOBS, "--compression", "none"])
            .env(
                "NIXPLY_CACHE_DIR",
                self.sandbox.path(&format!("{own}-cache")),
            )
            .env("TMPDIR", self.sandbox.path(&format!("{own}-tmp")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The digest of a push that succeeds.
    fn pushed(&self, closure: &str, reference: &str, own: &str) -> String {
        let output = self.push(closure, reference, own).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{own}: {stderr}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        result["digest"].as_str().unwrap().to_owned()
    }

    fn temporary_files(&self, own: &str) -> usize {
        let dir = self.sandbox.path(&format!("{own}-tmp"));
        fs::read_dir(dir).unwrap().count()
    }
}

/// Uploads take their time, so that a push is killed in the middle of them.
fn slow(registry: &RegistryProcess) -> FaultProxy {
    let slow = || Fault::Slow {
        bytes_per_second: 12 << 20,
    };
    let phases = [Phase::UploadPatch, Phase::UploadPut];
    let rules = phases.map(|phase| Rule::on(phase, slow()));
    FaultProxy::start(registry.host(), rules.into())
}

/// The digests, as hexadecimal digits, of the blobs that were uploaded through a proxy.
fn uploaded(proxy: &FaultProxy) -> BTreeSet<String> {
    let log = proxy.log();
    let puts = log.iter().filter(|passed| passed.phase == Phase::UploadPut);
    let digests = puts.filter_map(|put| put.request.query().split("digest=sha256%3A").nth(1));
    digests.map(|digest| digest[..64].to_owned()).collect()
}

/// Waits until so much of a push has happened as its number says, or until it has ended. Counted in bytes, a moment is as
/// early on a busy machine as on a quiet one.
fn wait_for_moment(child: &mut Child, proxy: &FaultProxy, number: u32) {
    // Multiples of 61.8 % fill the whole evenly.
    let percent = 618_u64 * u64::from(number) / 10 % 100;
    let size_bytes = 2 * LARGE_BYTES as u64;
    // Before the first request, and between the last ones, there are no bytes to wait for.
    thread::sleep(Duration::from_millis(percent % 20));
    while proxy.relayed_bytes() < percent * size_bytes / 98 {
        if child.try_wait().unwrap().is_some() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Kills pushes at all moments, [`AT_ONCE`] side by side.
fn kill_pushes(how: Signal, rounds: u32) {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let store = Store::new();
    let reference = |repository: &str| format!("{}/{repository}:x", registry.host());
    let old = store.pushed("closure.json", &reference("first/old"), "first");
    let new = store.pushed("large.json", &reference("first/new"), "first");
    // Ended in the middle: something was there, and something was not.
    let n_ended = AtomicU32::new(0);
    let kill = |number: u32| {
        let repository = format!("team/app-{number}");
        let own = format!("push-{number}");
        store.pushed("closure.json", &reference(&repository), &own);
        let before = registry.blobs_of(&repository);
        {
            let proxy = slow(&registry);
            let through = format!("{}/{repository}:x", proxy.host());
            let mut child = store.push("large.json", &through, &own).spawn().unwrap();
            wait_for_moment(&mut child, &proxy, number);
            let start = Instant::now();
            if child.try_wait().unwrap().is_none() {
                signal(&child, how);
            }
            let status = child.wait().unwrap();
            assert!(start.elapsed() < Duration::from_secs(20), "it does not end");
            // Before it listens for signals, and by SIGKILL, it just dies.
            let is_told = status
                .code()
                .is_none_or(|code| [0, 130, 143].contains(&code));
            assert!(is_told, "{status}");
            // Waits for what the registry has still to do.
            drop(proxy.log());
        }
        assert_eq!(store.temporary_files(&own), 0);
        let tag = registry.tag(&repository, "x").unwrap();
        assert!(tag == old || tag == new, "{number}: {tag}");
        let whole = registry.blobs_of(&repository);
        let n_new = whole.difference(&before).count() as u64;
        if n_new > 0 && n_new < N_PATHS {
            n_ended.fetch_add(1, Ordering::SeqCst);
        }

        let proxy = FaultProxy::start(registry.host(), vec![]);
        let through = format!("{}/{repository}:x", proxy.host());
        assert_eq!(store.pushed("large.json", &through, &own), new);
        let twice: Vec<String> = uploaded(&proxy).intersection(&whole).cloned().collect();
        assert!(twice.is_empty(), "{number}: {twice:?} of {whole:?}");
        assert_eq!(registry.tag(&repository, "x"), Some(new.clone()));
        assert_eq!(store.temporary_files(&own), 0);
    };
    thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let kill = &kill;
            scope.spawn(move || (0..rounds).for_each(|round| kill(worker * rounds + round)));
        }
    });
    let n_ended = n_ended.load(Ordering::SeqCst);
    assert!(
        n_ended > AT_ONCE * rounds / 5,
        "only {n_ended} pushes were ended"
    );
    let image = format!("docker://{}", reference("team/app-0"));
    let text = store
        .sandbox
        .stdout(&["verify", &image, "--physical-store", "store"]);
    assert!(text.contains("verified"), "{text}");
}

#[test]
fn after_a_sigkill_only_the_rest_is_sent() {
    kill_pushes(Signal::KILL, ROUNDS);
}

#[test]
fn after_a_sigint_only_the_rest_is_sent() {
    kill_pushes(Signal::INT, 3);
}

#[test]
fn after_a_sigterm_only_the_rest_is_sent() {
    kill_pushes(Signal::TERM, 3);
}

#[test]
fn two_pushes_of_the_same_image_at_once() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let store = Store::new();
    let reference = format!("{}/team/app:x", registry.host());
    let digests = thread::scope(|scope| {
        let push = || store.pushed("large.json", &reference, "both");
        let pushes = [scope.spawn(push), scope.spawn(push)];
        pushes.map(|push| push.join().unwrap())
    });
    assert_eq!(digests[0], digests[1]);
    assert_eq!(registry.tag("team/app", "x").as_ref(), Some(&digests[0]));
    let image = format!("docker://{reference}");
    let text = store
        .sandbox
        .stdout(&["verify", &image, "--physical-store", "store"]);
    assert!(text.contains("verified"), "{text}");
}
