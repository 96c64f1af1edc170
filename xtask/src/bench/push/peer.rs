//! The peer: nixpkgs' script that streams an image, into a file, and skopeo, which compresses and pushes it.
//!
//! The script is nixpkgs' (`pkgs/build-support/docker/stream_layered_image.py`), which this repository has no copy of. It is
//! taken from `--peer-script`, or from the nixpkgs of `NIX_PATH`.

use super::process::{self, Usage};
use super::store::{Made, Store};
use crate::command::{self, command, find_program};
use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the script is in nixpkgs.
const IN_NIXPKGS: &str = "<nixpkgs/pkgs/build-support/docker/stream_layered_image.py>";

/// An image of the peer.
#[derive(Debug)]
pub(super) struct Peer {
    script: PathBuf,
    conf: PathBuf,
    archive: PathBuf,
    /// Where skopeo keeps what it knows of blobs.
    data_home: PathBuf,
}

/// What the peer's two programs took.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerUsage {
    pub(super) script: Usage,
    pub(super) skopeo: Usage,
}

impl PeerUsage {
    pub(super) fn wall_seconds(&self) -> f64 {
        (self.script.wall + self.skopeo.wall).as_secs_f64()
    }

    pub(super) fn cpu_seconds(&self) -> f64 {
        (self.script.cpu + self.skopeo.cpu).as_secs_f64()
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.script.peak_bytes.max(self.skopeo.peak_bytes)
    }
}

/// Finds the script, or says what is missing for the peer to run.
pub(super) fn find_script(given: Option<&Path>) -> Result<PathBuf, String> {
    for program in ["python3", "skopeo"] {
        if find_program(program).is_none() {
            return Err(format!("{program} is missing"));
        }
    }
    if let Some(given) = given {
        return given
            .canonicalize()
            .map_err(|error| format!("--peer-script {}: {error}", given.display()));
    }
    let missing =
        || "nixpkgs' stream_layered_image.py is missing: name it with --peer-script".to_owned();
    if find_program("nix-instantiate").is_none() {
        return Err(missing());
    }
    let found = command::text(&mut command(
        "nix-instantiate",
        ["--eval", "--expr", IN_NIXPKGS],
    ));
    found.map(PathBuf::from).map_err(|_| missing())
}

impl Peer {
    /// Describes an image of a layer for each store path, as nixply makes it of so few.
    pub(super) fn new(
        script: PathBuf,
        store: &Store,
        paths: &[&Made],
        folder: &Path,
    ) -> Result<Peer> {
        let customisation = folder.join("peer-customisation");
        fs::create_dir_all(&customisation)?;
        // A tar of nothing: what the last layer of the script is without `extraCommands`.
        let empty_tar = [0; 10240];
        fs::write(customisation.join("layer.tar"), empty_tar)?;
        let checksum = HEXLOWER.encode(&Sha256::digest(empty_tar));
        fs::write(customisation.join("checksum"), checksum)?;
        let layers: Vec<[String; 1]> = paths
            .iter()
            .map(|made| [store.path(made).display().to_string()])
            .collect();
        let time = "1970-01-01T00:00:01+00:00";
        let conf = serde_json::json!({
            "architecture": "amd64", "config": {}, "created": time, "mtime": time, "repo_tag": "peer:latest",
            "uid": "0", "gid": "0", "uname": "root", "gname": "root",
            "store_dir": store.dir, "from_image": null, "store_layers": layers, "customisation_layer": customisation,
        });
        let conf_file = folder.join("peer-conf.json");
        fs::write(&conf_file, serde_json::to_vec(&conf)?)?;
        Ok(Peer {
            script,
            conf: conf_file,
            archive: folder.join("peer.tar"),
            data_home: folder.join("peer-data"),
        })
    }

    /// Makes the image and pushes it, knowing nothing of earlier runs.
    pub(super) fn push(&self, reference: &str) -> Result<PeerUsage> {
        if self.data_home.exists() {
            fs::remove_dir_all(&self.data_home)?;
        }
        let mut script = command("python3", [&self.script, &self.conf]);
        let script = process::run(&mut script, &self.archive).context("the peer's script")?;
        let mut skopeo = command(
            "skopeo",
            [
                "copy",
                "--insecure-policy",
                "--quiet",
                "--dest-tls-verify=false",
            ],
        );
        skopeo
            .arg(format!("docker-archive:{}", self.archive.display()))
            .arg(format!("docker://{reference}"))
            // As root, what skopeo knows of blobs would be the system's. This makes it take the user's, which is ours.
            .env("_CONTAINERS_ROOTLESS_UID", "1")
            .env("XDG_DATA_HOME", &self.data_home);
        let skopeo = process::run(&mut skopeo, &self.archive.with_extension("out"))
            .context("the peer's skopeo")?;
        fs::remove_file(&self.archive)?;
        Ok(PeerUsage { script, skopeo })
    }
}
