//! `nixply index`: image indexes.

mod create;

use crate::error::CliError;
use clap::Subcommand;

/// Makes one image of several platforms out of images that are pushed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(create::Args),
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        Command::Create(args) => create::run(args),
    }
}
