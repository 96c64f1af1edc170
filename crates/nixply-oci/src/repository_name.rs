//! Repository names: a registry's host and a repository in it.

use crate::{ImageReference, ReferenceError};
use std::fmt;
use std::str::FromStr;

/// A repository of a registry, as `HOST/REPOSITORY`: an [`ImageReference`] without tag and digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(ImageReference);

impl RepositoryName {
    /// The registry's host, with the port where one was given.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// The repository, without the host.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// The repository as a reference without tag and digest.
    #[must_use]
    pub fn reference(&self) -> &ImageReference {
        &self.0
    }
}

impl From<&ImageReference> for RepositoryName {
    fn from(reference: &ImageReference) -> Self {
        Self(reference.without_tag_and_digest())
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RepositoryName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference: ImageReference = text.parse()?;
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(ReferenceError::Repository {
                repository: text.to_owned(),
            });
        }
        Ok(Self(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        let reference: ImageReference = "localhost:5000/a/b:v1".parse().unwrap();
        let name = RepositoryName::from(&reference);
        assert_eq!(name.to_string(), "localhost:5000/a/b");
        assert_eq!("localhost:5000/a/b".parse(), Ok(name.clone()));
        assert_eq!((name.host(), name.repository()), ("localhost:5000", "a/b"));
        assert!("localhost:5000/a/b:v1".parse::<RepositoryName>().is_err());
    }
}
