//! The keychain of Docker's and podman's users.

use super::auth_file::{AuthFile, AuthFileFormat};
use super::helper::{HelperPrograms, Question};
use super::{CredentialsError, Keychain, key};
use crate::Credentials;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The registry that takes GitHub's tokens.
const GITHUB_HOST: &str = "ghcr.io";

/// Where credentials come from, in the order in which they are asked: the first that knows a repository decides.
#[derive(Debug, Clone, Default)]
pub struct KeychainSources {
    /// What the user said for one host, on the command line or in the environment.
    pub given: Option<GivenCredentials>,
    /// Files, in this order. In each of them a host's helper comes before the file's own entries.
    pub files: Vec<AuthFileSource>,
    /// The token of a GitHub job with the user's name. It is for `ghcr.io` alone.
    pub github: Option<Credentials>,
    /// The helpers that files may name.
    pub helpers: HelperPrograms,
}

/// Credentials that are for one host, whatever files say.
#[derive(Debug, Clone)]
pub struct GivenCredentials {
    /// The host, as in an image reference.
    pub host: String,
    /// The credentials.
    pub credentials: Credentials,
}

/// A file with credentials.
#[derive(Debug, Clone)]
pub struct AuthFileSource {
    /// Where it is.
    pub path: PathBuf,
    /// Its shape.
    pub format: AuthFileFormat,
    /// True where the user named it: then it is an error if it does not exist.
    pub must_exist: bool,
}

/// A [`Keychain`] of files, helpers and what was given.
#[derive(Debug, Default)]
pub struct ConfiguredKeychain {
    sources: KeychainSources,
    known: Mutex<Known>,
}

/// What was read or asked for already.
#[derive(Debug, Default)]
struct Known {
    /// By their place in `sources.files`; `None` for files that do not exist.
    files: BTreeMap<usize, Option<Arc<AuthFile>>>,
    /// By program and server.
    answers: BTreeMap<(String, String), Option<Credentials>>,
}

impl ConfiguredKeychain {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(sources: KeychainSources) -> Self {
        Self {
            sources,
            known: Mutex::default(),
        }
    }

