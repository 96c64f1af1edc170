//! The docker archive that `skopeo copy docker://… docker-archive:…` writes, byte for byte.
//!
//! nixpkgs' `dockerTools.pullImage` fixes the hash of such a file, so whoever has a hash of one expects these very bytes:
//! uncompressed layers under their diff IDs, the config as it is, a directory for each layer in the form of before 2016
//! (containers/image, `docker/internal/tarfile/writer.go`, unchanged since 2017), the two tables of contents. Headers are
//! those of Go's `archive/tar` for a file without an owner and a time.

use crate::LayoutError;
use crate::compression::Compression;
use crate::names::ImageName;
use nixply_oci::{BlobHasher, DiffId, Digest, ImageSource};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// In bytes. POSIX.1-2017 `pax`, "ustar Interchange Format".
const BLOCK_BYTES: usize = 512;

/// The largest size that has a place in a ustar header, in bytes.
const SIZE_MAX_BYTES: u64 = 0o777_7777_7777;

/// What the top layer's own file has of the config.
const TOP_LAYER_KEYS: [&str; 7] = [
    "architecture",
    "config",
    "container",
    "container_config",
    "created",
    "docker_version",
    "os",
];

/// Writes an image that exists already as skopeo does. `config` are the bytes of its config, `name` is `NAME:TAG`.
/// Layers are uncompressed one after another into an unlinked file in `spool_dir`, since their sizes come first.
pub fn write_pulled_archive(
    source: &dyn ImageSource,
    config: &[u8],
    name: &str,
    spool_dir: &Path,
    out: &mut dyn Write,
) -> Result<(), LayoutError> {
    let image = source.image();
    let name = ImageName::parse(name)?;
    let mut tar = GoTar { out };
    let mut written = BTreeSet::new();
    for (layer_idx, diff_id) in image.config.rootfs.diff_ids.iter().enumerate() {
        // A layer that stands twice is there once.
        if !written.insert(*diff_id) {
            continue;
        }
        let (mut layer, size_bytes) = uncompressed(source, layer_idx, *diff_id, spool_dir)?;
        tar.start(&layer_file(*diff_id), size_bytes)?;
        io::copy(&mut layer, tar.out)?;
        tar.end(size_bytes)?;
    }
    let config_file = format!("{}.json", Digest::of(config).hex());
    tar.file(&config_file, config)?;
    let top = write_layer_directories(&image.config.rootfs.diff_ids, config, &mut tar)?;
    let layers: Vec<String> = image
        .config
        .rootfs
        .diff_ids
        .iter()
        .copied()
        .map(layer_file)
        .collect();
    let layers = Value::from(layers);
    let config_file = Value::from(config_file);
    let full = Value::from(name.full.clone());
    let manifest = format!(r#"[{{"Config":{config_file},"RepoTags":[{full}],"Layers":{layers}}}]"#);
    tar.file("manifest.json", manifest.as_bytes())?;
    let repositories = match top {
        Some(top) => {
            let repository = name
                .full
                .rsplit_once(':')
                .map_or(name.full.as_str(), |(repository, _)| repository);
            let (repository, tag) = (Value::from(repository), Value::from(name.tag));
            format!(r#"{{{repository}:{{{tag}:"{top}"}}}}"#)
        }
        None => "{}".to_owned(),
    };
    tar.file("repositories", repositories.as_bytes())?;
    tar.out.write_all(&[0; 2 * BLOCK_BYTES])?;
    tar.out.flush()?;
    Ok(())
}

fn layer_file(diff_id: DiffId) -> String {
    format!("{}.tar", diff_id.hex())
}

/// A layer's tar in a file at its beginning, checked, and its size.
fn uncompressed(
    source: &dyn ImageSource,
    layer_idx: usize,
    expected: DiffId,
    spool_dir: &Path,
) -> Result<(File, u64), LayoutError> {
    let failed = |source| LayoutError::PulledLayer { layer_idx, source };
    let mut stored = source
        .open_layer(layer_idx)
        .map_err(|error| failed(error.0))?;
    let mut start = Vec::new();
    (&mut *stored)
        .take(4)
        .read_to_end(&mut start)
        .map_err(|error| failed(error.into()))?;
    let whole = start.as_slice().chain(stored);
    let mut tar = Compression::sniff(&start)
        .reader(whole)
        .map_err(|error| failed(error.into()))?;
    let mut file = tempfile::tempfile_in(spool_dir)
        .map_err(LayoutError::file("create a file in", spool_dir))?;
    let mut hasher = BlobHasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let n = match tar.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error.into())),
        };
        hasher.update(&buffer[..n]);
        file.write_all(&buffer[..n])
            .map_err(LayoutError::file("write a file in", spool_dir))?;
    }
    let (found, size_bytes) = hasher.finish();
    let found = DiffId::from_bytes(found);
    if found != expected {
        return Err(LayoutError::PulledDiffId {
            layer_idx,
            expected,
            found,
        });
    }
    file.rewind()
        .map_err(LayoutError::file("read a file in", spool_dir))?;
    Ok((file, size_bytes))
}

