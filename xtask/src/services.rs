//! The services that the demo and the end-to-end tests start: a registry, and a Docker of their own.

use crate::command::{command, find_program, output};
use crate::scratch::Scratch;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a service may take until it answers.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A registry on the loopback interface, speaking HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    /// `localhost:PORT`, the first part of every reference into it.
    pub(crate) host: String,
    /// What it says, with a line for each request that it has answered.
    log: PathBuf,
}

impl Registry {
    /// Starts an empty registry that keeps its blobs in the scratch folder.
    pub(crate) fn start(scratch: &Scratch) -> Result<Registry> {
        Registry::start_in(scratch, "registry")
    }

    /// As [`Registry::start`], with its blobs in `NAME/data` below the scratch folder.
    pub(crate) fn start_in(scratch: &Scratch, name: &str) -> Result<Registry> {
        let program = ["docker-registry", "registry"]
            .iter()
            .find_map(|name| find_program(name));
        let program = program.context("there is no registry program")?;
        let dir = scratch.subdir(name)?;
        let port = free_port()?;
        let config = dir.join("config.yml");
        fs::write(
            &config,
            format!(
                "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
                 http:\n  addr: 127.0.0.1:{port}\nlog:\n  level: warn\n",
                dir.join("data").display()
            ),
        )?;
        let log = scratch.start_service(name, command(program, ["serve"]).arg(&config))?;
        wait_until("the registry", scratch, &log, || answers(port))?;
        Ok(Registry {
            host: format!("localhost:{port}"),
            log,
        })
    }

    /// The lines of the access log from a byte on. The registry writes a line after the client has its answer, so this
    /// waits until no more come.
    pub(crate) fn log_from(&self, offset: usize) -> Result<String> {
        let read = || {
            let text = fs::read_to_string(&self.log)
                .with_context(|| format!("cannot read {}", self.log.display()))?;
            anyhow::Ok(text.get(offset..).unwrap_or_default().to_owned())
        };
        let mut text = read()?;
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = read()?;
            if now == text {
                return Ok(text);
            }
            text = now;
        }
    }
}

fn free_port() -> Result<u16> {
    // The registry takes no socket from its caller, so another program could snatch the port; then it does not answer.
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn answers(port: u16) -> bool {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    answer().is_ok_and(|text| text.starts_with("HTTP/1.0 200"))
}

/// A Docker daemon that shares nothing with another one on this machine, and gives its containers no network.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    socket: PathBuf,
    exec_root: PathBuf,
}

impl Docker {
    /// Starts the daemon; its images are in the scratch folder.
    pub(crate) fn start(scratch: &Scratch) -> Result<Docker> {
        let dir = scratch.subdir_in_memory("docker")?;
        let docker = Docker {
            socket: dir.join("docker.sock"),
            exec_root: dir.join("exec"),
        };
        let mut daemon = command("dockerd", ["--bridge=none", "--iptables=false"]);
        daemon
            .arg("--host")
            .arg(docker.host())
            .arg("--exec-root")
            .arg(&docker.exec_root);
        daemon
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--pidfile")
            .arg(dir.join("pid"));
        let log = scratch.start_service("dockerd", &mut daemon)?;
        wait_until("dockerd", scratch, &log, || {
            output(&mut docker.command(["version"])).is_ok_and(|output| output.status.success())
        })?;
        Ok(docker)
    }

    /// The `docker` client, talking to this daemon.
    pub(crate) fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut docker = command("docker", args);
        docker
            .env("DOCKER_HOST", self.host())
            .env_remove("DOCKER_CONTEXT");
        docker
    }

    /// What `DOCKER_HOST` has to be for a program that calls `docker`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The socket of the containerd that the daemon has started, if it has one of its own.
    pub(crate) fn containerd_socket(&self) -> Option<PathBuf> {
        Some(self.exec_root.join("containerd/containerd.sock")).filter(|socket| socket.exists())
    }

    /// `docker run`, without network, and without leaving the container behind.
    pub(crate) fn run(&self, image: &str) -> Command {
        self.command(["run", "--rm", "--network=none", image])
    }
}

/// Waits until `is_up`; when the service ends before, or that takes too long, the error holds the end of the log.
fn wait_until(
    service: &str,
    scratch: &Scratch,
    log: &Path,
    is_up: impl Fn() -> bool,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < START_LIMIT && !scratch.last_service_ended() {
        if is_up() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    bail!(
        "{service} does not answer; it said:\n{}",
        lines[lines.len().saturating_sub(5)..].join("\n")
    )
}
