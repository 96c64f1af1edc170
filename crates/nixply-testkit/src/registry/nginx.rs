//! nginx in front of a registry, as many people run one.

use super::child::ServerChild;
use super::process::on_a_free_address;
use crate::require_program;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// An nginx on a free loopback port, with a configuration and folders of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    host: String,
    _child: ServerChild,
    _dir: TempDir,
}

impl Nginx {
    /// Starts an nginx in front of a registry that speaks plain HTTP, which answers 413 to bodies larger than
    /// `max_body_bytes`. `None` if nginx is not installed, which is told as [`require_program`] does.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a server that cannot be started has to stop the test"
    )]
    pub fn start(registry_host: &str, max_body_bytes: u64) -> Option<Self> {
        let program = require_program("nginx")?;
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let root = dir.path().display().to_string();
        let config = dir.path().join("nginx.conf");
        let (child, host) = on_a_free_address(|address| {
            let text = configuration(address, registry_host, max_body_bytes);
            fs::write(&config, text).expect("the configuration can be written");
            let mut command = Command::new(&program);
            command
                .env_clear()
                .args(["-p", &root, "-e", "stderr", "-c"])
                .arg(&config);
            // The last that it says at its start, once it listens.
            ServerChild::start(&mut command, |line| {
                line.contains("getrlimit(").then(String::new)
            })
            .map(|(child, _)| (child, address.to_owned()))
        });
        Some(Self {
            host,
            _child: child,
            _dir: dir,
        })
    }

    /// The host to push to: `127.0.0.1` and the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// Every path is relative to the prefix that is given on the command line. Workers that were left behind by a killed
/// master would keep the port, so there is none.
fn configuration(address: &str, registry_host: &str, max_body_bytes: u64) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr notice;\n\
         events {{ }}\n\
         http {{\n  access_log off;\n{temporary}  client_max_body_size {max_body_bytes};\n\
         \x20 server {{\n    listen {address};\n    location / {{\n\
         \x20     proxy_pass http://{registry_host};\n      proxy_set_header Host $http_host;\n\
         \x20     proxy_http_version 1.1;\n      proxy_request_buffering off;\n    }}\n  }}\n}}\n"
    )
}
