//! The keys of `auths` and `credHelpers`: which repositories each is for.
//!
//! Sources: containers-auth.json(5), "FORMAT"; Docker's `registry/auth.go` (`ConvertToHostname`) for keys that are URLs.

use super::CredentialsError;
use nixply_oci::ImageReference;
use std::fmt;
use std::str::FromStr;

/// The key of Docker Hub, a fixed URL for historical reasons.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The names that Docker Hub's registry goes by.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What Docker writes a host's credentials under, and calls the host before helpers.
pub(super) fn server_of(host: &str) -> &str {
    if DOCKER_HUB_HOSTS.contains(&host) {
        DOCKER_HUB_KEY
    } else {
        host
    }
}

/// True where both are the same registry.
pub(super) fn is_same_host(a: &str, b: &str) -> bool {
    server_of(a) == server_of(b)
}

/// The entry whose key says most about a repository: the one with the longest path, and of those the one that Docker
/// would have written, else the first.
pub(super) fn find<'a, T>(
    entries: impl IntoIterator<Item = (&'a str, T)>,
    host: &str,
    repository: &str,
) -> Option<(&'a str, T)> {
    let usual = server_of(host);
    let mut best: Option<((usize, bool), &str, T)> = None;
    for (key, entry) in entries {
        let (named, path) = host_and_path(key);
        if !is_same_host(named, host) || !is_within(repository, path) {
            continue;
        }
        let rank = (path.len(), key == usual);
        if best.as_ref().is_none_or(|(other, ..)| rank > *other) {
            best = Some((rank, key, entry));
        }
    }
    best.map(|(_, key, entry)| (key, entry))
}

/// The host and the path that a key stands for. The path of a URL is that of the registry's API, which says nothing.
fn host_and_path(key: &str) -> (&str, &str) {
    let url = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let (host, path) = url
        .unwrap_or(key)
        .split_once('/')
        .unwrap_or((url.unwrap_or(key), ""));
    let path = if url.is_some() { "" } else { path };
    (host, path.trim_end_matches('/'))
}

/// True where a repository is `path` or below it; everything is below the empty path.
fn is_within(repository: &str, path: &str) -> bool {
    path.is_empty()
        || repository
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What one logs in to: a host, or the repositories below a path of it. `https://` and a final `/` may stand around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginKey {
    namespace: Option<String>,
    example: ImageReference,
}

impl LoginKey {
    /// The registry's host, as in an image reference.
    #[must_use]
    pub fn host(&self) -> &str {
        self.example.host()
    }

    /// The path that the credentials are for, where they are not for all of the host.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// A repository that the credentials are for.
    pub(crate) fn example(&self) -> ImageReference {
        self.example.clone()
    }

    /// The key as Docker and podman write it.
    pub(super) fn written(&self) -> String {
        match &self.namespace {
            None => server_of(self.host()).to_owned(),
            Some(namespace) => format!("{}/{namespace}", self.host()),
        }
    }

    /// True where a key of a file stands for exactly this.
    pub(super) fn is(&self, key: &str) -> bool {
        let (host, path) = host_and_path(key);
        is_same_host(host, self.host()) && path == self.namespace.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host())?;
        match &self.namespace {
            None => Ok(()),
            Some(namespace) => write!(f, "/{namespace}"),
        }
    }
}

impl FromStr for LoginKey {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        let (host, path) = host_and_path(text);
        let namespace = (!path.is_empty()).then(|| path.to_owned());
        // Any repository shows whether a host is one.
        let example = format!("{host}/{}", namespace.as_deref().unwrap_or("a"));
        let problem = |source| CredentialsError::LoginKey {
            text: text.to_owned(),
            source,
        };
        let example: ImageReference = example.parse().map_err(problem)?;
        if example.tag().is_some() || example.digest().is_some() {
            let source = nixply_oci::ReferenceError::Repository {
                repository: path.to_owned(),
            };
            return Err(problem(source));
        }
        Ok(Self { namespace, example })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: &[&'static str], host: &str, repository: &str) -> Option<&'static str> {
        find(keys.iter().map(|key| (*key, ())), host, repository).map(|(key, ())| key)
    }

    #[test]
    fn keys_match_with_scheme_and_path_and_the_plain_one_wins() {
        for key in [
            "h.example:5000",
            "h.example:5000/",
            "https://h.example:5000",
            "http://h.example:5000/v1/",
            "https://h.example:5000/v2/other",
            "h.example:5000/team",
            "h.example:5000/team/app",
        ] {
            assert_eq!(found(&[key], "h.example:5000", "team/app"), Some(key));
            for other in ["h.example", "h.example:5001", "g.h.example:5000"] {
                assert_eq!(found(&[key], other, "team/app"), None, "{key} for {other}");
            }
        }
        let both = ["https://a.example", "a.example", "a.example/"];
        assert_eq!(found(&both, "a.example", "x"), Some("a.example"));
        assert_eq!(
            found(&["[::1]:5000"], "[::1]:5000", "x"),
            Some("[::1]:5000")
        );
    }

    #[test]
    fn the_longest_namespace_wins_and_counts_in_whole_parts() {
        let keys = ["quay.io", "quay.io/team/app", "quay.io/team"];
        for (repository, expected) in [
            ("team/app", "quay.io/team/app"),
            ("team/app/part", "quay.io/team/app"),
            ("team/application", "quay.io/team"),
            ("team", "quay.io/team"),
            ("teams", "quay.io"),
        ] {
            assert_eq!(found(&keys, "quay.io", repository), Some(expected));
        }
        assert_eq!(found(&["quay.io/team"], "quay.io", "other/app"), None);
    }

    #[test]
    fn docker_hub_goes_by_several_names() {
        let names = ["docker.io", "index.docker.io", "registry-1.docker.io"];
        for key in names.iter().copied().chain([DOCKER_HUB_KEY]) {
            for host in names {
                assert_eq!(found(&[key], host, "library/x"), Some(key), "{host}");
            }
        }
        let keys = ["docker.io", DOCKER_HUB_KEY, "index.docker.io/me"];
        assert_eq!(found(&keys, "docker.io", "you/x"), Some(DOCKER_HUB_KEY));
        assert_eq!(
            found(&keys, "docker.io", "me/x"),
            Some("index.docker.io/me")
        );
        assert_eq!(found(&keys, "docker.io.example", "me/x"), None);
    }

    #[test]
    fn what_one_logs_in_to() {
        for (text, shown, written) in [
            ("ghcr.io", "ghcr.io", "ghcr.io"),
            ("https://ghcr.io/v2/", "ghcr.io", "ghcr.io"),
            ("quay.io/team/", "quay.io/team", "quay.io/team"),
            ("docker.io", "docker.io", DOCKER_HUB_KEY),
            (DOCKER_HUB_KEY, "index.docker.io", DOCKER_HUB_KEY),
            ("docker.io/me", "docker.io/me", "docker.io/me"),
            ("[::1]:5000", "[::1]:5000", "[::1]:5000"),
            ("localhost:5000", "localhost:5000", "localhost:5000"),
        ] {
            let key: LoginKey = text.parse().unwrap();
            assert_eq!(
                (key.to_string().as_str(), key.written().as_str()),
                (shown, written)
            );
            assert!(key.is(written), "{text}");
            assert_eq!(key.is("ghcr.io"), shown == "ghcr.io");
        }
        for text in [
            "",
            "ghcr",
            "ghcr.io/a:tag",
            "user:pass@ghcr.io",
            "a b.io",
            "ghcr.io/A",
        ] {
            assert!(text.parse::<LoginKey>().is_err(), "{text}");
        }
    }
}
