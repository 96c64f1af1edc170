//! `nixply login`: keeps a user name and a password for a registry, where Docker and podman find them, too.

use crate::error::{CliError, ExitStatus, output};
use crate::keychain::{
    AuthFileOption, credentials_error, login_file, parse_login_key, password_from_stdin, username,
};
use crate::network::NetworkOptions;
use crate::registries::new_client;
use crate::stored::registry_error;
use crate::text;
use nixply_registry::{
    ConfiguredKeychain, Credentials, FixedKeychain, KeptIn, Keychain as _, LoginCheck, LoginFile,
    LoginKey, RegistryError,
};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

/// Keeps a user name and a password for a registry, after asking the registry whether they are right
///
/// They go to the credential helper that Docker's config.json names for the host, else into that file. With a namespace they
/// go into containers' auth.json. --authfile names another file, as `REGISTRY_AUTH_FILE` does.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry: HOST, or HOST/NAMESPACE for the repositories below one path
    #[arg(value_name = "HOST")]
    key: String,
    /// The user name [default: asked for]
    #[arg(short, long, value_name = "USER", value_parser = username)]
    username: Option<String>,
    /// Read the password from standard input instead of asking for it
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[command(flatten)]
    file: AuthFileOption,
    #[command(flatten)]
    network: NetworkOptions,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let key = parse_login_key(&args.key)?;
    let file = login_file(&args.file, &key)?;
    let username = match &args.username {
        Some(username) => username.clone(),
        None => ask_username(&key)?,
    };
    let password = if args.password_stdin {
        password_from_stdin()?
    } else {
        ask_password(&username, &key)?
    };
    let credentials = Credentials::Basic { username, password };
    let client = new_client(
        Arc::new(FixedKeychain(credentials.clone())),
        args.network.client_options()?,
    )?;
    let check = client
        .check_login(&key)
        .map_err(|error| refused(&error, &key))?;
    if check == LoginCheck::NotAsked {
        text::warning(&format!(
            "{key} lets everybody in, so the password was not checked"
        ));
    }
    let Credentials::Basic { username, password } = &credentials else {
        return Ok(());
    };
    let kept_in = file
        .save(&key, username, password)
        .map_err(|error| credentials_error(&error))?;
    let text = describe(&key, username, &kept_in, &file);
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))?;
    tell_of_others(args, &key, &credentials);
    Ok(())
}

fn describe(key: &LoginKey, username: &str, kept_in: &KeptIn, file: &LoginFile) -> String {
    let kept_in = match kept_in {
        KeptIn::File => format!("`{}`, not encrypted", file.path().display()),
        KeptIn::Helper { program } => format!("`{program}`"),
    };
    format!("logged in to {key} as {username}\n  kept in  {kept_in}\n")
}

/// A file that is asked earlier may have other credentials for the registry.
fn tell_of_others(args: &Args, key: &LoginKey, kept: &Credentials) {
    let keychain = ConfiguredKeychain::new(args.file.sources());
    let repository = key.namespace().unwrap_or_default();
    // What is wrong with another file is told by the command that needs it.
    let found = keychain.resolve(key.host(), repository);
    if let (Ok(found), Ok(Some(path))) = (found, keychain.file_for(key.host(), repository))
        && found != *kept
    {
        text::warning(&format!(
            "`{}` is asked first and has other credentials for {key}",
            path.display()
        ));
    }
}

/// To log in is what the usual hint proposes.
fn refused(error: &RegistryError, key: &LoginKey) -> CliError {
    let shown = registry_error(error);
    if error.is_unauthorized() {
        return shown.hint(format!(
            "check the user name and the password; {key} may want an access token in place of the password"
        ));
    }
    shown
}

fn ask_username(key: &LoginKey) -> Result<String, CliError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(
            CliError::new(ExitStatus::Usage, "there is nobody to ask for a user name")
                .hint("give it with --username, and the password by --password-stdin"),
        );
    }
    text::message(&format!("user name for {key}: "));
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(|error| {
        CliError::context(ExitStatus::Failed, "cannot read the user name", &error)
    })?;
    username(line.trim()).map_err(|problem| CliError::new(ExitStatus::Usage, problem))
}

/// Asks on the terminal, whatever standard input is, and shows nothing of what is typed.
fn ask_password(username: &str, key: &LoginKey) -> Result<String, CliError> {
    let prompt = format!("password of {username} for {key}: ");
    let password = rpassword::prompt_password(prompt).map_err(|error| {
        CliError::context(
            ExitStatus::Usage,
            "there is nobody to ask for a password",
            &error,
        )
        .hint("give it by --password-stdin")
    })?;
    if password.is_empty() {
        return Err(CliError::new(ExitStatus::Usage, "the password is empty"));
    }
    Ok(password)
}
