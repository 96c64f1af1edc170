//! Which store paths a stored layer holds, by the names in its tar.

use crate::compare::CompareError;
use crate::header::padding_bytes;
use crate::header_reader::{ReadHeader, read_header};
use crate::stored::uncompressed;
use nixply_oci::MediaType;
use nixply_store::{StoreDir, StorePath};
use std::collections::BTreeSet;
use std::io::{self, Read};

/// GNU tar's long names are read up to this length: no name of a file system is near it.
const LONG_NAME_LIMIT_BYTES: u64 = 1 << 20;

/// Reads a stored layer to its end for the store paths in it, in byte order.
pub fn read_store_paths(
    stored: &mut dyn Read,
    media_type: &MediaType,
    store_dir: &StoreDir,
) -> Result<Vec<StorePath>, CompareError> {
    let mut tar = uncompressed(stored, media_type)?;
    let found = list(&mut tar, store_dir).map_err(CompareError::Stored)?;
    // What checks the layer's digest does so at its end.
    io::copy(&mut tar, &mut io::sink()).map_err(CompareError::Stored)?;
    Ok(found.into_iter().collect())
}

fn list(tar: &mut dyn Read, store_dir: &StoreDir) -> io::Result<BTreeSet<StorePath>> {
    let mut found = BTreeSet::new();
    let mut long_name = None;
    while let Some(header) = read_header(&mut *tar)? {
        let size_bytes = body_bytes(&header)?;
        if field(&header, "type") == "L" && size_bytes <= LONG_NAME_LIMIT_BYTES {
            let mut name = Vec::new();
            (&mut *tar).take(size_bytes).read_to_end(&mut name)?;
            skip(tar, padding_bytes(size_bytes) as u64)?;
            long_name = Some(name);
            continue;
        }
        // The header of a long link target stands between a long name and its entry.
        if field(&header, "type") != "K" {
            let name = long_name.take().unwrap_or(header.name);
            found.extend(store_path_of(&name, store_dir));
        }
        skip(
            tar,
            size_bytes.saturating_add(padding_bytes(size_bytes) as u64),
        )?;
    }
    Ok(found)
}

fn field<'h>(header: &'h ReadHeader, name: &str) -> &'h str {
    let found = header.fields.iter().find(|(field, _)| *field == name);
    found.map_or("", |(_, value)| value)
}

/// Links and directories have no body, whatever their size says.
fn body_bytes(header: &ReadHeader) -> io::Result<u64> {
    if matches!(field(header, "type"), "1" | "2" | "3" | "4" | "5" | "6") {
        return Ok(0);
    }
    field(header, "size")
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an entry of no possible size"))
}

fn skip(tar: &mut dyn Read, n_bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut tar.take(n_bytes), &mut io::sink())?;
    if skipped == n_bytes {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the layer ends within an entry",
        ))
    }
}

/// The store path that a member of a tar is or lies in. Members may stand as `nix/…`, `/nix/…` or `./nix/…`.
fn store_path_of(name: &[u8], store_dir: &StoreDir) -> Option<StorePath> {
    let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    let name = name.strip_prefix("./").unwrap_or(name);
    let relative_store_dir = store_dir.as_str().trim_start_matches('/');
    let inside = name
        .trim_start_matches('/')
        .strip_prefix(relative_store_dir)?
        .strip_prefix('/')?;
    StorePath::new(inside.split('/').next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "1111111111111111111111111111111a-app-1.0";
    const LIB: &str = "2222222222222222222222222222222b-lib-2";

    fn tar_of(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            header.set_mode(0o444);
            builder.append_data(&mut header, name, &b"abc"[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let found = read_store_paths(
            &mut &bytes[..],
            &MediaType::OciLayerTar,
            &StoreDir::default(),
        );
        found.unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn store_paths_are_found_once_and_other_files_are_not() {
        let tar = tar_of(&[
            &format!("nix/store/{LIB}"),
            &format!("./nix/store/{APP}/bin/app"),
            &format!("nix/store/{APP}/lib/{}", "long".repeat(60)),
            "nix/store/.links",
            "etc/passwd",
            "nix/storex/2222222222222222222222222222222b-x",
        ]);
        assert_eq!(names(&tar), [APP, LIB]);
    }

    #[test]
    fn a_long_name_belongs_to_the_entry_behind_it() {
        let long = format!("3333333333333333333333333333333c-{}", "n".repeat(150));
        let tar = tar_of(&[&format!("nix/store/{long}"), &format!("nix/store/{LIB}")]);
        assert_eq!(names(&tar), [LIB.to_owned(), long]);
    }

    #[test]
    fn a_layer_that_ends_early_is_an_error() {
        let tar = tar_of(&[&format!("nix/store/{APP}")]);
        let found = read_store_paths(
            &mut &tar[..514],
            &MediaType::OciLayerTar,
            &StoreDir::default(),
        );
        assert!(matches!(found, Err(CompareError::Stored(_))), "{found:?}");
    }
}
