//! Debian's `docker-registry` as a child process.

use crate::require_program;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The one user of [`RegistryProcess::start_with_user`].
pub const TEST_USER: &str = "aladdin";

/// That user's password.
pub const TEST_PASSWORD: &str = "open sesame";

/// `aladdin` and the bcrypt hash of `open sesame`, the only kind of hash that the registry takes.
const HTPASSWD: &str = "aladdin:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// How long the registry may take to listen, on a machine that is busy with other tests.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A `docker-registry` on a free loopback port with a storage of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct RegistryProcess {
    child: Child,
    host: String,
    dir: TempDir,
}

impl RegistryProcess {
    /// Starts a registry that anybody may use. `None` if the program is not installed, which is told as
    /// [`require_program`] does.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with_auth(None)
    }

    /// Starts a registry that wants [`TEST_USER`] and [`TEST_PASSWORD`].
    #[must_use]
    pub fn start_with_user() -> Option<Self> {
        Self::start_with_auth(Some(HTPASSWD))
    }

    #[expect(
        clippy::expect_used,
        reason = "a registry that cannot be started has to stop the test"
    )]
    fn start_with_auth(htpasswd: Option<&str>) -> Option<Self> {
        let program = require_program("docker-registry")?;
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let config = dir.path().join("config.yml");
        let passwords = dir.path().join("htpasswd");
        let auth = match htpasswd {
            Some(content) => {
                fs::write(&passwords, content).expect("the password file can be written");
                format!(
                    "auth: {{htpasswd: {{realm: test, path: '{}'}}}}\n",
                    passwords.display()
                )
            }
            None => String::new(),
        };
        let storage = dir.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: test}}\n{auth}",
            storage.display()
        );
        fs::write(&config, text).expect("the configuration can be written");
        let mut child = Command::new(program)
            .arg("serve")
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry can be started");
        let log = child.stderr.take().expect("its standard error is a pipe");
        match listening_host(log) {
            Ok(host) => Some(Self { child, host, dir }),
            Err(log) => {
                stop(&mut child);
                panic!("docker-registry does not listen; its log:\n{log}");
            }
        }
    }

    /// The registry's host: `127.0.0.1` and the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The file in which the registry keeps a blob, by the 64 hexadecimal digits of its digest.
    #[must_use]
    pub fn blob_file(&self, hex: &str) -> PathBuf {
        let shard = hex.get(..2).unwrap_or_default();
        self.dir
            .path()
            .join("storage/docker/registry/v2/blobs/sha256")
            .join(shard)
            .join(hex)
            .join("data")
    }
}

impl Drop for RegistryProcess {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

fn stop(child: &mut Child) {
    // Both fail only for a process that has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads the log until it names the address, and goes on reading so that the registry never waits for a reader.
fn listening_host(log: impl io::Read + Send + 'static) -> Result<String, String> {
    let (hosts, host) = mpsc::channel();
    thread::spawn(move || {
        let mut seen = String::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some(host) = host_in(&line) {
                // Nobody waits any more after the first.
                let _ = hosts.send(Ok(host));
            }
            if seen.len() < 1 << 16 {
                seen.push_str(&line);
                seen.push('\n');
            }
        }
        let _ = hosts.send(Err(seen));
    });
    host.recv_timeout(START_TIMEOUT)
        .unwrap_or_else(|_| Err("nothing in time".to_owned()))
}

/// `… msg="listening on 127.0.0.1:43211" …`
fn host_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    let host: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
        .collect();
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn the_address_is_read_from_the_log() {
        assert_eq!(
            host_in(r#"time="x" level=info msg="listening on 127.0.0.1:43211" go.version=go1"#),
            Some("127.0.0.1:43211".to_owned())
        );
        assert_eq!(host_in("redis not configured"), None);
    }

    #[test]
    fn a_registry_listens_and_ends_with_its_owner() {
        let Some(registry) = RegistryProcess::start() else {
            return;
        };
        TcpStream::connect(registry.host()).unwrap();
        let process = PathBuf::from(format!("/proc/{}", registry.child.id()));
        assert!(process.exists());
        drop(registry);
        assert!(!process.exists());
    }
}
