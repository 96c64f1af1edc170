//! The NAR hash of a tree, and how much is in it.
//!
//! The format is that of Nix's `nix-archive-1` (Eelco Dolstra, "The Purely Functional Software Deployment Model", figure 5.2).

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How much is read of a file at once.
const READ_BYTES: usize = 1 << 20;

/// What was found.
#[derive(Debug)]
pub(super) struct Nar {
    pub(super) sha256: [u8; 32],
    pub(super) size_bytes: u64,
    /// How many regular files there are.
    pub(super) files: u64,
    /// The bytes in them.
    pub(super) file_bytes: u64,
}

/// Reads a tree.
pub(super) fn read(path: &Path) -> Result<Nar> {
    let mut writer = Writer {
        sha256: Sha256::new(),
        size_bytes: 0,
        files: 0,
        file_bytes: 0,
        buffer: vec![0; READ_BYTES],
    };
    writer.text(b"nix-archive-1");
    writer.node(path)?;
    Ok(Nar {
        sha256: writer.sha256.finalize().into(),
        size_bytes: writer.size_bytes,
        files: writer.files,
        file_bytes: writer.file_bytes,
    })
}

struct Writer {
    sha256: Sha256,
    size_bytes: u64,
    files: u64,
    file_bytes: u64,
    buffer: Vec<u8>,
}

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    fn pad(&mut self, size_bytes: u64) {
        let padding = size_bytes.next_multiple_of(8) - size_bytes;
        for _ in 0..padding {
            self.bytes(&[0]);
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text);
        self.pad(text.len() as u64);
    }

    fn texts<const N: usize>(&mut self, texts: [&[u8]; N]) {
        for text in texts {
            self.text(text);
        }
    }

    fn node(&mut self, path: &Path) -> Result<()> {
        let failed = || format!("cannot read {}", path.display());
        let metadata = path.symlink_metadata().with_context(failed)?;
        self.texts([b"(", b"type"]);
        if metadata.is_symlink() {
            let target = fs::read_link(path).with_context(failed)?;
            self.texts([b"symlink", b"target", target.as_os_str().as_bytes()]);
        } else if metadata.is_dir() {
            self.text(b"directory");
            let entries = fs::read_dir(path).with_context(failed)?;
            let mut names = entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<Result<Vec<_>>>()?;
            names.sort();
            for name in names {
                self.texts([b"entry", b"(", b"name", name.as_bytes(), b"node"]);
                self.node(&path.join(&name))?;
                self.text(b")");
            }
        } else {
            self.text(b"regular");
            if metadata.permissions().mode() & 0o100 != 0 {
                self.texts([b"executable", b""]);
            }
            self.text(b"contents");
            self.contents(path, metadata.len()).with_context(failed)?;
        }
        self.text(b")");
        Ok(())
    }

    fn contents(&mut self, path: &Path, size_bytes: u64) -> Result<()> {
        self.bytes(&size_bytes.to_le_bytes());
        let mut file = File::open(path)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let got = file.read(&mut buffer)?;
            if got == 0 {
                break;
            }
            self.bytes(&buffer[..got]);
        }
        self.buffer = buffer;
        self.pad(size_bytes);
        self.files += 1;
        self.file_bytes += size_bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// The hash is that of `nix-store --dump` of the same tree.
    #[test]
    fn a_tree_has_the_hash_that_nix_gives_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "hello\n").unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("../b", dir.path().join("a/link")).unwrap();
        fs::write(dir.path().join("a/run"), "12345678").unwrap();
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path().join("a/run"), executable).unwrap();
        let nar = read(dir.path()).unwrap();
        assert_eq!((nar.files, nar.file_bytes), (2, 14));
        assert_eq!(
            HEXLOWER.encode(&nar.sha256),
            "d4f4c80b4d2228bc53e410d55df9fd617e108d0015636401d36363c2b74de2e1"
        );
    }
}
