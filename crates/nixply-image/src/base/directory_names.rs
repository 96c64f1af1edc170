//! A set of directories, in a short form.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// Directories by their paths, without slashes at the ends. As JSON they stand by the directory that they are in, with
/// their names joined by `/`: `{"": "etc/usr", "usr": "bin/lib"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryNames(BTreeSet<String>);

impl DirectoryNames {
    /// Whether a directory is among them.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.0.contains(path)
    }

    /// Their paths, in byte order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromIterator<String> for DirectoryNames {
    fn from_iter<T: IntoIterator<Item = String>>(paths: T) -> Self {
        Self(paths.into_iter().collect())
    }
}

impl Serialize for DirectoryNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut by_parent: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for path in &self.0 {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            by_parent.entry(parent).or_default().push(name);
        }
        serializer.collect_map(
            by_parent
                .into_iter()
                .map(|(parent, names)| (parent, names.join("/"))),
        )
    }
}

impl<'de> Deserialize<'de> for DirectoryNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_parent = BTreeMap::<String, String>::deserialize(deserializer)?;
        let paths = by_parent
            .iter()
            .flat_map(|(parent, names)| names.split('/').map(move |name| join(parent, name)));
        Ok(paths.collect())
    }
}

/// The path of what a directory has under a name.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_by_the_directory_that_they_are_in() {
        let paths = ["usr", "etc", "usr/lib", "usr/bin", "usr/lib/a"];
        let names: DirectoryNames = paths.map(str::to_owned).into_iter().collect();
        let json = serde_json::to_string(&names).unwrap();
        assert_eq!(json, r#"{"":"etc/usr","usr":"bin/lib","usr/lib":"a"}"#);
        assert_eq!(
            serde_json::from_str::<DirectoryNames>(&json).unwrap(),
            names
        );
        assert!(names.contains("usr/lib/a") && !names.contains("a"));
    }
}
