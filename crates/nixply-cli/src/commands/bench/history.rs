//! A fleet out of the user's own images: closures asked of Nix, at one or several git revisions.

use super::fleet::FleetOptions;
use super::reuse::failed;
use super::steps::Steps;
use crate::error::{CliError, ExitStatus};
use crate::input::{read_file, read_input_closure};
use nixply_reuse::Pin;
use nixply_store::Closure;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What was given on the command line and in the list.
pub(crate) fn installables(options: &FleetOptions) -> Result<Vec<String>, CliError> {
    let mut all = options.inputs.clone();
    if let Some(file) = &options.list {
        let text = String::from_utf8(read_file(file)?).map_err(|error| {
            let message = format!("`{}` is not UTF-8", file.display());
            CliError::context(ExitStatus::Input, message, &error)
        })?;
        let lines = text.lines().map(str::trim);
        all.extend(
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned),
        );
        if all.is_empty() {
            let message = format!("`{}` lists no installable", file.display());
            return Err(CliError::new(ExitStatus::Input, message));
        }
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = all.iter().find(|installable| !seen.insert(*installable)) {
        return Err(CliError::new(
            ExitStatus::Usage,
            format!("`{twice}` is given twice: each image counts once"),
        ));
    }
    Ok(all)
}

/// A pin for each revision, or one of what is there now.
pub(crate) fn pins(
    installables: &[String],
    revs: &[String],
    quiet: bool,
) -> Result<Vec<Pin>, CliError> {
    let mut steps = Steps::new("asking Nix", installables.len() * revs.len().max(1), quiet);
    let mut pins = Vec::new();
    if revs.is_empty() {
        let mut closures = BTreeMap::new();
        for installable in installables {
            steps.begin(installable);
            closures.insert(installable.clone(), closure(installable)?);
        }
        pins.push(Pin::of_images("now", &closures).map_err(|error| failed(&error))?);
    }
    for rev in revs {
        let mut closures = BTreeMap::new();
        for installable in installables {
            let at_rev = at_revision(installable, rev)?;
            steps.begin(&at_rev);
            closures.insert(installable.clone(), closure(&at_rev)?);
        }
        pins.push(Pin::of_images(rev, &closures).map_err(|error| failed(&error))?);
    }
    Ok(pins)
}

fn closure(installable: &str) -> Result<Closure, CliError> {
    read_input_closure(installable)?.ok_or_else(|| {
        CliError::new(
            ExitStatus::Input,
            format!("`{installable}` is an image specification: expected a closure or a plan"),
        )
    })
}

/// The installable in a flake at a git revision.
fn at_revision(installable: &str, rev: &str) -> Result<String, CliError> {
    let Some((flake, attribute)) = installable.split_once('#') else {
        return Err(CliError::new(
            ExitStatus::Usage,
            format!("`{installable}` has no revisions: with `--rev`, expected FLAKE#NAME"),
        ));
    };
    let is_hash = rev.len() == 40 && rev.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = if is_hash { "rev" } else { "ref" };
    let forge = ["github:", "gitlab:", "sourcehut:"]
        .iter()
        .any(|scheme| flake.starts_with(scheme));
    if forge {
        return Ok(format!("{flake}/{rev}#{attribute}"));
    }
    if flake.starts_with("git+") {
        let joint = if flake.contains('?') { '&' } else { '?' };
        return Ok(format!("{flake}{joint}{key}={rev}#{attribute}"));
    }
    let folder = flake.strip_prefix("path:").unwrap_or(flake);
    let folder = Path::new(if folder.is_empty() { "." } else { folder });
    let folder = folder.canonicalize().map_err(|error| {
        CliError::context(
            ExitStatus::Input,
            format!("cannot open flake `{flake}`"),
            &error,
        )
    })?;
    let git = |words: &[&str]| git(&folder, words);
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let commit = git(&[
        "rev-parse",
        "--verify",
        "--end-of-options",
        &format!("{rev}^{{commit}}"),
    ])?;
    let below = folder.strip_prefix(&top).unwrap_or(Path::new(""));
    let dir = if below.as_os_str().is_empty() {
        String::new()
    } else {
        format!("&dir={}", below.display())
    };
    Ok(format!("git+file://{top}?rev={commit}{dir}#{attribute}"))
}

/// What git says in a folder, on one line.
fn git(folder: &Path, words: &[&str]) -> Result<String, CliError> {
    let what = format!(
        "git cannot tell `{}` in `{}`",
        words.join(" "),
        folder.display()
    );
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(words)
        .output()
        .map_err(|error| CliError::context(ExitStatus::Failed, &*what, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        return Err(CliError::context(ExitStatus::Input, what, &GitFailed(said)));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// What git wrote on its standard error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct GitFailed(String);
