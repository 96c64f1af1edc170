//! The packages that this Debian system can install, out of apt's own lists.

use crate::command;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;

/// One package of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The source package it is built from.
    pub(crate) source: String,
    /// `Pre-Depends` and `Depends`: each clause is a list of alternatives, all without their version limits.
    pub(crate) depends: Vec<Vec<String>>,
    pub(crate) provides: Vec<String>,
    /// The base name of the `.deb` in the archive.
    pub(crate) file_name: String,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

/// All packages, the newest version of each.
#[derive(Debug, Default)]
pub(crate) struct PackageIndex {
    packages: BTreeMap<String, Package>,
    providers: BTreeMap<String, Vec<String>>,
}

impl PackageIndex {
    /// Reads the lists of this system's own distribution; those of other archives that are configured are left out.
    pub(crate) fn of_this_system() -> Result<PackageIndex> {
        let distribution =
            os_release_id(&fs::read_to_string("/etc/os-release").unwrap_or_default());
        let targets = command::text(&mut command::command(
            "apt-get",
            [
                "indextargets",
                "--format",
                "$(ORIGIN) $(FILENAME)",
                "Created-By: Packages",
            ],
        ))?;
        let mut index = PackageIndex::default();
        for line in targets.lines() {
            let Some((origin, file)) = line.rsplit_once(' ') else {
                continue;
            };
            if origin.to_lowercase() == distribution {
                // apt may keep its lists compressed, and alone knows how.
                index.read(&command::text(&mut command::command(
                    "/usr/lib/apt/apt-helper",
                    ["cat-file", file],
                ))?)?;
            }
        }
        if index.packages.is_empty() {
            bail!("apt has no package lists of {distribution}: run apt-get update");
        }
        Ok(index)
    }

    /// Adds the packages of one `Packages` file (deb-src(5), Debian policy 5.3).
    pub(crate) fn read(&mut self, packages: &str) -> Result<()> {
        for paragraph in packages.split("\n\n") {
            let Some(package) = parse_paragraph(paragraph) else {
                continue;
            };
            if let Some(known) = self.packages.get(&package.name)
                && !is_newer(&package.version, &known.version)?
            {
                continue;
            }
            self.packages.insert(package.name.clone(), package);
        }
        self.providers.clear();
        for package in self.packages.values() {
            for provided in &package.provides {
                self.providers
                    .entry(provided.clone())
                    .or_default()
                    .push(package.name.clone());
            }
        }
        Ok(())
    }

    /// The package of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Package> {
        self.packages
            .get(name)
            .with_context(|| format!("there is no package {name} here"))
    }

    /// The first alternative that is a package, else the first package that provides one.
    pub(crate) fn choose(&self, alternatives: &[String]) -> Option<&Package> {
        let real = alternatives.iter().find_map(|name| self.packages.get(name));
        let mut providers = alternatives
            .iter()
            .filter_map(|name| self.providers.get(name))
            .flatten();
        real.or_else(|| providers.find_map(|name| self.packages.get(name)))
    }
}

fn parse_paragraph(paragraph: &str) -> Option<Package> {
    let mut fields = BTreeMap::new();
    for line in paragraph
        .lines()
        .filter(|line| !line.starts_with([' ', '\t']))
    {
        let (field, value) = line.split_once(':')?;
        fields.insert(field, value.trim());
    }
    let name = fields.get("Package")?.to_string();
    let depends = ["Pre-Depends", "Depends"]
        .iter()
        .filter_map(|field| fields.get(field));
    Some(Package {
        version: fields.get("Version")?.to_string(),
        source: fields
            .get("Source")
            .map_or_else(|| name.clone(), |source| first_word(source)),
        depends: depends
            .flat_map(|clauses| clauses.split(','))
            .map(|clause| clause.split('|').map(first_word).collect())
            .collect(),
        provides: fields
            .get("Provides")
            .map_or_else(Vec::new, |names| names.split(',').map(first_word).collect()),
        file_name: fields.get("Filename")?.rsplit('/').next()?.to_owned(),
        sha256: fields.get("SHA256")?.to_string(),
        name,
    })
}

/// `libc6:any (>= 2.36)` is the package `libc6`.
fn first_word(relation: &str) -> String {
    relation
        .trim()
        .split([' ', '(', ':'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn is_newer(version: &str, than: &str) -> Result<bool> {
    if version == than {
        return Ok(false);
    }
    let comparison = command::output(&mut command::command(
        "dpkg",
        ["--compare-versions", version, "gt", than],
    ))?;
    Ok(comparison.status.success())
}

/// The line `ID=debian` of os-release(5).
fn os_release_id(os_release: &str) -> String {
    let id = os_release.lines().find_map(|line| line.strip_prefix("ID="));
    id.unwrap_or("debian").trim_matches('"').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASH: &str = "Package: bash\nSource: bash-src (5.2)\nVersion: 5.2-1\nPre-Depends: libc6 (>= 2.36), libtinfo6 (>= 6)\n\
        Depends: base-files (>= 2.1.12), debianutils | other:any\nProvides: shell (= 5), sh\nDescription: a shell\n with: a colon\n\
        Filename: pool/main/b/bash/bash_5.2-1_amd64.deb\nSHA256: 00ff\n";

    #[test]
    fn a_paragraph_is_read() {
        let mut index = PackageIndex::default();
        index
            .read(&format!(
                "{BASH}\n{}",
                BASH.replace("Package: bash", "Package: zsh")
            ))
            .unwrap();
        let bash = index.get("bash").unwrap();
        assert_eq!(
            (bash.version.as_str(), bash.source.as_str()),
            ("5.2-1", "bash-src")
        );
        assert_eq!(
            bash.depends,
            [
                vec!["libc6"],
                vec!["libtinfo6"],
                vec!["base-files"],
                vec!["debianutils", "other"]
            ]
        );
        assert_eq!(
            (bash.file_name.as_str(), bash.sha256.as_str()),
            ("bash_5.2-1_amd64.deb", "00ff")
        );
        assert!(index.get("dash").is_err());
    }

    #[test]
    fn an_alternative_that_exists_wins_over_one_that_is_only_provided() {
        let mut index = PackageIndex::default();
        index.read(BASH).unwrap();
        assert_eq!(
            index
                .choose(&["sh".to_owned(), "bash".to_owned()])
                .unwrap()
                .name,
            "bash"
        );
        assert_eq!(
            index
                .choose(&["dash".to_owned(), "shell".to_owned()])
                .unwrap()
                .name,
            "bash"
        );
        assert_eq!(index.choose(&["dash".to_owned()]), None);
    }

    #[test]
    fn the_distribution_is_told_by_its_id() {
        assert_eq!(
            os_release_id("NAME=\"x\"\nID=\"Ubuntu\"\nVERSION_ID=1\n"),
            "ubuntu"
        );
    }
}