/// Writes what stood for a layer before Docker had diff IDs; tells the ID of the top one.
fn write_layer_directories(
    diff_ids: &[DiffId],
    config: &[u8],
    tar: &mut GoTar<'_>,
) -> Result<Option<String>, LayoutError> {
    let mut chain_id = String::new();
    let mut parent: Option<String> = None;
    for (layer_idx, diff_id) in diff_ids.iter().enumerate() {
        // The keys of a JSON object as Go writes a map: in byte order.
        let mut fields: BTreeMap<&str, String> = BTreeMap::new();
        if let Some(parent) = &parent {
            fields.insert("parent", format!("\"{parent}\""));
        }
        if layer_idx + 1 == diff_ids.len() {
            let raw = raw_fields(config);
            for key in TOP_LAYER_KEYS {
                fields.insert(
                    key,
                    raw.get(key).cloned().unwrap_or_else(|| "null".to_owned()),
                );
            }
        }
        chain_id = if chain_id.is_empty() {
            diff_id.to_string()
        } else {
            Digest::of(format!("{chain_id} {diff_id}").as_bytes()).to_string()
        };
        fields.insert("layer_id", format!("\"{chain_id}\""));
        let id = Digest::of(object(&fields).as_bytes()).hex();
        fields.remove("layer_id");
        fields.insert("id", format!("\"{id}\""));
        tar.link(
            &format!("{id}/layer.tar"),
            &format!("../{}", layer_file(*diff_id)),
        )?;
        tar.file(&format!("{id}/VERSION"), b"1.0")?;
        tar.file(&format!("{id}/json"), object(&fields).as_bytes())?;
        parent = Some(id);
    }
    Ok(parent)
}

fn object(fields: &BTreeMap<&str, String>) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(key, value)| format!("\"{key}\":{value}"))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// The fields of a JSON object, each value as its text stands there, but as Go's `encoding/json` writes a text that it was
/// given: without blanks, with `<`, `>`, `&` and two line separators of Unicode escaped. `json` was read as JSON before.
fn raw_fields(json: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(json);
    let mut fields = BTreeMap::new();
    let (mut key, mut value) = (String::new(), String::new());
    let (mut depth, mut in_string, mut is_escaped, mut in_value) = (0_usize, false, false, false);
    for c in text.chars() {
        let ends_value = depth == 1 && !in_string && matches!(c, ',' | '}');
        if ends_value {
            let name: String = serde_json::from_str(&key).unwrap_or_default();
            let kept = std::mem::take(&mut value);
            if in_value && kept != "null" {
                fields.insert(name, kept);
            }
            key.clear();
            in_value = false;
        }
        let is_blank = !in_string && matches!(c, ' ' | '\t' | '\n' | '\r');
        let is_delimiter = depth == 1 && !in_string && (c == ',' || c == ':' && !in_value);
        let is_outer = depth == 0 || ends_value && c == '}';
        if !is_blank && !is_delimiter && !is_outer {
            let part = if in_value { &mut value } else { &mut key };
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if in_value => {
                    part.extend(['\\', 'u']);
                    part.extend((0..4).rev().filter_map(|digit| {
                        char::from_digit(u32::from(c) >> (4 * digit) & 0xf, 16)
                    }));
                }
                _ => part.push(c),
            }
        }
        if depth == 1 && !in_string && c == ':' {
            in_value = true;
        }
        if in_string {
            in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
        } else {
            match c {
                '"' => in_string = true,
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    fields
}

/// Members as Go writes them.
struct GoTar<'a> {
    out: &'a mut dyn Write,
}

impl GoTar<'_> {
    fn file(&mut self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        self.start(name, content.len() as u64)?;
        self.out.write_all(content)?;
        self.end(content.len() as u64)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<(), LayoutError> {
        let mut header = header(name, 0, 0)?;
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_link_name_literal(target)?;
        self.header(header)
    }

    fn start(&mut self, name: &str, size_bytes: u64) -> Result<(), LayoutError> {
        if size_bytes > SIZE_MAX_BYTES {
            return Err(LayoutError::TooBig {
                path: name.into(),
                member: name.to_owned(),
                limit_bytes: SIZE_MAX_BYTES,
                found_bytes: size_bytes,
            });
        }
        self.header(header(name, 0o444, size_bytes)?)
    }

    fn end(&mut self, size_bytes: u64) -> Result<(), LayoutError> {
        let in_last = usize::try_from(size_bytes % BLOCK_BYTES as u64).unwrap_or(0);
        let padding = in_last.next_multiple_of(BLOCK_BYTES) - in_last;
        self.out.write_all(&[0; BLOCK_BYTES][..padding])?;
        Ok(())
    }

    fn header(&mut self, mut header: tar::Header) -> Result<(), LayoutError> {
        header.set_cksum();
        // Six digits, a NUL and a space, where the crate writes seven digits and a NUL.
        let sum = header.cksum()?;
        header
            .as_old_mut()
            .cksum
            .copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.out.write_all(header.as_bytes())?;
        Ok(())
    }
}

fn header(name: &str, mode: u32, size_bytes: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size_bytes);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_as_go_writes_them_again() {
        let json = r#" { "a" : { "x" : [ 1, "b, }:\" <" ] } ,
            "n":null, "t": true,"s" : "é & \u003c", "e":{} } "#;
        let fields = raw_fields(json.as_bytes());
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("a", r#"{"x":[1,"b, }:\" \u003c"]}"#),
                ("e", "{}"),
                ("s", r#""é \u0026 \u003c""#),
                ("t", "true"),
            ]
        );
        assert!(raw_fields(b"{}").is_empty());
    }

    #[test]
    fn headers_are_those_of_go() {
        let mut out = Vec::new();
        let mut tar = GoTar { out: &mut out };
        let hex = "b0cc6487ab553f4afec0084bdb0c7fb2e99eb625b9f11e3929c4a3cc9bd2f3ba";
        tar.start(&format!("{hex}.tar"), 3584).unwrap();
        // As skopeo 1.9 wrote it.
        let fields = b"0000444\x000000000\x000000000\x0000000007000\x0000000000000\x00021301\x00 0";
        assert_eq!(
            out[100..157].escape_ascii().to_string(),
            fields.escape_ascii().to_string()
        );
        assert_eq!(&out[257..265], b"ustar\x0000");
        assert_eq!(&out[329..345], b"0000000\x000000000\x00");
    }
}
