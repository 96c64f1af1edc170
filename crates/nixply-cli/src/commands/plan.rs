//! `nixply plan`: what the layers of an image will be.

use crate::error::{CliError, ExitStatus, output};
use crate::image::{self, Request};
use crate::options::{ImageOptions, NameOptions, StoreOptions};
use crate::registries::RegistryOptions;
use crate::text;
use nixply_image::{LinkedContent, Plan, PlannedLayer};
use nixply_layer::{Compression, tar_title};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Shows which layers an image will have, without reading a file of the store
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A closure file, `-`, a plan, an image specification, a store path or an installable
    image: String,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Write the plan as JSON to a file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: ImageOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    name: NameOptions,
    #[command(flatten)]
    store: StoreOptions,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let images = args.options.plan.images(&args.image);
    let registries = args.registry.registries(&images)?;
    let plan = image::plan(&Request {
        image: &args.image,
        options: &args.options,
        name: Some(&args.name),
        default_compression: Compression::default(),
        registries: &registries,
        store: &args.store,
    })?;
    let json = plan
        .to_json()
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    let mut stdout = std::io::stdout().lock();
    let to_stdout = args.json || args.output.as_deref() == Some(Path::new("-"));
    let file = args.output.as_ref().filter(|file| *file != Path::new("-"));
    if let Some(file) = file {
        nixply_layout::write_file_atomically(file, |out| Ok(out.write_all(json.as_bytes())?))
            .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    }
    if to_stdout {
        stdout.write_all(json.as_bytes())
    } else if args.output.is_none() {
        stdout.write_all(describe(&plan).as_bytes())
    } else {
        Ok(())
    }
    .map_err(|error| output(&error))?;
    // As with a large closure, the end of the process frees a large plan for nothing.
    std::mem::forget(plan);
    Ok(())
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or("")
}

/// The plan as people read it: one line a layer, the top layer last.
pub(crate) fn describe(plan: &Plan) -> String {
    let mut rows = Vec::new();
    let (mut paths_total, mut bytes_total) = (0, 0);
    for (idx, layer) in plan.layers.iter().enumerate() {
        let (count, bytes, contents, key) = match layer {
            PlannedLayer::Store {
                key,
                nar_size_bytes,
                paths,
                ..
            } => {
                let biggest = paths.iter().max_by_key(|path| path.nar_size_bytes);
                let name = biggest.map_or("", |path| base_name(&path.path));
                let more = match paths.len() {
                    0 | 1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                (
                    paths.len(),
                    *nar_size_bytes,
                    format!("{name}{more}"),
                    key.to_string(),
                )
            }
            PlannedLayer::Root {
                key,
                files,
                contents,
            } => {
                let linked: usize = contents.iter().map(LinkedContent::entry_count).sum();
                let mut what = text::count(files.len(), "root file");
                if linked > 0 {
                    what = format!(
                        "{what}, {} into {}",
                        text::count(linked, "link"),
                        text::count(contents.len(), "store path"),
                    );
                }
                (0, 0, what, key.to_string())
            }
            PlannedLayer::Base(base) => {
                let stored = base.stored();
                let contents = "base layer".to_owned();
                (
                    base.paths.len(),
                    stored.size_bytes,
                    contents,
                    stored.digest.to_string(),
                )
            }
            PlannedLayer::Tar { key, path, .. } => (0, 0, tar_title(path), key.to_string()),
            PlannedLayer::Database { key, .. } => {
                (0, 0, "Nix's database".to_owned(), key.to_string())
            }
            PlannedLayer::Nix2container { key, paths, .. } => {
                let first = paths.first().map_or("", |path| path.path.as_str());
                let more = paths.len().saturating_sub(1);
                let title = format!("{} and {more} more of nix2container", base_name(first));
                (paths.len(), 0, title, key.to_string())
            }
        };
        paths_total += count;
        bytes_total = u64::saturating_add(bytes_total, bytes);
        rows.push(vec![
            (idx + 1).to_string(),
            count.to_string(),
            text::size(bytes),
            text::short(&key).to_owned(),
            contents,
        ]);
    }
    format!(
        "{}{}, {}, {} of NAR; packer {} {}, at most {}, {}, {}\n",
        text::table(
            &["layer", "paths", "NAR size", "key", "contents"],
            &[0, 1, 2],
            &rows
        ),
        text::count(plan.layers.len(), "layer"),
        text::count(paths_total, "store path"),
        text::size(bytes_total),
        plan.packer.name,
        plan.packer.version,
        text::count(plan.packer.max_layers, "layer"),
        plan.compression,
        plan.platform,
    )
}
