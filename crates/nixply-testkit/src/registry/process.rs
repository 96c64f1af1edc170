//! Registries as child processes: distribution 2.8 and 3, and go-containerregistry's.

use super::certificates::{Authority, Identity};
use super::child::ServerChild;
use super::tokens::TokenServer;
use crate::{require_program, say_skipped};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The one user of [`RegistrySetup::with_user`] and of a [`TokenServer`].
pub const TEST_USER: &str = "aladdin";

/// That user's password.
pub const TEST_PASSWORD: &str = "open sesame";

/// `aladdin` and the bcrypt hash of `open sesame`, the only kind of hash that the registry takes.
const HTPASSWD: &str = "aladdin:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// Debian's `docker-registry`, distribution 2.8.
    Distribution2,
    /// Distribution 3; Go installs it as `registry`.
    Distribution3,
    /// `crane registry serve`: without users and TLS. It forgets manifests when it ends.
    Crane,
}

impl RegistryKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Distribution2, Self::Distribution3, Self::Crane];

    fn program(self) -> &'static str {
        match self {
            Self::Distribution2 => "docker-registry",
            Self::Distribution3 => "registry",
            Self::Crane => "crane",
        }
    }
}

/// A registry that is to be started.
///
/// ```no_run
/// use nixply_testkit::registry::{Authority, RegistryKind, RegistrySetup};
///
/// let authority = Authority::new();
/// let setup = RegistrySetup::new(RegistryKind::Distribution2).with_user().with_tls(&authority);
/// let Some(registry) = setup.start() else {
///     return; // docker-registry is not installed, which was told
/// };
/// println!("https://{}/v2/", registry.host());
/// ```
#[derive(Debug)]
pub struct RegistrySetup {
    kind: RegistryKind,
    auth: Auth,
    tls: Option<Tls>,
    address: &'static str,
}

#[derive(Debug)]
enum Auth {
    Nobody,
    Password,
    Token { realm: String, certificate: String },
}

#[derive(Debug)]
struct Tls {
    server: Identity,
    /// The authority whose clients are let in, if certificates are asked for.
    client_authority: Option<String>,
}

impl RegistrySetup {
    /// A registry on loopback that anybody may use, over plain HTTP.
    #[must_use]
    pub fn new(kind: RegistryKind) -> Self {
        Self {
            kind,
            auth: Auth::Nobody,
            tls: None,
            address: "127.0.0.1",
        }
    }

    /// The registry wants [`TEST_USER`] and [`TEST_PASSWORD`].
    #[must_use]
    pub fn with_user(mut self) -> Self {
        self.auth = Auth::Password;
        self
    }

    /// The registry wants tokens of that server.
    #[must_use]
    pub fn with_tokens(mut self, server: &TokenServer) -> Self {
        self.auth = Auth::Token {
            realm: server.realm(),
            certificate: server.certificate().to_owned(),
        };
        self
    }

    /// The registry speaks HTTPS with a certificate of that authority.
    #[must_use]
    pub fn with_tls(mut self, authority: &Authority) -> Self {
        self.tls = Some(Tls {
            server: authority.server(),
            client_authority: None,
        });
        self
    }

    /// As [`with_tls`](Self::with_tls), and clients have to show a certificate of the same authority.
    #[must_use]
    pub fn with_client_certificates(self, authority: &Authority) -> Self {
        let mut setup = self.with_tls(authority);
        if let Some(tls) = &mut setup.tls {
            tls.client_authority = Some(authority.certificate());
        }
        setup
    }

    /// The registry listens on the loopback address of IPv6.
    #[must_use]
    pub fn on_ipv6(mut self) -> Self {
        self.address = "[::1]";
        self
    }

