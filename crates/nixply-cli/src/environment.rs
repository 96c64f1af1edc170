//! Everything that nixply takes from its environment.

use std::io::IsTerminal as _;
use std::path::PathBuf;

/// Docker's configuration file: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
pub(crate) fn docker_config() -> Option<PathBuf> {
    let dir = match non_empty("DOCKER_CONFIG") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(non_empty("HOME")?).join(".docker"),
    };
    Some(dir.join("config.json"))
}

/// True where progress can be drawn: standard error is a terminal that is not `dumb`.
pub(crate) fn can_draw() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The store path that this program was started from, where it lies in a store; else its name and version.
pub(crate) fn tool() -> String {
    let from_store = || {
        let exe = std::env::current_exe().ok()?;
        crate::input::store_path_of(&exe)
    };
    from_store().unwrap_or_else(|| concat!("nixply ", env!("CARGO_PKG_VERSION")).to_owned())
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
    let path = std::env::var_os("PATH")?;
    names
        .iter()
        .copied()
        .find(|name| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

fn non_empty(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
