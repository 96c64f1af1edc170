//! `nixply logout`: forgets the credentials for a registry.

use crate::error::{CliError, output};
use crate::keychain::{AuthFileOption, credentials_error, login_file, parse_login_key};
use crate::text;
use nixply_registry::{ConfiguredKeychain, KeptIn, LoginKey};
use std::fmt::Write as _;
use std::io::Write as _;

/// Forgets the credentials for a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry: HOST, or HOST/NAMESPACE
    #[arg(value_name = "HOST")]
    key: String,
    #[command(flatten)]
    file: AuthFileOption,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let key = parse_login_key(&args.key)?;
    let file = login_file(&args.file, &key)?;
    let places = file
        .forget(&key)
        .map_err(|error| credentials_error(&error))?;
    let text = if places.is_empty() {
        format!(
            "nothing to forget of {key} in `{}`\n",
            file.path().display()
        )
    } else {
        let mut text = format!("logged out of {key}\n");
        for place in places {
            let _ = match place {
                KeptIn::File => writeln!(text, "  taken out of  `{}`", file.path().display()),
                KeptIn::Helper { program } => writeln!(text, "  taken out of  `{program}`"),
            };
        }
        text
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))?;
    tell_of_others(args, &key);
    Ok(())
}

/// Other files may know the registry still: podman's, or an entry for all of the host.
fn tell_of_others(args: &Args, key: &LoginKey) {
    let keychain = ConfiguredKeychain::new(args.file.sources());
    // What is wrong with another file is no business of this command.
    let found = keychain.file_for(key.host(), key.namespace().unwrap_or_default());
    if let Ok(Some(path)) = found {
        let path = path.display();
        text::warning(&format!("`{path}` still has credentials for {key}"));
    }
}
