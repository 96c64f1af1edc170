//! `nixply load`: an image into a container engine of this machine.

use super::export::{names, write_options};
use crate::environment;
use crate::error::{CliError, ExitStatus, is_broken_pipe};
use crate::image::{self, Request};
use crate::options::{ImageOptions, NameOptions, WorkOptions};
use crate::progress::{Progress, Show};
use crate::registries::RegistryOptions;
use crate::stored::layout_error;
use crate::text;
use clap::ValueEnum;
use nixply_layer::Compression;
use nixply_layout::write_archive;
use std::process::{Command, ExitStatus as ExitStatusOfProgram, Stdio};

/// Makes an image and streams it into Docker, Podman or containerd
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A closure file, `-`, a plan, an image specification, a store path or an installable
    image: String,
    /// The engine [default: the first of docker, podman and ctr that is on PATH]
    #[arg(long, value_name = "ENGINE")]
    into: Option<Engine>,
    #[command(flatten)]
    options: ImageOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    name: NameOptions,
    #[command(flatten)]
    work: WorkOptions,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// The container engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Docker,
    Podman,
    Containerd,
}

impl Engine {
    fn command(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Docker => ("docker", &["load"]),
            Self::Podman => ("podman", &["load"]),
            Self::Containerd => ("ctr", &["images", "import", "-"]),
        }
    }

    /// The engine's name as `--into` takes it.
    const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
        }
    }

    /// True where the program is there and its daemon is not; Podman has none.
    fn lacks_daemon(self) -> bool {
        let (program, _) = self.command();
        let asked = Command::new(program)
            .arg("version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        self != Self::Podman && asked.is_ok_and(|status| !status.success())
    }

    /// Another engine that is on `PATH`.
    fn other(self) -> Option<Self> {
        let others = [Self::Podman, Self::Docker, Self::Containerd];
        let is_there = |engine: &Self| environment::find_program(&[engine.command().0]).is_some();
        others
            .into_iter()
            .filter(|engine| *engine != self)
            .find(is_there)
    }
}

/// An engine that said itself why it did not take the image.
fn refused(engine: Engine, status: ExitStatusOfProgram, args: &Args) -> CliError {
    let (program, arguments) = engine.command();
    let command = format!("{program} {}", arguments.join(" "));
    let failed = CliError::new(ExitStatus::Failed, format!("`{command}` failed: {status}"));
    if !engine.lacks_daemon() {
        return failed;
    }
    let name = engine.name();
    let failed = failed.because(&format!("no daemon of {name} answers"));
    let other = engine.other().filter(|_| args.into.is_none());
    failed.hint(match other {
        Some(other) => format!("start it, or load into {0} with `--into {0}`", other.name()),
        None => "start it, or write a file with `nixply export`".to_owned(),
    })
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let engine = match args.into {
        Some(engine) => engine,
        None => match environment::find_program(&["docker", "podman", "ctr"]) {
            Some("docker") => Engine::Docker,
            Some("podman") => Engine::Podman,
            Some(_) => Engine::Containerd,
            None => {
                return Err(CliError::new(ExitStatus::Failed, "no container engine is on PATH")
                    .hint("install docker, podman or containerd, or write a file with `nixply export`"));
            }
        },
    };
    let images = args.options.plan.images(&args.image);
    let registries = args.registry.registries(&images)?;
    let plan = image::plan(&Request {
        image: &args.image,
        options: &args.options,
        name: Some(&args.name),
        // The bytes go through a pipe and are unpacked at the other end: compressing them only costs time. The config,
        // and so Docker's image ID, is the same as that of a compressed image.
        default_compression: Compression::None,
        registries: &registries,
        store: &args.work.store,
    })?;
    if plan.name.is_none() {
        text::warning("the image gets no name: give it one with --name");
    }
    image::check_present(&plan, &args.work, |_| false)?;
    let image = image::image(plan, &args.work, &registries)?;
    let (program, arguments) = engine.command();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| {
            CliError::context(
                ExitStatus::Failed,
                format!("cannot run `{program}`"),
                &error,
            )
        })?;
    let progress = Progress::new("loading", false, &image, Show::unless(args.quiet));
    let written = match child.stdin.take() {
        Some(mut stdin) => write_archive(
            &image,
            &names(&image),
            &mut stdin,
            &write_options(&args.work),
            &progress,
        )
        .map(|_| ()),
        None => Ok(()),
    };
    progress.finish();
    let status = child.wait().map_err(|error| {
        CliError::context(
            ExitStatus::Failed,
            format!("cannot wait for `{program}`"),
            &error,
        )
    })?;
    // An engine that gave up says why on standard error; the pipe that it closed is only the consequence. Anything else
    // that stopped the writing is the cause, and the engine's complaint the consequence.
    let written = match written {
        Err(error) if !is_broken_pipe(&error) => return Err(layout_error(&error)),
        written => written,
    };
    if !status.success() {
        return Err(refused(engine, status, args));
    }
    written.map_err(|error| layout_error(&error))
}
