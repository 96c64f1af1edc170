//! A scratch folder with a small store, and the command run in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with `closure.json` and `store/`, which holds what the closure names.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
}

/// The base names of the closure's paths; `app` refers to `lib` and `data`, `lib` to `libc`.
pub(crate) const APP: &str = "1111111111111111111111111111111a-app-1.0";
pub(crate) const LIB: &str = "2222222222222222222222222222222b-lib-2";
pub(crate) const LIBC: &str = "3333333333333333333333333333333c-libc-2.36";
pub(crate) const DATA: &str = "4444444444444444444444444444444d-data";

impl Sandbox {
    /// Makes the catalog of `closure.json` under the package sets of a file.
    pub(crate) fn make_catalog(&self, sets: &str, level: u32, output: &str) {
        let level = level.to_string();
        let make = [
            "catalog",
            "closure.json",
            "--sets",
            sets,
            "--level",
            &level,
            "-o",
            output,
        ];
        self.stdout(&make);
    }

    pub(crate) fn new() -> Self {
        let sandbox = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let store = sandbox.store();
        let write = |path: &Path, content: &str, mode: u32| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write(
            &store.join(APP).join("bin/app"),
            "#!/bin/sh\necho app\n",
            0o755,
        );
        write(&store.join(LIB).join("lib/lib.so.2"), "library", 0o644);
        symlink("lib.so.2", store.join(LIB).join("lib/lib.so")).unwrap();
        write(
            &store.join(LIBC).join("lib/libc.so"),
            &"c".repeat(100_000),
            0o755,
        );
        write(&store.join(DATA), "a store path that is a file\n", 0o444);
        sandbox.write("closure.json", &closure_json());
        sandbox
    }

    /// Makes one store path so large that making its layer takes seconds; on the disk it takes nothing.
    pub(crate) fn grow(&self, size_bytes: u64) {
        let file = self.store().join(LIBC).join("lib/libc.so");
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_len(size_bytes).unwrap();
    }

    /// The names in the folder that begin like this.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes a credential helper into `bin/`.
    pub(crate) fn helper(&self, name: &str, script: &str) {
        self.program(&format!("docker-credential-{name}"), script);
    }

    /// Writes a shell script into `bin/`. Another process does it: a file that this one has open for writing cannot be
    /// run, and another test may be about to start a program just now, which inherits what is open.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        fs::create_dir_all(self.path("bin")).unwrap();
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
        let written = Command::new("/bin/sh")
            .args(["-c", write, "sh"])
            .args([file.as_os_str(), script.as_ref()])
            .status();
        assert!(written.unwrap().success());
    }

    /// The command with an environment that holds nothing of this machine, in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nixply"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/nonexistent");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the command and shows all that people see, without what differs from machine to machine.
    pub(crate) fn show(&self, arguments: &[&str]) -> String {
        self.shown(arguments, &self.run(arguments))
    }

    /// The same of a run that has been.
    pub(crate) fn shown(&self, arguments: &[&str], output: &Output) -> String {
        format!(
            "$ nixply {}\n{}--- stderr\n{}--- exit code {}\n",
            arguments.join(" "),
            self.clean(&output.stdout),
            self.clean(&output.stderr),
            output.status.code().unwrap_or(-1),
        )
    }

    /// Standard output of a run that must succeed.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "nixply {}: {stderr}",
            arguments.join(" ")
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn clean(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes)
            .replace(
                &self
                    .dir
                    .path()
                    .canonicalize()
                    .unwrap()
                    .display()
                    .to_string(),
                "[DIR]",
            )
            .replace(&self.dir.path().display().to_string(), "[DIR]")
    }
}

/// `nix path-info --json` of Nix 2.26, with made-up hashes.
fn closure_json() -> String {
    let record = |name: &str, digit: &str, size: u64, references: &[&str]| {
        let references: Vec<String> = references
            .iter()
            .map(|name| format!("\"/nix/store/{name}\""))
            .collect();
        format!(
            r#""/nix/store/{name}": {{"ca": null, "deriver": null, "narHash": "sha256-{}=", "narSize": {size},
              "references": [{}], "registrationTime": 1, "signatures": [], "ultimate": true}}"#,
            digit.repeat(43),
            references.join(", ")
        )
    };
    // The last base-64 digit before `=` may only carry four bits: A, E, I … are such digits.
    format!(
        "{{{},\n{},\n{},\n{}}}\n",
        record(APP, "A", 400, &[APP, LIB, DATA]),
        record(LIB, "E", 600, &[LIBC]),
        record(LIBC, "I", 100_400, &[]),
        record(DATA, "M", 150, &[]),
    )
}
