//! Prints the diff IDs that the exact mode makes for the store layers of a dockerTools `conf.json`, one a line.
//!
//! `cargo run -p nixply-layer --example exact_mode -- conf.json [STORE]`; STORE is where the store directory lies. The
//! lines are to be compared with the `rootfs.diff_ids` of the image that dockerTools made from the same file.

use nixply_layer::{
    Compression, CompressionPool, DockerToolsHeader, LayerContents, LayerFormat, LayerSpec,
    StorePathContent, StoreRoot, write_layer,
};
use nixply_store::{NarHash, StoreDir};
use serde::Deserialize;
use std::error::Error;
use std::io::{self, Write};

/// The fields of `conf.json` that store layers follow from.
#[derive(Deserialize)]
struct Conf {
    store_dir: String,
    store_layers: Vec<Vec<String>>,
    created: String,
    /// Newer versions: the time of the files, apart from the image's.
    mtime: Option<String>,
    uid: serde_json::Value,
    gid: serde_json::Value,
    uname: String,
    gname: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let conf = arguments.next().ok_or("expected the path of a conf.json")?;
    let conf: Conf = serde_json::from_slice(&std::fs::read(conf)?)?;
    let store_dir = StoreDir::new(&conf.store_dir)?;
    let store = match arguments.next() {
        Some(physical) => StoreRoot::new(store_dir.clone(), physical.into()),
        None => StoreRoot::at_own_path(store_dir.clone()),
    };
    let format = LayerFormat::DockerTools(DockerToolsHeader {
        mtime_secs: epoch_secs(conf.mtime.as_deref().unwrap_or(&conf.created))?,
        uid: number(&conf.uid)?,
        gid: number(&conf.gid)?,
        uname: conf.uname,
        gname: conf.gname,
    });
    let pool = CompressionPool::new(1)?;
    let mut stdout = io::stdout().lock();
    for layer in &conf.store_layers {
        let content = |path: &String| -> Result<StorePathContent, Box<dyn Error>> {
            Ok(StorePathContent {
                path: store_dir.parse(path)?,
                // Only keys and weights need these two.
                nar_hash: NarHash::from_bytes([0; 32]),
                nar_size_bytes: 0,
                permissions: Vec::new(),
            })
        };
        let spec = LayerSpec {
            contents: LayerContents::Store {
                store_dir: store_dir.clone(),
                paths: layer.iter().map(content).collect::<Result<_, _>>()?,
            },
            format: format.clone(),
            compression: Compression::None,
        };
        let record = write_layer(&spec, &store, &pool, &mut io::sink())?;
        writeln!(stdout, "{}", record.diff_id)?;
    }
    Ok(())
}

/// dockerTools writes numbers, or texts that Python's `int` reads.
fn number(value: &serde_json::Value) -> Result<u64, Box<dyn Error>> {
    match (value.as_u64(), value.as_str()) {
        (Some(number), _) => Ok(number),
        (None, Some(text)) => Ok(text.parse()?),
        _ => Err(format!("expected an ID, found {value}").into()),
    }
}

/// Seconds since 1970 of `YYYY-MM-DDThh:mm:ss` and an offset: `Z` or `+hh:mm`.
fn epoch_secs(text: &str) -> Result<u64, Box<dyn Error>> {
    let part = |from: usize, to: usize| -> Result<i64, Box<dyn Error>> {
        Ok(text.get(from..to).ok_or("the time is too short")?.parse()?)
    };
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let seconds_of_day = part(11, 13)? * 3600 + part(14, 16)? * 60 + part(17, 19)?;
    let offset = match text.get(19..).unwrap_or_default() {
        "" | "Z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            sign * (part(20, 22)? * 3600 + part(23, 25)? * 60)
        }
    };
    // Days since 1970 in the Gregorian calendar, the year counted from March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Ok(u64::try_from(days * 86_400 + seconds_of_day - offset)?)
}