    /// The file whose credentials a repository gets, whether they are in it or in the helper that it names.
    pub fn file_for(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<&Path>, CredentialsError> {
        let found = self.in_files(host, repository)?;
        Ok(found.map(|(idx, _)| self.sources.files[idx].path.as_path()))
    }

    /// What the first file knows that knows anything, with its place in `sources.files`.
    fn in_files(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<(usize, Credentials)>, CredentialsError> {
        // Held while a helper runs: whoever asks meanwhile, most often about the same host, gets its answer.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for idx in 0..self.sources.files.len() {
            if let Some(credentials) = self.in_file(&mut known, idx, host, repository)? {
                return Ok(Some((idx, credentials)));
            }
        }
        Ok(None)
    }

    /// What one file, or the helper that it names, knows of a repository.
    fn in_file(
        &self,
        known: &mut Known,
        idx: usize,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let source = &self.sources.files[idx];
        let file = if let Some(file) = known.files.get(&idx) {
            file.clone()
        } else {
            let file = source.read()?.map(Arc::new);
            known.files.insert(idx, file.clone());
            file
        };
        let Some(file) = file else {
            return Ok(None);
        };
        if let Some(program) = file.helper(host, repository)? {
            let server = key::server_of(host);
            let asked = (program, server.to_owned());
            let answer = if let Some(answer) = known.answers.get(&asked) {
                answer.clone()
            } else {
                let program = &asked.0;
                let question = Question { program, server };
                let answer = self.sources.helpers.get(question, &source.path)?;
                known.answers.insert(asked, answer.clone());
                answer
            };
            if answer.is_some() {
                return Ok(answer);
            }
        }
        file.credentials(host, repository)
    }
}

impl Keychain for ConfiguredKeychain {
    fn resolve(&self, host: &str, repository: &str) -> Result<Credentials, CredentialsError> {
        let given = self.sources.given.as_ref();
        if let Some(given) = given.filter(|given| key::is_same_host(&given.host, host)) {
            return Ok(given.credentials.clone());
        }
        if let Some((_, credentials)) = self.in_files(host, repository)? {
            return Ok(credentials);
        }
        let github = self.sources.github.as_ref().filter(|_| host == GITHUB_HOST);
        Ok(github.cloned().unwrap_or(Credentials::Anonymous))
    }
}

impl AuthFileSource {
    fn read(&self) -> Result<Option<AuthFile>, CredentialsError> {
        match fs::read(&self.path) {
            Ok(json) => AuthFile::parse(&self.path, self.format, &json).map(Some),
            // Also where a part of the path is a file.
            Err(error)
                if !self.must_exist
                    && matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
            {
                Ok(None)
            }
            Err(source) => Err(CredentialsError::File {
                action: "read",
                path: self.path.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::helper::tests::fake;
    use super::*;
    use std::path::Path;

    fn file(dir: &Path, name: &str, content: &str) -> AuthFileSource {
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        AuthFileSource {
            path,
            format: AuthFileFormat::Json,
            must_exist: false,
        }
    }

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    fn user(keychain: &ConfiguredKeychain, host: &str) -> String {
        match keychain.resolve(host, "team/app").unwrap() {
            Credentials::Basic { username, .. } => username,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn sources_are_asked_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let first = file(
            dir.path(),
            "first",
            r#"{"auths":{"a.example":{"username":"first","password":"p"},
                "b.example/other":{"username":"no","password":"p"}}}"#,
        );
        let second = file(
            dir.path(),
            "second",
            r#"{"auths":{"a.example/team/app":{"username":"second","password":"p"},
                "b.example":{"username":"second","password":"p"},"docker.io":{"username":"hub","password":"p"}}}"#,
        );
        let absent = AuthFileSource {
            path: dir.path().join("absent"),
            ..first.clone()
        };
        let below_a_file = AuthFileSource {
            path: first.path.join("config.json"),
            ..first.clone()
        };
        let keychain = ConfiguredKeychain::new(KeychainSources {
            given: Some(GivenCredentials {
                host: "given.example".to_owned(),
                credentials: basic("given", "p"),
            }),
            files: vec![absent, below_a_file, first, second],
            github: Some(basic("octocat", "t")),
            helpers: HelperPrograms::default(),
        });
        for (host, expected) in [
            ("given.example", "given"),
            ("a.example", "first"),
            ("b.example", "second"),
            ("index.docker.io", "hub"),
            ("ghcr.io", "octocat"),
            ("ghcr.io:443", "Anonymous"),
            ("ghcr.io.example", "Anonymous"),
            ("c.example", "Anonymous"),
        ] {
            assert_eq!(user(&keychain, host), expected, "{host}");
        }
        let file_for = |host| keychain.file_for(host, "team/app").unwrap();
        assert_eq!(
            file_for("a.example"),
            Some(dir.path().join("first").as_path())
        );
        assert_eq!(
            file_for("b.example"),
            Some(dir.path().join("second").as_path())
        );
        assert_eq!(file_for("ghcr.io"), None);
    }

    #[test]
    fn what_was_given_needs_no_file_and_a_file_comes_before_githubs_token() {
        let dir = tempfile::tempdir().unwrap();
        let broken = file(dir.path(), "broken", "{");
        let fine = file(
            dir.path(),
            "fine",
            r#"{"auths":{"ghcr.io":{"auth":"ZmlsZTpw"}}}"#,
        );
        let sources = KeychainSources {
            given: Some(GivenCredentials {
                host: "a.example".to_owned(),
                credentials: basic("given", "p"),
            }),
            files: vec![fine, broken],
            github: Some(basic("octocat", "t")),
            ..KeychainSources::default()
        };
        let keychain = ConfiguredKeychain::new(sources);
        assert_eq!(user(&keychain, "a.example"), "given");
        assert_eq!(user(&keychain, "ghcr.io"), "file");
        let error = keychain.resolve("b.example", "x").unwrap_err();
        assert!(matches!(error, CredentialsError::Json { .. }), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let source = AuthFileSource {
            path: "/nonexistent/auth.json".into(),
            format: AuthFileFormat::Json,
            must_exist: true,
        };
        let keychain = ConfiguredKeychain::new(KeychainSources {
            files: vec![source],
            ..KeychainSources::default()
        });
        let error = keychain.resolve("a.example", "x").unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/nonexistent/auth.json`");
    }

    /// A fake helper that knows `known.example`, fails for `bad.example` and writes down what it is asked.
    const SCRIPT: &str = r#"read -r host; echo "$host" >> "${0%/*}/asked"
        case $host in
          known.example) echo '{"Username":"helper","Secret":"s"}';;
          bad.example) echo 'no agent'; exit 1;;
          *) echo credentials not found in native keychain; exit 1;;
        esac"#;

    #[test]
    fn a_helper_comes_before_the_entries_of_its_file_and_is_asked_once() {
        let (dir, helpers) = fake(SCRIPT);
        let entry = r#"{"username":"file","password":"p"}"#;
        let first = file(
            dir.path(),
            "first",
            &format!(
                r#"{{"credsStore":"fake","auths":{{"known.example":{entry},"a.example":{entry}}}}}"#
            ),
        );
        let second = file(
            dir.path(),
            "second",
            r#"{"auths":{"b.example":{"username":"second","password":"p"}}}"#,
        );
        let keychain = ConfiguredKeychain::new(KeychainSources {
            files: vec![first, second],
            helpers,
            ..KeychainSources::default()
        });
        for (host, expected) in [
            ("known.example", "helper"),
            ("a.example", "file"),
            ("b.example", "second"),
            ("docker.io", "Anonymous"),
            ("known.example", "helper"),
            ("b.example", "second"),
        ] {
            assert_eq!(user(&keychain, host), expected, "{host}");
        }
        let error = keychain.resolve("bad.example", "x").unwrap_err();
        assert!(
            error.to_string().ends_with("(exit status: 1): no agent"),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(dir.path().join("asked")).unwrap(),
            "known.example\na.example\nb.example\nhttps://index.docker.io/v1/\nbad.example\n"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let source = file(
            dir.path(),
            "f",
            r#"{"auths":{"a.example":{"auth":"dTpzM2NyZXQ="}}}"#,
        );
        let keychain = ConfiguredKeychain::new(KeychainSources {
            given: Some(GivenCredentials {
                host: "given.example".to_owned(),
                credentials: basic("given", "s3cret"),
            }),
            files: vec![source],
            github: Some(basic("octocat", "s3cret")),
            ..KeychainSources::default()
        });
        assert_eq!(
            keychain.resolve("a.example", "x").unwrap(),
            basic("u", "s3cret")
        );
        let text = format!("{keychain:?}");
        assert!(
            !text.contains("s3cret") && !text.contains("dTpzM2NyZXQ="),
            "{text}"
        );
    }
}
