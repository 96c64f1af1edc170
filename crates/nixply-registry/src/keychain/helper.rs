//! Credential helpers: programs that keep secrets, `docker-credential-…`.
//!
//! Source: docker/docker-credential-helpers, `credentials/credentials.go` and `client/client.go`. A helper is started with
//! one word. `get` and `erase` read the registry's name from standard input, `store` reads JSON; `get` answers with JSON.
//! A helper that fails says why on standard output.

use super::CredentialsError;
use super::process::{Ended, run};
use crate::Credentials;
use crate::credentials::IDENTITY_TOKEN_USER;
use crate::redact::Secrets;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a helper may take. Some ask people for a passphrase, in a window of their own.
const LIMIT: Duration = Duration::from_mins(1);

/// The most of a helper's message that is shown, in characters.
const MESSAGE_MAX_CHARS: usize = 200;

/// What every helper says, in these words, where it knows nothing of a registry.
const NOT_FOUND: &str = "credentials not found";

/// Where helpers are looked for, and how long they may take.
#[derive(Debug, Clone)]
pub struct HelperPrograms {
    dirs: Vec<PathBuf>,
    limit: Duration,
}

impl Default for HelperPrograms {
    /// None.
    fn default() -> Self {
        Self::on_path(Vec::new())
    }
}

/// A helper and the registry that it is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question<'a> {
    /// `docker-credential-…`.
    pub(super) program: &'a str,
    /// The registry, as Docker calls it.
    pub(super) server: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

#[derive(Serialize)]
struct ToKeep<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    #[serde(rename = "Username")]
    username: &'a str,
    #[serde(rename = "Secret")]
    secret: &'a str,
}

impl HelperPrograms {
    /// Looks for helpers in these directories, in this order.
    #[must_use]
    pub fn on_path(dirs: Vec<PathBuf>) -> Self {
        Self { dirs, limit: LIMIT }
    }

    /// Asks for credentials; `None` where the helper knows none. `named_in` is the file that names the helper.
    pub(super) fn get(
        &self,
        question: Question<'_>,
        named_in: &Path,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let ended = self.run(question, "get", question.server, named_in)?;
        if ended.says_not_found() {
            return Ok(None);
        }
        if !ended.status.success() {
            return Err(ended.failed(question, "get", &Secrets::default()));
        }
        let answer: Answer =
            serde_json::from_slice(&ended.stdout).map_err(|_| CredentialsError::HelperAnswer {
                program: question.program.to_owned(),
                server: question.server.to_owned(),
            })?;
        Ok(match (answer.username, answer.secret) {
            (username, secret) if username.is_empty() && secret.is_empty() => None,
            (username, secret) if username == IDENTITY_TOKEN_USER => {
                Some(Credentials::IdentityToken(secret))
            }
            (username, password) => Some(Credentials::Basic { username, password }),
        })
    }

    /// Has a helper keep a user name and a password.
    pub(super) fn store(
        &self,
        question: Question<'_>,
        username: &str,
        password: &str,
        named_in: &Path,
    ) -> Result<(), CredentialsError> {
        let to_keep = ToKeep {
            server: question.server,
            username,
            secret: password,
        };
        let json =
            serde_json::to_string(&to_keep).map_err(|error| CredentialsError::HelperRun {
                program: question.program.to_owned(),
                server: question.server.to_owned(),
                source: error.into(),
            })?;
        let ended = self.run(question, "store", &json, named_in)?;
        if ended.status.success() {
            return Ok(());
        }
        let secrets = Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        Err(ended.failed(question, "store", &secrets.secrets()))
    }

    /// Has a helper forget a registry; false where it knew nothing of it.
    pub(super) fn erase(
        &self,
        question: Question<'_>,
        named_in: &Path,
    ) -> Result<bool, CredentialsError> {
        let ended = self.run(question, "erase", question.server, named_in)?;
        if ended.says_not_found() {
            return Ok(false);
        }
        if ended.status.success() {
            return Ok(true);
        }
        Err(ended.failed(question, "erase", &Secrets::default()))
    }

