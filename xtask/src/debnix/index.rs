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
    /// The base name of the `.deb` in the archive.
    pub(crate) file_name: String,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

/// All packages. A list has tens of thousands of them and a test needs a hundred, so a package is read when it is asked for.
#[derive(Debug, Default)]
pub(crate) struct PackageIndex {
    /// The paragraphs of each package, one for each version.
    paragraphs: BTreeMap<String, Vec<String>>,
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
                index.add(&command::text(&mut command::command(
                    "/usr/lib/apt/apt-helper",
                    ["cat-file", file],
                ))?);
            }
        }
        if index.paragraphs.is_empty() {
            bail!("apt has no package lists of {distribution}: run apt-get update");
        }
        Ok(index)
    }

    /// Adds the packages of one `Packages` file (Debian policy 5.3; every paragraph starts with the name).
    pub(crate) fn add(&mut self, packages: &str) {
        for paragraph in packages.split("\n\n") {
            let name = paragraph
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("Package: "));
            if let Some(name) = name {
                self.paragraphs
                    .entry(name.to_owned())
                    .or_default()
                    .push(paragraph.to_owned());
            }
        }
    }

    /// The newest version of a package.
    pub(crate) fn get(&self, name: &str) -> Result<Package> {
        let mut newest: Option<Package> = None;
        for paragraph in self.paragraphs.get(name).into_iter().flatten() {
            let Some(package) = parse_paragraph(paragraph) else {
                continue;
            };
            let is_better = match &newest {
                Some(known) => is_newer(&package.version, &known.version)?,
                None => true,
            };
            if is_better {
                newest = Some(package);
            }
        }
        newest.with_context(|| format!("there is no package {name} here"))
    }

    /// The first alternative that is a package, else the first package that provides one of them.
    pub(crate) fn choose(&self, alternatives: &[String]) -> Option<&str> {
        let real = alternatives
            .iter()
            .find_map(|name| Some(self.paragraphs.get_key_value(name)?.0));
        let provided = || {
            self.paragraphs
                .iter()
                .find(|(_, versions)| versions.iter().any(|text| provides(text, alternatives)))
        };
        real.or_else(|| Some(provided()?.0)).map(String::as_str)
    }
}

fn provides(paragraph: &str, names: &[String]) -> bool {
    let provided = paragraph
        .lines()
        .find_map(|line| line.strip_prefix("Provides:"));
    provided.is_some_and(|list| {
        list.split(',')
            .map(first_word)
            .any(|name| names.contains(&name))
    })
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

    fn index(packages: &str) -> PackageIndex {
        let mut index = PackageIndex::default();
        index.add(packages);
        index
    }

    #[test]
    fn a_paragraph_is_read() {
        let bash = index(&format!("Package: zsh\n\n{BASH}"))
            .get("bash")
            .unwrap();
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
        assert!(index(BASH).get("dash").is_err());
    }

    #[test]
    fn the_newest_version_is_taken() {
        let older = BASH.replace("5.2-1", "5.10~rc1-1");
        let lists = [format!("{BASH}\n{older}"), format!("{older}\n{BASH}")];
        let versions = lists.map(|list| index(&list).get("bash").unwrap().version);
        // Only Debian's own order knows that 5.10 comes after 5.2.
        assert_eq!(versions, ["5.10~rc1-1", "5.10~rc1-1"]);
    }

    #[test]
    fn an_alternative_that_exists_wins_over_one_that_is_only_provided() {
        let index = index(BASH);
        assert_eq!(
            index.choose(&["sh".to_owned(), "bash".to_owned()]),
            Some("bash")
        );
        assert_eq!(
            index.choose(&["dash".to_owned(), "shell".to_owned()]),
            Some("bash")
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
