//! Everything that nixply takes from its environment.

use nixply_registry::AuthFileFormat;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The file that `REGISTRY_AUTH_FILE` names, as podman and skopeo take it.
pub(crate) fn registry_auth_file() -> Option<PathBuf> {
    non_empty("REGISTRY_AUTH_FILE").map(PathBuf::from)
}

/// The files in which podman, skopeo and Docker look for credentials, in podman's order.
pub(crate) fn auth_files() -> Vec<(PathBuf, AuthFileFormat)> {
    let files = [
        Some((containers_runtime_auth_file(), AuthFileFormat::Json)),
        containers_auth_file().map(|path| (path, AuthFileFormat::Json)),
        docker_config().map(|path| (path, AuthFileFormat::Json)),
        home().map(|home| (home.join(".dockercfg"), AuthFileFormat::Dockercfg)),
    ];
    files.into_iter().flatten().collect()
}

/// Where `podman login` writes: it goes when the user's session ends.
fn containers_runtime_auth_file() -> PathBuf {
    let dir = if let Some(dir) = non_empty("XDG_RUNTIME_DIR") {
        PathBuf::from(dir).join("containers")
    } else {
        let uid = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
        PathBuf::from(format!("/run/containers/{uid}"))
    };
    dir.join("auth.json")
}

/// The file of podman and skopeo that stays.
pub(crate) fn containers_auth_file() -> Option<PathBuf> {
    Some(config_home()?.join("containers/auth.json"))
}

/// Where podman and Docker keep certificates for single registries, in podman's order.
pub(crate) fn certificate_dirs() -> Vec<PathBuf> {
    let of_user = config_home().map(|dir| dir.join("containers/certs.d"));
    let of_system = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
    let of_system = of_system.into_iter().map(PathBuf::from);
    of_user.into_iter().chain(of_system).collect()
}

fn config_home() -> Option<PathBuf> {
    match non_empty("XDG_CONFIG_HOME") {
        Some(dir) => Some(PathBuf::from(dir)),
        None => Some(home()?.join(".config")),
    }
}

/// Docker's configuration file: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
pub(crate) fn docker_config() -> Option<PathBuf> {
    let dir = match non_empty("DOCKER_CONFIG") {
        Some(dir) => PathBuf::from(dir),
        None => home()?.join(".docker"),
    };
    Some(dir.join("config.json"))
}

/// The user name and password for the registry that a command is about.
pub(crate) fn registry_user() -> (Option<String>, Option<String>) {
    (text("REGISTRY_USERNAME"), text("REGISTRY_PASSWORD"))
}

/// The user name and token of a GitHub job, where it hands its token to the commands that it runs. `ghcr.io` takes any
/// user name with it.
pub(crate) fn github_token() -> Option<(String, String)> {
    let token = text("GITHUB_TOKEN")?;
    let user = text("GITHUB_ACTOR").unwrap_or_else(|| "x-access-token".to_owned());
    Some((user, token))
}

/// The directories in which programs are found, without those that depend on where one stands: others may write there.
pub(crate) fn program_dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .collect()
}

fn home() -> Option<PathBuf> {
    non_empty("HOME").map(PathBuf::from)
}

/// The directory of the local layer records: `$NIXPLY_CACHE_DIR`, else `$XDG_CACHE_HOME/nixply`, else `~/.cache/nixply`.
/// XDG's base directory specification takes no relative path.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    if let Some(dir) = non_empty("NIXPLY_CACHE_DIR") {
        return Some(PathBuf::from(dir));
    }
    let absolute = |name| {
        non_empty(name)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".cache")))
        .map(|caches| caches.join("nixply"))
}

/// True where progress can be drawn: standard error is a terminal, and `TERM` names one that is not `dumb`.
pub(crate) fn can_draw() -> bool {
    let moves_its_cursor = text("TERM").is_some_and(|term| term != "dumb");
    moves_its_cursor && std::io::stderr().is_terminal()
}

/// The store path that this program was started from, where it lies in a store; else its name and version.
pub(crate) fn tool() -> String {
    let from_store = || {
        let exe = std::env::current_exe().ok()?;
        crate::input::store_path_of(&exe)
    };
    from_store().unwrap_or_else(|| concat!("nixply ", env!("CARGO_PKG_VERSION")).to_owned())
}

/// The file with a derivation's attributes. Nix before 2.4 does not name it, it only puts it there.
pub(crate) fn derivation_attributes() -> PathBuf {
    non_empty("NIX_ATTRS_JSON_FILE").map_or_else(|| PathBuf::from(".attrs.json"), PathBuf::from)
}

/// How many threads Nix allows a builder; 0 stands for all.
pub(crate) fn build_cores() -> usize {
    let allowed = text("NIX_BUILD_CORES").and_then(|cores| cores.parse().ok());
    allowed.filter(|cores| *cores > 0).unwrap_or_else(threads)
}

/// How many threads this process may use.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The directory for temporary files.
pub(crate) fn temporary_dir() -> PathBuf {
    std::env::temp_dir()
}

/// The first of the programs that is found on `PATH`.
pub(crate) fn find_program<'a>(names: &[&'a str]) -> Option<&'a str> {
    let dirs = program_dirs();
    names
        .iter()
        .copied()
        .find(|name| dirs.iter().any(|dir| dir.join(name).is_file()))
}

fn non_empty(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text(name: &str) -> Option<String> {
    non_empty(name)?.into_string().ok()
}
