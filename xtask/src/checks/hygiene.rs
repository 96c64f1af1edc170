//! Tracked files tell nothing of the machine they were written on, and no source file grows without end.

use super::Problems;
use crate::command::{command, stdout};
use anyhow::Result;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file that is longer does more than one thing.
const MOST_LINES: usize = 600;
const SOURCE_EXTENSIONS: &[&str] = &["rs", "nix", "sh", "py"];

/// Archives that everyone uses and anyone may name. What else the package managers of this machine are set up with is
/// its own business.
const PUBLIC_DOMAINS: &[&str] = &[
    "crates.io",
    "debian.org",
    "docker.com",
    "github.com",
    "google.com",
    "nodesource.com",
    "pypi.org",
    "rust-lang.org",
    "pythonhosted.org",
    "npmjs.org",
    "ubuntu.com",
];

/// Checks every file that git tracks.
pub(super) fn check(root: &Path) -> Result<Problems> {
    let private = private_words(root, &package_manager_settings());
    let listed = stdout(command("git", ["ls-files", "-z"]).current_dir(root))?;
    let mut problems = Problems::new();
    for name in listed
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = String::from_utf8_lossy(name);
        // A file that is deleted but not yet committed is listed all the same.
        if let Ok(content) = fs::read(root.join(&*name)) {
            problems.extend(problems_of(
                &name,
                &String::from_utf8_lossy(&content),
                &private,
            ));
        }
    }
    Ok(problems)
}

fn problems_of(name: &str, content: &str, private: &BTreeSet<String>) -> Problems {
    let mut problems = Problems::new();
    for (line, text) in (1..).zip(content.lines()) {
        // The word itself would only spread from here.
        if private.iter().any(|word| text.contains(word.as_str())) {
            problems.push(format!(
                "{name}:{line} names a host or a folder of this machine"
            ));
        }
    }
    let extension = Path::new(name).extension().unwrap_or_default();
    let lines = content.lines().count();
    if SOURCE_EXTENSIONS.iter().any(|source| extension == *source) && lines > MOST_LINES {
        problems.push(format!(
            "{name} has {lines} lines: divide it (at most {MOST_LINES})"
        ));
    }
    problems
}

/// The texts of the settings of apt, cargo and pip.
fn package_manager_settings() -> Vec<String> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let mut files = vec![
        PathBuf::from("/etc/apt/sources.list"),
        PathBuf::from("/etc/pip.conf"),
    ];
    for dir in ["/etc/apt/sources.list.d", "/etc/apt/apt.conf.d"] {
        files.extend(
            fs::read_dir(dir)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path())),
        );
    }
    files.extend(
        [
            ".cargo/config.toml",
            ".cargo/config",
            ".config/pip/pip.conf",
            ".pip/pip.conf",
        ]
        .map(|file| home.join(file)),
    );
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect()
}

/// Hosts in the settings that are not public, and the folder that this work tree is in.
fn private_words(root: &Path, settings: &[String]) -> BTreeSet<String> {
    let mut words: BTreeSet<String> = settings.iter().flat_map(|text| hosts(text)).collect();
    words.retain(|host| !is_public(host));
    words.insert(root.display().to_string());
    // The folder that the sessions of this project work in, whichever machine checks what they wrote.
    words.insert(concat!("/wo", "rk/").to_owned());
    words
}

fn is_public(host: &str) -> bool {
    let is_local = host == "localhost" || host.starts_with("127.") || !host.contains('.');
    is_local
        || PUBLIC_DOMAINS
            .iter()
            .any(|domain| host == *domain || host.ends_with(&format!(".{domain}")))
}

/// What stands between `://` and the next `/`, without user and port.
fn hosts(text: &str) -> Vec<String> {
    let after = text.split("://").skip(1);
    let authorities = after.map(|rest| {
        rest.split(|c: char| "/\"'> ".contains(c) || c.is_whitespace())
            .next()
            .unwrap_or("")
    });
    authorities
        .map(|authority| {
            authority
                .rsplit('@')
                .next()
                .unwrap_or("")
                .split(':')
                .next()
                .unwrap_or("")
                .to_owned()
        })
        .filter(|host| !host.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_and_the_work_folder_are_found() {
        let settings = ["URIs: http://user:pass@mirror.corp.example:8080/debian\nURIs: http://x.debian.org/debian".to_owned()];
        let private = private_words(Path::new("/home/me/nixply"), &settings);
        assert!(
            private.contains("mirror.corp.example") && !private.contains("x.debian.org"),
            "{private:?}"
        );
        let content = "fine\nsee mirror.corp.example\nand /home/me/nixply/x\n";
        let problems = problems_of("README.md", content, &private);
        assert_eq!(
            problems,
            ["README.md:2", "README.md:3"]
                .map(|at| format!("{at} names a host or a folder of this machine"))
        );
    }

    #[test]
    fn a_long_source_file_is_found_and_long_data_is_not() {
        let long = "x\n".repeat(MOST_LINES + 1);
        assert_eq!(
            problems_of("a.rs", &long, &BTreeSet::new()),
            ["a.rs has 601 lines: divide it (at most 600)"]
        );
        assert_eq!(
            problems_of("a.json", &long, &BTreeSet::new()),
            Problems::new()
        );
        assert_eq!(
            problems_of("a.rs", &"x\n".repeat(MOST_LINES), &BTreeSet::new()),
            Problems::new()
        );
    }
}
