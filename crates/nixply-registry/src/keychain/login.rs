//! Keeping credentials, and forgetting them, where Docker and podman look.

use super::auth_file::{AuthFile, AuthFileFormat};
use super::edit::{Entry, with_entry};
use super::helper::{HelperPrograms, Question};
use super::{CredentialsError, LoginKey, key};
use crate::Credentials;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Who may see a new directory for the file. The file itself is for its owner alone, too: `tempfile` makes it so.
const DIR_MODE: u32 = 0o700;

/// The auth file that a log-in changes, and the helpers that it may name.
#[derive(Debug)]
pub struct LoginFile {
    path: PathBuf,
    helpers: HelperPrograms,
}

/// Where credentials are kept, or were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptIn {
    /// In the file itself, hardly hidden by base-64.
    File,
    /// In a helper that the file names.
    Helper {
        /// The program's name.
        program: String,
    },
}

impl LoginFile {
    /// The file need not exist.
    #[must_use]
    pub fn new(path: PathBuf, helpers: HelperPrograms) -> Self {
        Self { path, helpers }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a user name and a password: in the helper that the file names for the host, else in the file.
    ///
    /// The rest of the file stays as it is. It is replaced whole, and only its owner may read it from then on.
    pub fn save(
        &self,
        key: &LoginKey,
        username: &str,
        password: &str,
    ) -> Result<KeptIn, CredentialsError> {
        let before = self.read()?;
        let Some(program) = self.helper(&before, key)? else {
            let entry = Entry {
                auth: Some(Credentials::basic_value(username, password)),
            };
            let (text, _) = with_entry(&self.path, &before, key, Some(entry))?;
            self.write(&text)?;
            return Ok(KeptIn::File);
        };
        let question = question(&program, key);
        if key.namespace().is_some() {
            return Err(CredentialsError::HelperNamespace {
                path: self.path.clone(),
                server: question.server.to_owned(),
                key: key.to_string(),
                program,
            });
        }
        self.helpers
            .store(question, username, password, &self.path)?;
        // As `docker login` does: the empty entry shows that there is something, and no older secret stays.
        let (text, _) = with_entry(&self.path, &before, key, Some(Entry { auth: None }))?;
        if text != before {
            self.write(&text)?;
        }
        Ok(KeptIn::Helper { program })
    }

    /// Forgets the credentials, and says where they were.
    pub fn forget(&self, key: &LoginKey) -> Result<Vec<KeptIn>, CredentialsError> {
        let before = self.read()?;
        let mut places = Vec::new();
        if key.namespace().is_none()
            && let Some(program) = self.helper(&before, key)?
            && self.helpers.erase(question(&program, key), &self.path)?
        {
            places.push(KeptIn::Helper { program });
        }
        let (text, was_there) = with_entry(&self.path, &before, key, None)?;
        if was_there {
            if self.secret_in(&before, key)? {
                places.push(KeptIn::File);
            }
            self.write(&text)?;
        }
        Ok(places)
    }

    fn read(&self) -> Result<Vec<u8>, CredentialsError> {
        match fs::read(&self.path) {
            Ok(json) => Ok(json),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(self.problem("read", source)),
        }
    }

    fn helper(&self, json: &[u8], key: &LoginKey) -> Result<Option<String>, CredentialsError> {
        let file = AuthFile::parse(&self.path, AuthFileFormat::Json, json)?;
        file.helper(key.host(), key.namespace().unwrap_or_default())
    }

    /// True where the entry holds a secret itself, right or wrong.
    fn secret_in(&self, json: &[u8], key: &LoginKey) -> Result<bool, CredentialsError> {
        let file = AuthFile::parse(&self.path, AuthFileFormat::Json, json)?;
        Ok(file.has_secret(|named| key.is(named)))
    }

    /// Replaces the file at once: whoever reads it meanwhile finds the old one or the new one.
    fn write(&self, text: &[u8]) -> Result<(), CredentialsError> {
        // What a symbolic link names is replaced, not the link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let replace = || -> io::Result<()> {
            if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(io::Error::other("it is no regular file"));
            }
            let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            let dir = parent.unwrap_or(Path::new("."));
            DirBuilder::new()
                .recursive(true)
                .mode(DIR_MODE)
                .create(dir)?;
            let mut file = tempfile::Builder::new()
                .prefix(".nixply-")
                .tempfile_in(dir)?;
            file.write_all(text)?;
            // Else a crash could leave the name with an empty file behind it.
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        replace().map_err(|source| self.problem("write", source))
    }

