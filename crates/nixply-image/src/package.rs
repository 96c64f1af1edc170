//! Packages: what a store path is called apart from its hash and its version.

use std::cmp::Ordering;

/// What nixpkgs puts behind the version of a name and does not mean as part of it: outputs (`glibc-2.40-bin`), and `env` of
/// what is composed (`python3-3.12.1-env`). The list is closed, because versions end in words, too: `bash-4.4-p23`,
/// `openjdk-8u222-ga`, `foo-1.0-rc`.
const OUTPUTS: [&str; 21] = [
    "bin",
    "data",
    "debug",
    "dev",
    "devdoc",
    "devman",
    "dist",
    "doc",
    "env",
    "info",
    "installedTests",
    "jre",
    "lib",
    "libgcc",
    "login",
    "man",
    "mount",
    "out",
    "py",
    "static",
    "tools",
];

/// A store path's name in two parts, as `builtins.parseDrvName` splits it: the version starts behind the first dash that
/// no letter follows. An output behind the version is part of the package's name: `glibc-2.40-bin` is version 2.40 of
/// `glibc-bin`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    /// The name without the version.
    pub name: String,
    /// The version; empty where the name has none.
    pub version: String,
}

impl Package {
    /// Splits the name of a store path, which comes without its hash part.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let Some((package, version)) = split_version(name) else {
            return Self {
                name: name.to_owned(),
                version: String::new(),
            };
        };
        match version.rsplit_once('-') {
            Some((version, output)) if OUTPUTS.contains(&output) => Self {
                name: format!("{package}-{output}"),
                version: version.to_owned(),
            },
            _ => Self {
                name: package.to_owned(),
                version: version.to_owned(),
            },
        }
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.version.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.version)
        }
    }
}

/// Nix, `src/libstore/names.cc`, `DrvName::DrvName`.
fn split_version(name: &str) -> Option<(&str, &str)> {
    let bytes = name.as_bytes();
    let dash = (0..bytes.len()).find(|&i| {
        bytes[i] == b'-'
            && bytes
                .get(i + 1)
                .is_some_and(|next| !next.is_ascii_alphabetic())
    })?;
    Some((&name[..dash], &name[dash + 1..]))
}

/// Compares versions as `builtins.compareVersions` does (Nix, `src/libstore/names.cc`).
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (version_parts(a), version_parts(b));
    loop {
        let (part_a, part_b) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (part_a, part_b) => (part_a.unwrap_or(""), part_b.unwrap_or("")),
        };
        match compare_parts(part_a, part_b) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
}

/// The runs of digits and of other characters between dots and dashes.
pub(crate) fn version_parts(version: &str) -> impl Iterator<Item = &str> {
    version
        .split(['.', '-'])
        .flat_map(|part| {
            part.as_bytes()
                .chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit())
        })
        // The cuts lie at ASCII digits, so every run is text.
        .filter_map(|run| std::str::from_utf8(run).ok())
}

fn compare_parts(a: &str, b: &str) -> Ordering {
    let is_number = |part: &str| {
        part.bytes()
            .next()
            .is_some_and(|first| first.is_ascii_digit())
    };
    if a == b {
        return Ordering::Equal;
    }
    // The smallest first: `pre`, no part at all against a number, other words, numbers.
    let rank = |part: &str, other: &str| match part {
        "pre" => 0,
        "" if is_number(other) => 1,
        part if is_number(part) => 3,
        _ => 2,
    };
    rank(a, b).cmp(&rank(b, a)).then_with(|| {
        if is_number(a) {
            let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
            (a.len(), a).cmp(&(b.len(), b))
        } else {
            a.cmp(b)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_apart_as_nix_says() {
        for (name, package, version) in [
            ("glibc-2.39-52", "glibc", "2.39-52"),
            ("glibc-2.40-36-bin", "glibc-bin", "2.40-36"),
            ("openssl-1.0.2t-dev", "openssl-dev", "1.0.2t"),
            ("nix-0.12pre12876", "nix", "0.12pre12876"),
            ("bash-4.4-p23", "bash", "4.4-p23"),
            ("openjdk-8u222-ga-jre", "openjdk-jre", "8u222-ga"),
            ("python3-3.7.4-env", "python3-env", "3.7.4"),
            ("python3.7-requests-2.22.0", "python3.7-requests", "2.22.0"),
            ("a-b-c1", "a-b-c1", ""),
            ("source", "source", ""),
            ("libc6-2.36-9+deb12u14", "libc6", "2.36-9+deb12u14"),
            ("hook-", "hook-", ""),
            ("x--1", "x", "-1"),
            ("bin-1-bin", "bin-bin", "1"),
            ("name-lib", "name-lib", ""),
            ("-1", "", "1"),
        ] {
            let found = Package::of_name(name);
            assert_eq!(
                (found.name.as_str(), found.version.as_str()),
                (package, version),
                "{name}"
            );
        }
    }

    /// The examples of Nix's manual and of its tests (`tests/functional/lang/eval-okay-versions.nix`).
    #[test]
    fn versions_are_ordered_as_nix_orders_them() {
        for (less, more) in [
            ("1.0", "2.3"),
            ("2.1", "2.3"),
            ("2.3", "2.5"),
            ("2.3", "3.1"),
            ("2.3", "2.3.1"),
            ("2.3a", "2.3.1"),
            ("2.3pre1", "2.3"),
            ("2.3pre3", "2.3pre12"),
            ("2.3a", "2.3c"),
            ("2.3pre1", "2.3c"),
            ("2.3pre1", "2.3q"),
            ("0.7", "0.10"),
            ("1", "99999999999999999999999999"),
        ] {
            assert_eq!(
                compare_versions(less, more),
                Ordering::Less,
                "{less} {more}"
            );
            assert_eq!(
                compare_versions(more, less),
                Ordering::Greater,
                "{less} {more}"
            );
        }
        for (a, b) in [
            ("2.3.1", "2.3.1"),
            ("2.3.1", "2.3-1"),
            ("007", "7"),
            ("", "."),
        ] {
            assert_eq!(compare_versions(a, b), Ordering::Equal, "{a} {b}");
        }
    }
}