    fn run(
        &self,
        question: Question<'_>,
        action: &'static str,
        input: &str,
        named_in: &Path,
    ) -> Result<Ended, CredentialsError> {
        let Question { program, server } = question;
        let file = self
            .find(program)
            .ok_or_else(|| CredentialsError::HelperMissing {
                path: named_in.to_owned(),
                program: program.to_owned(),
                server: server.to_owned(),
            })?;
        match run(&file, action, input, self.limit) {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) => Err(CredentialsError::HelperTimeout {
                program: program.to_owned(),
                action,
                server: server.to_owned(),
                limit: self.limit,
            }),
            Err(source) => Err(CredentialsError::HelperRun {
                program: program.to_owned(),
                server: server.to_owned(),
                source,
            }),
        }
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let is_program = |file: &PathBuf| {
            fs::metadata(file).is_ok_and(|metadata| {
                metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
            })
        };
        self.dirs
            .iter()
            .map(|dir| dir.join(program))
            .find(is_program)
    }
}

impl Ended {
    fn says_not_found(&self) -> bool {
        let text = String::from_utf8_lossy(&self.stdout).to_ascii_lowercase();
        !self.status.success() && text.contains(NOT_FOUND)
    }

    fn failed(
        &self,
        question: Question<'_>,
        action: &'static str,
        secrets: &Secrets,
    ) -> CredentialsError {
        let said = [&self.stdout, &self.stderr]
            .into_iter()
            .map(|bytes| first_line(bytes))
            .find(|line| !line.is_empty());
        CredentialsError::HelperFailed {
            program: question.program.to_owned(),
            action,
            server: question.server.to_owned(),
            status: self.status.to_string(),
            message: secrets.clean(&said.unwrap_or_default()),
        }
    }
}