    fn problem(&self, action: &'static str, source: io::Error) -> CredentialsError {
        CredentialsError::File {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

fn question<'a>(program: &'a str, key: &'a LoginKey) -> Question<'a> {
    Question {
        program,
        server: key::server_of(key.host()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::helper::tests::fake;
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const KEPT: &str = "{\n\t\"auths\": {\n\t\t\"h.example\": {\n\t\t\t\"auth\": \"YW5uOnMzY3JldA==\"\n\t\t}\n\t}\n}\n";

    fn login_file(path: PathBuf) -> LoginFile {
        LoginFile::new(path, HelperPrograms::default())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_and_is_emptied_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/config.json");
        let file = login_file(path.clone());
        let key = "h.example".parse().unwrap();
        assert_eq!(file.forget(&key).unwrap(), []);
        assert!(!path.exists());
        assert_eq!(file.save(&key, "ann", "s3cret").unwrap(), KeptIn::File);
        assert_eq!(fs::read_to_string(&path).unwrap(), KEPT);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(file.forget(&key).unwrap(), [KeptIn::File]);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n\t\"auths\": {}\n}\n"
        );
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays");
    }

    #[test]
    fn a_link_stays_a_link_and_what_is_no_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "{}").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        symlink("target", &link).unwrap();
        let key = "h.example".parse().unwrap();
        login_file(link.clone())
            .save(&key, "ann", "s3cret")
            .unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            (fs::read_to_string(&target).unwrap().as_str(), mode(&target)),
            (KEPT, 0o600)
        );

        let error = login_file("/dev/null".into())
            .save(&key, "ann", "s3cret")
            .unwrap_err();
        assert!(
            matches!(
                error,
                CredentialsError::File {
                    action: "write",
                    ..
                }
            ),
            "{error}"
        );
        let error = login_file(dir.path().to_owned())
            .save(&key, "ann", "s3cret")
            .unwrap_err();
        assert!(
            matches!(error, CredentialsError::File { action: "read", .. }),
            "{error}"
        );
    }

    /// Keeps one thing, in a file beside itself.
    const SCRIPT: &str = r#"kept="${0%/*}/kept"
        case $1 in
          store) cat > "$kept";;
          erase) test -e "$kept" || { echo credentials not found in native keychain; exit 1; }; rm "$kept";;
        esac"#;

    #[test]
    fn a_helper_keeps_what_the_file_leaves_to_it() {
        let (dir, helpers) = fake(SCRIPT);
        let path = dir.path().join("config.json");
        // `b2xkOm9sZA==` is of a time before the helper.
        fs::write(
            &path,
            r#"{"credsStore": "fake", "auths": {"h.example": {"auth": "b2xkOm9sZA=="}}}"#,
        )
        .unwrap();
        let file = LoginFile::new(path.clone(), helpers);
        let key: LoginKey = "h.example".parse().unwrap();
        let helper = KeptIn::Helper {
            program: "docker-credential-fake".to_owned(),
        };
        assert_eq!(file.save(&key, "ann", "s3cret").unwrap(), helper);
        assert!(
            fs::read_to_string(dir.path().join("kept"))
                .unwrap()
                .contains("s3cret")
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n\t\"credsStore\": \"fake\",\n\t\"auths\": {\n\t\t\"h.example\": {}\n\t}\n}\n"
        );
        assert_eq!(file.forget(&key).unwrap(), [helper]);
        assert_eq!(file.forget(&key).unwrap(), []);
        assert!(!fs::read_to_string(&path).unwrap().contains("h.example"));

        let error = file
            .save(&"h.example/team".parse().unwrap(), "ann", "s3cret")
            .unwrap_err();
        assert!(
            matches!(error, CredentialsError::HelperNamespace { .. }),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("keeps no credentials for `h.example/team` alone")
        );
    }
}