    /// Starts the registry with an empty storage. `None` if the program is not installed, which is told as
    /// [`require_program`] does.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a registry that cannot be started has to stop the test"
    )]
    pub fn start(self) -> Option<RegistryProcess> {
        let program = require_program(self.kind.program())?;
        if self.kind == RegistryKind::Distribution3 && !is_distribution_3(&program) {
            say_skipped("the program `registry` is not distribution 3");
            return None;
        }
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        self.write_files(dir.path());
        // crane writes into it and does not make it.
        fs::create_dir(dir.path().join("storage")).expect("a directory can be made");
        let run = |address: &str| self.run(&program, dir.path(), address);
        let (child, host) = match self.kind {
            // Its own choice of a port is one of IPv6, too.
            RegistryKind::Crane => on_a_free_address(run),
            _ => run(&format!("{}:0", self.address))
                .unwrap_or_else(|log| panic!("{} does not listen: {log}", program.display())),
        };
        Some(RegistryProcess {
            child: Some(child),
            host,
            setup: self,
            program,
            dir,
        })
    }

    #[expect(
        clippy::expect_used,
        reason = "a registry that cannot be started has to stop the test"
    )]
    fn write_files(&self, dir: &Path) {
        let write = |name: &str, text: &str| {
            fs::write(dir.join(name), text).expect("a file can be written");
        };
        match &self.auth {
            Auth::Nobody => {}
            Auth::Password => write("htpasswd", HTPASSWD),
            Auth::Token { certificate, .. } => write("tokens.pem", certificate),
        }
        if let Some(tls) = &self.tls {
            write("server.pem", &tls.server.certificate);
            write("server.key", &tls.server.key);
            write(
                "clients.pem",
                tls.client_authority.as_deref().unwrap_or_default(),
            );
        }
    }

    /// Starts the program; gives the host that it listens on, or its log.
    fn run(
        &self,
        program: &Path,
        dir: &Path,
        address: &str,
    ) -> Result<(ServerChild, String), String> {
        let mut command = Command::new(program);
        command.env_clear();
        if self.kind == RegistryKind::Crane {
            command
                .args(["registry", "serve", "--address", address, "--disk"])
                .arg(dir.join("storage"));
            // The only thing that it says is the port.
            let is_up = |line: &str| line.contains("serving on port").then(String::new);
            let (child, _) = ServerChild::start(&mut command, is_up)?;
            return Ok((child, address.to_owned()));
        }
        let config = dir.join("config.yml");
        fs::write(&config, self.config(dir, address)).map_err(|error| error.to_string())?;
        command.arg("serve").arg(&config);
        ServerChild::start(&mut command, host_in)
    }

    /// YAML that needs no library: JSON is YAML, and paths of temporary directories need no quoting in it.
    fn config(&self, dir: &Path, address: &str) -> String {
        let file = |name: &str| dir.join(name).display().to_string();
        let mut http = serde_json::json!({ "addr": address, "secret": "test" });
        if let Some(tls) = &self.tls {
            http["tls"] = serde_json::json!({
                "certificate": file("server.pem"),
                "key": file("server.key"),
            });
            if tls.client_authority.is_some() {
                http["tls"]["clientcas"] = serde_json::json!([file("clients.pem")]);
            }
        }
        let mut config = serde_json::json!({
            "version": 0.1,
            "log": { "level": "info", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": file("storage") } },
            "http": http,
        });
        match &self.auth {
            Auth::Nobody => {}
            Auth::Password => {
                let htpasswd = serde_json::json!({ "realm": "test", "path": file("htpasswd") });
                config["auth"] = serde_json::json!({ "htpasswd": htpasswd });
            }
            Auth::Token { realm, .. } => {
                let token = serde_json::json!({
                    "realm": realm,
                    "service": TokenServer::SERVICE,
                    "issuer": TokenServer::ISSUER,
                    "rootcertbundle": file("tokens.pem"),
                });
                config["auth"] = serde_json::json!({ "token": token });
            }
        }
        config.to_string()
    }
}

/// A registry on a free loopback port with a storage of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct RegistryProcess {
    child: Option<ServerChild>,
    host: String,
    setup: RegistrySetup,
    program: PathBuf,
    dir: TempDir,
}

impl RegistryProcess {
    /// Starts Debian's registry for anybody.
    #[must_use]
    pub fn start() -> Option<Self> {
        RegistrySetup::new(RegistryKind::Distribution2).start()
    }

    /// Starts Debian's registry for [`TEST_USER`] and [`TEST_PASSWORD`].
    #[must_use]
    pub fn start_with_user() -> Option<Self> {
        RegistrySetup::new(RegistryKind::Distribution2)
            .with_user()
            .start()
    }