/// The first line that people can read. What looks like an answer is no message, and holds a secret.
fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    match line {
        Some(line) if !text.contains('{') => line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MESSAGE_MAX_CHARS)
            .collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::process::Command;

    const QUESTION: Question<'_> = Question {
        program: "docker-credential-fake",
        server: "h.example",
    };
    const CONFIG: &str = "/home/ann/.docker/config.json";

    /// A directory with `docker-credential-fake`, a shell script, and the programs of that directory.
    pub(in super::super) fn fake(script: &str) -> (tempfile::TempDir, HelperPrograms) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(QUESTION.program);
        // Another process writes it: a file that this one has open for writing cannot be run, and another test may be
        // about to start a program just now, which inherits what is open.
        let written = Command::new("/bin/sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#,
                "sh",
            ])
            .args([file.as_os_str(), script.as_ref()])
            .status();
        assert!(written.unwrap().success());
        let programs = HelperPrograms::on_path(vec![dir.path().to_owned()]);
        (dir, programs)
    }

    fn get(script: &str) -> Result<Option<Credentials>, CredentialsError> {
        let (_dir, programs) = fake(script);
        programs.get(QUESTION, Path::new(CONFIG))
    }

    #[test]
    fn answers_of_helpers() {
        let basic = Credentials::Basic {
            username: "ann".to_owned(),
            password: "s3cret".to_owned(),
        };
        for (script, expected) in [
            (
                r#"test "$1" = get; read -r host; test "$host" = h.example || exit 3
                   echo '{"ServerURL":"h.example","Username":"ann","Secret":"s3cret"}'"#,
                Some(basic),
            ),
            (
                r#"echo '{"Username":"<token>","Secret":"i"}'"#,
                Some(Credentials::IdentityToken("i".to_owned())),
            ),
            (r#"echo '{"Username":"","Secret":""}'"#, None),
            (
                "echo credentials not found in native keychain; exit 1",
                None,
            ),
            ("echo 'Credentials not found'; exit 2", None),
        ] {
            assert_eq!(get(script).unwrap(), expected, "{script}");
        }
    }

    #[test]
    fn failures_name_the_helper_and_show_no_answer() {
        for (script, expected) in [
            (
                "printf 'pass: \\033[31mno key\\nsecond line\\n'; exit 2",
                "`docker-credential-fake get` failed for h.example (exit status: 2): pass:  [31mno key",
            ),
            (
                "echo 'on the other stream' >&2; exit 1",
                "failed for h.example (exit status: 1): on the other stream",
            ),
            (
                r#"echo '{"Username":"ann","Secret":"s3cret"}'; exit 1"#,
                "failed for h.example (exit status: 1)",
            ),
            (
                r#"printf '{\n"Secret":\n"s3cret"}'; kill -9 $$"#,
                "failed for h.example (signal: 9 (SIGKILL))",
            ),
            (
                "echo s3cret",
                "the answer of `docker-credential-fake get` for h.example is not JSON",
            ),
            (
                r#"echo '{"Username":["s3cret"]}'"#,
                "the answer of `docker-credential-fake get` for h.example is not JSON",
            ),
            (
                "",
                "the answer of `docker-credential-fake get` for h.example is not JSON",
            ),
        ] {
            let error = get(script).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(expected), "{script}: {text}");
            assert!(
                !format!("{text}{error:?}").contains("s3cret"),
                "{script}: {error:?}"
            );
        }
    }

    #[test]
    fn a_helper_that_is_not_there_or_may_not_run() {
        let (dir, programs) = fake("exit 0");
        let missing = Question {
            program: "docker-credential-other",
            ..QUESTION
        };
        let error = programs.get(missing, Path::new(CONFIG)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/home/ann/.docker/config.json` leaves the credentials of h.example to `docker-credential-other`, \
             which is not on PATH"
        );
        let file = dir.path().join(QUESTION.program);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = programs.get(QUESTION, Path::new(CONFIG)).unwrap_err();
        assert!(matches!(error, CredentialsError::HelperMissing { .. }));
    }

    #[test]
    fn a_helper_that_does_not_end_is_ended() {
        let (dir, mut programs) = fake("echo $$ > \"${0%/*}/pid\"; exec sleep 60");
        programs.limit = Duration::from_millis(300);
        let error = programs.get(QUESTION, Path::new(CONFIG)).unwrap_err();
        assert!(
            matches!(error, CredentialsError::HelperTimeout { action: "get", .. }),
            "{error}"
        );
        let pid = fs::read_to_string(dir.path().join("pid")).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists());
    }

    #[test]
    fn a_program_that_a_helper_leaves_behind_is_not_waited_for() {
        let script =
            r#"echo '{"Username":"ann","Secret":"s3cret"}'; sleep 60 >/dev/null 2>&1 & exit 0"#;
        assert!(get(script).unwrap().is_some());
    }

    #[test]
    fn secrets_reach_a_helper_by_standard_input_only() {
        let (dir, programs) = fake(
            "test \"$#\" = 1 && cat > \"${0%/*}/$1\"; case $1 in erase) echo credentials not found; exit 1; esac",
        );
        programs
            .store(QUESTION, "ann", "s3\"cret", Path::new(CONFIG))
            .unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("store")).unwrap(),
            r#"{"ServerURL":"h.example","Username":"ann","Secret":"s3\"cret"}"#
        );
        assert!(!programs.erase(QUESTION, Path::new(CONFIG)).unwrap());
        assert_eq!(
            fs::read_to_string(dir.path().join("erase")).unwrap(),
            "h.example"
        );
        let (_dir, programs) = fake("echo \"cannot keep $(grep -o s3cret)\"; exit 1");
        let error = programs
            .store(QUESTION, "ann", "s3cret", Path::new(CONFIG))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("(exit status: 1): cannot keep <redacted>"),
            "{error}"
        );
    }
}
