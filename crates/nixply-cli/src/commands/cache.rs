//! `nixply cache`: the layer records of this machine.

use crate::base::forget_trees;
use crate::environment;
use crate::error::{CliError, ExitStatus, output};
use crate::text;
use clap::Subcommand;
use nixply_cache::{CacheError, LocalRecords, Summary};
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Shows or clears what is remembered of layers on this machine
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The records lie in $NIXPLY_CACHE_DIR, else in $XDG_CACHE_HOME/nixply, else in ~/.cache/nixply. \
    They only save time: without them, a push asks the registry."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where the records lie and how many there are
    Show {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget everything
    Clear,
}

/// `nixply.cache/1`.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    schema: &'static str,
    directory: String,
    records: u64,
    size_bytes: u64,
    repositories: Vec<Repository>,
    upload_methods: Vec<UploadMethod<'a>>,
}

#[derive(Debug, Serialize)]
struct Repository {
    repository: String,
    layers: u64,
}

#[derive(Debug, Serialize)]
struct UploadMethod<'a> {
    host: &'a str,
    method: &'a str,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let dir = directory()?;
    // A directory that is not there holds nothing, and asking does not make it.
    let records = dir.is_dir().then(|| open(&dir)).transpose()?;
    let text = match args.command {
        Command::Show { json } => {
            let summary = match &records {
                Some(records) => records.summary().map_err(|error| refused(&error))?,
                None => Summary::default(),
            };
            if json {
                as_json(&dir, &summary)?
            } else {
                describe(&dir, &summary)
            }
        }
        Command::Clear => {
            let forgotten = match &records {
                Some(records) => clear(records)?,
                None => 0,
            };
            forget_trees()?;
            format!("forgot {}\n", layers(forgotten))
        }
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
}

fn directory() -> Result<PathBuf, CliError> {
    environment::cache_dir().ok_or_else(|| {
        CliError::new(
            ExitStatus::Failed,
            "there is no directory for layer records",
        )
        .hint("set HOME, XDG_CACHE_HOME or NIXPLY_CACHE_DIR")
    })
}

fn open(dir: &Path) -> Result<LocalRecords, CliError> {
    let records = LocalRecords::open(dir).map_err(|error| refused(&error))?;
    for trouble in records.trouble() {
        text::warning(&trouble);
    }
    Ok(records)
}

/// Forgets everything, and tells of how many layers.
fn clear(records: &LocalRecords) -> Result<u64, CliError> {
    // What cannot be counted any more can be cleared all the same.
    let n_records = records.summary().map_or(0, |summary| summary.n_records);
    records.clear().map_err(|error| refused(&error))?;
    Ok(n_records)
}

fn layers(n: u64) -> String {
    text::count(usize::try_from(n).unwrap_or(usize::MAX), "layer")
}

fn refused(error: &CacheError) -> CliError {
    let hint = match error {
        CacheError::NewerVersion { .. } => {
            Some("use the newer nixply, or another directory: set NIXPLY_CACHE_DIR")
        }
        CacheError::Foreign { .. } => Some("use another directory: set NIXPLY_CACHE_DIR"),
        CacheError::InUse { .. } => Some("wait until the other processes have ended"),
        _ => None,
    };
    CliError::from_error(ExitStatus::Failed, error).maybe_hint(hint.map(str::to_owned))
}

fn as_json(dir: &Path, summary: &Summary) -> Result<String, CliError> {
    let shown = Shown {
        schema: "nixply.cache/1",
        directory: dir.display().to_string(),
        records: summary.n_records,
        size_bytes: summary.size_bytes,
        repositories: summary
            .repositories
            .iter()
            .map(|held| Repository {
                repository: held.repository.to_string(),
                layers: held.n_layers,
            })
            .collect(),
        upload_methods: summary
            .upload_methods
            .iter()
            .map(|(host, method)| UploadMethod { host, method })
            .collect(),
    };
    let text = serde_json::to_string_pretty(&shown)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    Ok(text + "\n")
}

fn describe(dir: &Path, summary: &Summary) -> String {
    let mut text = format!(
        "directory  {}\nrecords    {}, {}\n",
        dir.display(),
        layers(summary.n_records),
        text::size(summary.size_bytes),
    );
    if !summary.repositories.is_empty() {
        let rows: Vec<Vec<String>> = summary
            .repositories
            .iter()
            .map(|held| vec![held.repository.to_string(), held.n_layers.to_string()])
            .collect();
        text.push('\n');
        text.push_str(&text::table(&["repository", "layers"], &[1], &rows));
    }
    if !summary.upload_methods.is_empty() {
        let rows: Vec<Vec<String>> = summary
            .upload_methods
            .iter()
            .map(|(host, method)| vec![host.clone(), method.clone()])
            .collect();
        text.push('\n');
        text.push_str(&text::table(&["registry", "uploads"], &[], &rows));
    }
    text
}