    /// The registry's host: `127.0.0.1` and the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Kills the registry with SIGKILL. Its storage stays.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Kills the registry if it runs, and starts it again on the same port and storage.
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn restart(&mut self) {
        self.kill();
        let (child, host) = self
            .setup
            .run(&self.program, self.dir.path(), &self.host)
            .unwrap_or_else(|log| panic!("{} does not come back: {log}", self.program.display()));
        assert_eq!(host, self.host, "the registry listens where it did before");
        self.child = Some(child);
    }

    /// The file in which a registry of distribution keeps a blob, by the 64 hexadecimal digits of its digest.
    #[must_use]
    pub fn blob_file(&self, hex: &str) -> PathBuf {
        let shard = hex.get(..2).unwrap_or_default();
        self.blob_dir().join(shard).join(hex).join("data")
    }

    /// The digests, as 64 hexadecimal digits, of all blobs that a registry of distribution has whole: layers, configs
    /// and manifests of every repository.
    #[must_use]
    pub fn blobs(&self) -> BTreeSet<String> {
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        entries(&self.blob_dir())
            .flat_map(|shard| entries(&shard.path()))
            .filter(|blob| blob.path().join("data").is_file())
            .map(|blob| blob.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// The digests, as 64 hexadecimal digits, of the layers and configs that a repository of a registry of distribution
    /// has: those that are whole and that the registry would say it has.
    #[must_use]
    pub fn blobs_of(&self, repository: &str) -> BTreeSet<String> {
        let links = format!("repositories/{repository}/_layers/sha256");
        let links = fs::read_dir(self.root().join(links));
        let linked = links.into_iter().flatten().flatten();
        let linked = linked.filter(|blob| blob.path().join("link").is_file());
        let linked = linked.map(|blob| blob.file_name().to_string_lossy().into_owned());
        linked.filter(|hex| self.blob_file(hex).is_file()).collect()
    }

    /// The digest that a tag of a repository of a registry of distribution names.
    #[must_use]
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
        fs::read_to_string(self.root().join(link)).ok()
    }

    fn blob_dir(&self) -> PathBuf {
        self.root().join("blobs/sha256")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("storage/docker/registry/v2")
    }
}

fn is_distribution_3(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("distribution/v3"))
}

/// Starts a server that has to be told its port. Between the search for one and its use, another test may take it.
#[expect(clippy::expect_used, reason = "a test without a port has to stop")]
pub(super) fn on_a_free_address(
    start: impl Fn(&str) -> Result<(ServerChild, String), String>,
) -> (ServerChild, String) {
    let mut logs = Vec::new();
    for _ in 0..5 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        drop(listener);
        match start(&address.to_string()) {
            Ok(started) => return started,
            Err(log) => logs.push(log),
        }
    }
    panic!("a server does not start on any of 5 ports: {logs:#?}");
}

/// `… msg="listening on 127.0.0.1:43211" …`, with `, tls` behind it when the registry speaks HTTPS.
fn host_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    let host: String = rest
        .chars()
        .take_while(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']'))
        .collect();
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn the_address_is_read_from_the_log() {
        for (line, host) in [
            (
                r#"time="x" level=info msg="listening on 127.0.0.1:43211" go.version=go1"#,
                Some("127.0.0.1:43211"),
            ),
            (
                r#"level=info msg="listening on [::1]:4321, tls""#,
                Some("[::1]:4321"),
            ),
            ("redis not configured", None),
        ] {
            assert_eq!(host_in(line).as_deref(), host);
        }
    }

    #[test]
    fn a_registry_listens_comes_back_on_its_port_and_ends_with_its_owner() {
        for kind in RegistryKind::ALL {
            let Some(mut registry) = RegistrySetup::new(kind).start() else {
                continue;
            };
            TcpStream::connect(registry.host()).unwrap();
            registry.kill();
            assert!(TcpStream::connect(registry.host()).is_err());
            registry.restart();
            TcpStream::connect(registry.host()).unwrap();
            let id = registry.child.as_ref().unwrap().id();
            let process = PathBuf::from(format!("/proc/{id}"));
            assert!(process.exists());
            drop(registry);
            assert!(!process.exists());
        }
    }
}
