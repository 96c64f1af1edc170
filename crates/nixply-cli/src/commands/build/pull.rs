//! An image of a registry as a docker archive, byte for byte what skopeo writes: a derivation whose hash is fixed.

use super::Derivation;
use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::registries::{Registries, RegistryOptions};
use crate::stored::{layout_error, source_error};
use nixply_layout::{LayoutError, write_pulled_archive};
use nixply_oci::{ImageReference, Platform};
use nixply_registry::RegistryImage;
use serde::Deserialize;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

/// What the output wants to know.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    /// With or without a host, as Docker's users write it.
    image_name: String,
    image_digest: String,
    os: String,
    arch: String,
    final_image_name: String,
    final_image_tag: String,
    /// False: plain HTTP and any certificate will do.
    tls_verify: bool,
    /// The certificate authorities to trust beside the system's, which a sandbox has not.
    #[serde(default)]
    ca_certificates: Option<PathBuf>,
}

pub(super) fn run(request: &Request, derivation: &Derivation) -> Result<(), CliError> {
    let name = docker_name(&request.image_name);
    let text = format!("{name}@{}", request.image_digest);
    let reference: ImageReference = text
        .parse()
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    let platform = Platform {
        os: request.os.clone(),
        architecture: request.arch.clone(),
        variant: None,
    };
    let options = RegistryOptions::in_builder(!request.tls_verify, request.ca_certificates.clone());
    let registries: Registries = options.registries(&[])?;
    let image: RegistryImage = registries.open(&reference, Some(&platform))?;
    let file = File::create(&derivation.out).map_err(|error| derivation.cannot_write(&error))?;
    let final_name = format!("{}:{}", request.final_image_name, request.final_image_tag);
    write_pulled_archive(
        &image,
        image.config_bytes(),
        &final_name,
        &environment::temporary_dir(),
        &mut BufWriter::new(file),
    )
    .map_err(|error| match &error {
        LayoutError::PulledLayer { layer_idx, source } => source_error(*layer_idx, &**source),
        _ => layout_error(&error),
    })
}

/// A name with the host that Docker means where there is none, and `library/` where its hub has it.
fn docker_name(name: &str) -> String {
    let (host, repository) = match name.split_once('/') {
        Some((host, repository)) if host == "localhost" || host.contains(['.', ':']) => {
            (host, repository)
        }
        _ => ("docker.io", name),
    };
    let is_hub = matches!(host, "docker.io" | "index.docker.io");
    if is_hub && !repository.contains('/') {
        return format!("docker.io/library/{repository}");
    }
    format!("{}/{repository}", if is_hub { "docker.io" } else { host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_host_are_those_of_dockers_hub() {
        for (name, expected) in [
            ("nginx", "docker.io/library/nginx"),
            ("nixos/nix", "docker.io/nixos/nix"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/a/b", "docker.io/a/b"),
            ("quay.io/nginx", "quay.io/nginx"),
            ("localhost/a", "localhost/a"),
            ("host:5000/a/b", "host:5000/a/b"),
        ] {
            assert_eq!(docker_name(name), expected);
        }
    }
}
