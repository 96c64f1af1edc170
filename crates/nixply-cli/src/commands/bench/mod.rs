//! `nixply bench`: measurements on the user's own closures.

mod compressed;
mod draw_order;
mod fleet;
mod folder;
mod history;
mod reuse;
mod steps;
mod table;

use crate::error::CliError;

/// Measures on your own closures
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, clap::Subcommand)]
enum Bench {
    Reuse(Box<reuse::Args>),
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    match &args.bench {
        Bench::Reuse(args) => reuse::run(args),
    }
}
