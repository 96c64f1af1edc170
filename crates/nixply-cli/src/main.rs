//! The `nixply` command.
//!
//! # Duty
//!
//! The only crate that prints, reads the environment, starts other programs and exits. It turns words into the options
//! of the libraries ([`options`]), finds out what `IMAGE` is ([`input`]), runs one command ([`commands`], a file each),
//! shows progress ([`progress`]) and turns every error into a message, a hint and an exit code ([`error`]).
//! Results go to standard output; messages and progress go to standard error.
#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "clap shows comments as they stand, so `[:TAG]` cannot be escaped"
)]

mod base;
mod columns;
mod commands;
mod contents;
mod digest_file;
mod document;
mod environment;
mod error;
mod image;
mod input;
mod interrupt;
mod keychain;
mod left_out;
mod local_records;
mod named_paths;
mod network;
mod nix;
mod nix_words;
mod options;
mod other_tools;
mod packer_input;
mod progress;
mod registries;
mod request_log;
mod store_output;
mod stored;
mod text;

use clap::{Parser, Subcommand};
use error::{CliError, ExitStatus};
use std::process::ExitCode;

/// Builds layered container images from Nix closures and pushes them, without a docker daemon.
#[derive(Debug, Parser)]
#[command(name = "nixply", version, max_term_width = 100, after_help = error::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(Box<commands::plan::Args>),
    Push(Box<commands::push::Args>),
    Export(Box<commands::export::Args>),
    Load(Box<commands::load::Args>),
    Index(Box<commands::index::Args>),
    Inspect(commands::inspect::Args),
    Explain(commands::explain::Args),
    Diff(commands::diff::Args),
    Verify(commands::verify::Args),
    Catalog(commands::catalog::Args),
    Base(commands::base::Args),
    Cache(commands::cache::Args),
    Login(commands::login::Args),
    Logout(commands::logout::Args),
    Bench(commands::bench::Args),
    Build(commands::build::Args),
    #[command(hide = true)]
    Stream(commands::stream::Args),
    #[command(hide = true)]
    Program(commands::program::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    interrupt::listen();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => finish(&error),
    }
}

fn run(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Plan(args) => commands::plan::run(&args),
        Command::Push(args) => commands::push::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Load(args) => commands::load::run(&args),
        Command::Index(args) => commands::index::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Explain(args) => commands::explain::run(&args),
        Command::Diff(args) => commands::diff::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Catalog(args) => commands::catalog::run(&args),
        Command::Base(args) => commands::base::run(&args),
        Command::Cache(args) => commands::cache::run(&args),
        Command::Login(args) => commands::login::run(&args),
        Command::Logout(args) => commands::logout::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Build(args) => commands::build::run(&args),
        Command::Stream(args) => commands::stream::run(&args),
        Command::Program(args) => {
            return match Cli::try_parse_from(commands::program::command_line(&args)?) {
                Ok(cli) => run(cli.command),
                Err(error) => Ok(usage(&error)),
            };
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Help and version are results, anything else is a wrong command line.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell where the terminal is gone.
    let _ = error.print();
    if error.use_stderr() {
        ExitStatus::Usage.into()
    } else {
        ExitCode::SUCCESS
    }
}

fn finish(error: &CliError) -> ExitCode {
    // `nixply plan … | head` is no failure.
    if error.is_broken_pipe() {
        return ExitCode::SUCCESS;
    }
    text::message(&error.render());
    error.status().into()
}
