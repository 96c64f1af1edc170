//! Files of other image tools that decide an image: dockerTools' `conf.json` and stream
//! scripts, nix2container's `image.json`.

use crate::base::{self, BaseRequest};
use crate::error::{CliError, ExitStatus};
use crate::input::read_file;
use crate::registries::RegistryOptions;
use crate::{environment, nix, options, text};
use nixply_image::{
    BaseImage, ConfTimes, DockerToolsConf, LayerFormatRecord, Nix2containerImage, Plan,
    conf_of_stream_script,
};
use nixply_layer::{Compression, DockerToolsHeader, StoreRoot};
use std::path::Path;

/// True where bytes are such a file.
pub(crate) fn is_known(bytes: &[u8]) -> bool {
    DockerToolsConf::is_conf(bytes)
        || conf_of_stream_script(bytes).is_some_and(|conf| is_conf_file(&conf))
        || Nix2containerImage::is_image(bytes)
}

/// Another script may name a file that is called so.
fn is_conf_file(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| DockerToolsConf::is_conf(&bytes))
}

/// The plan that such a file is; none where bytes are no such file.
pub(crate) fn plan(bytes: &[u8], name: &str) -> Result<Option<Plan>, CliError> {
    let mut plan = if let Some(conf) = conf_of_stream_script(bytes) {
        conf_plan(&read_file(&conf)?, &conf.display().to_string())?
    } else if DockerToolsConf::is_conf(bytes) {
        conf_plan(bytes, name)?
    } else if Nix2containerImage::is_image(bytes) {
        nix2container_plan(bytes, name)?
    } else {
        return Ok(None);
    };
    plan.tool = Some(environment::tool());
    Ok(Some(plan))
}

fn conf_plan(bytes: &[u8], name: &str) -> Result<Plan, CliError> {
    let input = |error: &(dyn std::error::Error + 'static)| {
        CliError::context(ExitStatus::Input, format!("cannot use `{name}`"), error)
    };
    let conf = DockerToolsConf::from_json(bytes).map_err(|error| input(&error))?;
    let base = conf.from_image.as_deref().map(read_base).transpose()?;
    let times = times(&conf).map_err(|problem| {
        CliError::new(ExitStatus::Input, format!("cannot use `{name}`: {problem}"))
    })?;
    let paths: Vec<String> = conf.store_paths().map(str::to_owned).collect();
    let closure = if paths.is_empty() {
        None
    } else {
        Some(nix::closure_of(&paths)?)
    };
    conf.plan(closure.as_ref(), base, times, Compression::default())
        .map_err(|error| input(&error))
}

/// Reads the docker archive that dockerTools takes as a base. Nothing is put where its links lead: dockerTools does not
/// look, and the layers are decided.
fn read_base(archive: &Path) -> Result<BaseImage, CliError> {
    let registries = RegistryOptions::default().registries(&[])?;
    let request = BaseRequest {
        platform: None,
        compression: Compression::default(),
        layer_format: LayerFormatRecord::dockertools(),
        needs_tree: false,
        store: &StoreRoot::default(),
        registries: &registries,
    };
    base::read(&archive.to_string_lossy(), &request)
}

fn nix2container_plan(bytes: &[u8], name: &str) -> Result<Plan, CliError> {
    let input = |error: &(dyn std::error::Error + 'static)| {
        CliError::context(ExitStatus::Input, format!("cannot use `{name}`"), error)
    };
    let image = Nix2containerImage::from_json(bytes).map_err(|error| input(&error))?;
    let created = image.created.as_deref().map(options::created).transpose();
    let created = created.map_err(|problem| {
        let message = format!("cannot use `{name}`: field `created`: {problem}");
        CliError::new(ExitStatus::Input, message)
    })?;
    image
        .plan(created, Compression::default())
        .map_err(|error| input(&error))
}

/// The times of the image, which dockerTools' script takes when it runs where they are `now`.
fn times(conf: &DockerToolsConf) -> Result<ConfTimes, String> {
    let created =
        options::created(&conf.created).map_err(|problem| format!("field `created`: {problem}"))?;
    let mtime = conf.mtime.as_ref().unwrap_or(&conf.created);
    if mtime == "now" {
        text::note(
            "files of the store keep Nix's time, one second after 1970 began: with the time of now, every layer would be new every time",
            None,
        );
        return Ok(ConfTimes {
            created,
            mtime_secs: DockerToolsHeader::default().mtime_secs,
        });
    }
    let seconds = options::seconds(mtime).map_err(|problem| format!("field `mtime`: {problem}"))?;
    Ok(ConfTimes {
        created,
        mtime_secs: seconds,
    })
}
