//! How an image on disk is named, for tools that do not agree on it.
//!
//! `docker load` with a graph driver reads `RepoTags`; containerd, Docker's containerd store and podman read the
//! annotation `io.containerd.image.name` and take it as it stands; skopeo reads `org.opencontainers.image.ref.name`, which
//! the specification wants to be a tag. So each name is written in all three forms (`docs/decisions/0005-archive.md`).

use crate::LayoutError;
use nixply_oci::ImageReference;

/// The tag of a name that has none, as in every tool of this field.
const DEFAULT_TAG: &str = "latest";

/// The host that a name without a host is completed with, as Docker does it (`reference.ParseNormalizedNamed`).
const DEFAULT_HOST: &str = "docker.io";

/// The names that an image gets where it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageNames {
    /// `HOST/REPOSITORY[:TAG]` or `NAME[:TAG]` each; an image may go without a name.
    pub references: Vec<String>,
}

impl ImageNames {
    /// Reads every name; a name given twice counts once.
    pub(crate) fn parse(&self) -> Result<Vec<ImageName>, LayoutError> {
        let mut names = Vec::with_capacity(self.references.len());
        for reference in &self.references {
            let name = ImageName::parse(reference)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// One name in the three forms that tools read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    /// With a tag, and with a host only where one was given: what stands in `RepoTags`.
    pub(crate) repo_tag: String,
    /// With a host and a tag: what containerd, Docker's containerd store and podman call the image.
    pub(crate) full: String,
    /// The tag alone.
    pub(crate) tag: String,
}

impl ImageName {
    pub(crate) fn parse(name: &str) -> Result<Self, LayoutError> {
        let has_host = name
            .split_once('/')
            .is_some_and(|(host, _)| host == "localhost" || host.contains(['.', ':']));
        let completed = match (has_host, name.contains('/')) {
            (true, _) => name.to_owned(),
            (false, true) => format!("{DEFAULT_HOST}/{name}"),
            (false, false) => format!("{DEFAULT_HOST}/library/{name}"),
        };
        let reference: ImageReference = completed.parse().map_err(|source| LayoutError::Name {
            name: name.to_owned(),
            source,
        })?;
        if reference.digest().is_some() {
            return Err(LayoutError::NameWithDigest {
                name: name.to_owned(),
            });
        }
        let with_tag = |text: &str| match reference.tag() {
            Some(_) => text.to_owned(),
            None => format!("{text}:{DEFAULT_TAG}"),
        };
        Ok(Self {
            repo_tag: with_tag(name),
            full: with_tag(&completed),
            tag: reference.tag().unwrap_or(DEFAULT_TAG).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        for (given, repo_tag, full, tag) in [
            (
                "app",
                "app:latest",
                "docker.io/library/app:latest",
                "latest",
            ),
            ("app:1", "app:1", "docker.io/library/app:1", "1"),
            ("acme/app:1", "acme/app:1", "docker.io/acme/app:1", "1"),
            (
                "localhost/app",
                "localhost/app:latest",
                "localhost/app:latest",
                "latest",
            ),
            ("r.io:5000/a/b:v", "r.io:5000/a/b:v", "r.io:5000/a/b:v", "v"),
        ] {
            assert_eq!(
                ImageName::parse(given).unwrap(),
                ImageName {
                    repo_tag: repo_tag.to_owned(),
                    full: full.to_owned(),
                    tag: tag.to_owned()
                }
            );
        }
    }

    #[test]
    fn a_name_counts_once_and_a_wrong_one_is_named() {
        let names = |references: &[&str]| ImageNames {
            references: references.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(names(&["a", "a:latest"]).parse().unwrap().len(), 1);
        let error = names(&["App:1"]).parse().unwrap_err();
        assert_eq!(error.to_string(), "`App:1` cannot name an image");
        let digest = format!("a@sha256:{}", "0".repeat(64));
        assert!(matches!(
            names(&[&digest]).parse(),
            Err(LayoutError::NameWithDigest { .. })
        ));
    }
}
