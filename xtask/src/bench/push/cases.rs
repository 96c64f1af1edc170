//! The cases, each a function that measures and adds its figures.

use super::peer::{Peer, PeerUsage};
use super::report::Row;
use super::world::{World, gigabytes, processors};
use crate::command::{command, output};
use crate::install::is_root;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::FileExt;

/// A case by name.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) measure: fn(&World) -> Result<()>,
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "cold",
        measure: cold,
    },
    Case {
        name: "floor",
        measure: floor,
    },
    Case {
        name: "disk",
        measure: disk,
    },
    Case {
        name: "unchanged",
        measure: unchanged,
    },
    Case {
        name: "changed",
        measure: changed,
    },
    Case {
        name: "project-b",
        measure: project_b,
    },
    Case {
        name: "big-file",
        measure: big_file,
    },
];

/// A compression, how many times faster than the peer it is to be when nothing is there, and how many times the peer's bytes
/// it may make.
const COLD: [(&str, f64, f64); 4] = [
    ("gzip", 3.0, 1.0),
    ("gzip:1", 4.0, 1.05),
    ("zstd:3", 5.0, 0.9),
    ("zstd:1", 6.0, 1.0),
];

/// How much of the floor or of the disk's rate is to be reached.
const FLOOR_SHARE: f64 = 0.85;

/// The readers that the disk is measured with.
const READERS: &str = "8";

/// Where the layer index of a fleet is, below a registry.
const FLEET_INDEX: &str = "fleet/index:layers";

fn rounds(world: &World) -> usize {
    if world.is_quick { 1 } else { 3 }
}

fn least(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn all(seconds: &[f64]) -> String {
    let all: Vec<String> = seconds.iter().map(|s| format!("{s:.1}")).collect();
    all.join(", ")
}

/// The first push of an image into an empty registry.
fn cold(world: &World) -> Result<()> {
    let paths = world.store.with(&world.store.app[0]);
    let closure = world.closure("cold", &paths)?;
    let mut peer_runs: Vec<PeerUsage> = Vec::new();
    let mut peer_bytes = 0;
    let mut runs: [Vec<f64>; COLD.len()] = Default::default();
    let mut bytes = [0; COLD.len()];
    for _ in 0..rounds(world) {
        if let Ok(script) = &world.peer_script {
            world.warm()?;
            let registry = world.distribution()?;
            let peer = Peer::new(script.clone(), &world.store, &paths, world.scratch.dir())?;
            peer_runs.push(peer.push(&format!("{}/peer:v1", registry.host))?);
            peer_bytes = registry.blob_bytes()?;
        }
        for (n, (compression, ..)) in COLD.iter().enumerate() {
            world.warm()?;
            let registry = world.distribution()?;
            let reference = format!("{}/cold:v1", registry.host);
            let pushed = world.push(&closure, &reference, &["--compression", compression])?;
            runs[n].push(pushed.usage.wall.as_secs_f64());
            bytes[n] = registry.blob_bytes()?;
        }
    }
    let peer_seconds: Vec<f64> = peer_runs.iter().map(PeerUsage::wall_seconds).collect();
    if let Some(peer) = peer_runs.first() {
        world.add(Row::told(
            "the peer, cold",
            format!(
                "{} s; {:.0} s of CPU; {:.0} MB sent; {:.0} MB of memory",
                all(&peer_seconds),
                peer.cpu_seconds(),
                gigabytes(peer_bytes) * 1e3,
                gigabytes(peer.peak_bytes()) * 1e3,
            ),
        ));
    }
    for (n, (compression, times, most_bytes)) in COLD.iter().enumerate() {
        let case = format!("cold, {compression}");
        let target = format!("{times}x, {most_bytes} of the peer's bytes");
        let own = format!("{} s, {:.0} MB", all(&runs[n]), gigabytes(bytes[n]) * 1e3);
        match &world.peer_script {
            Ok(_) => {
                let speed = least(&peer_seconds) / least(&runs[n]);
                let share = gigabytes(bytes[n]) / gigabytes(peer_bytes);
                world.add(Row::new(
                    case,
                    format!("{speed:.2}x ({own}), {share:.3} of the peer's bytes"),
                    &target,
                    speed >= *times && share <= *most_bytes,
                ));
            }
            Err(why) => world.add(Row::skipped(format!("{case} ({own})"), &target, why)),
        }
    }
    Ok(())
}

/// A push into a registry that only counts, against the work that nobody can leave out.
fn floor(world: &World) -> Result<()> {
    let closure = world.closure("floor", &world.store.with(&world.store.app[0]))?;
    let file = closure.display().to_string();
    for (compression, ..) in COLD {
        let mut runs = Vec::new();
        let mut floors = Vec::new();
        for _ in 0..rounds(world) {
            world.warm()?;
            let registry = world.counting()?;
            let reference = format!("{}/floor:v1", registry.host);
            let pushed = world.push(&closure, &reference, &["--compression", compression])?;
            runs.push(pushed.usage.wall.as_secs_f64());
            drop(registry);
            let lines = world.floor_lines(&["hash-and-compress", &file, compression])?;
            let cpu: f64 = number(&lines, 1)?;
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            floors.push(cpu / processors() as f64);
        }
        let share = least(&floors) / least(&runs);
        world.add(Row::new(
            format!("{compression} against the floor"),
            format!(
                "{:.1} % ({} s, the floor {} s)",
                share * 100.0,
                all(&runs),
                all(&floors)
            ),
            "85 %",
            share >= FLOOR_SHARE,
        ));
    }
    Ok(())
}

fn number(lines: &[Vec<String>], column: usize) -> Result<f64> {
    let word = lines.first().and_then(|line| line.get(column));
    Ok(word.context("push_floor printed too little")?.parse()?)
}

/// A push whose files are not in memory yet.
fn disk(world: &World) -> Result<()> {
    let (case, target) = ("cold disk, no compression", "85 % of 8 readers");
    if !is_root() {
        world.add(Row::skipped(
            case,
            target,
            "only root can drop the page cache",
        ));
        return Ok(());
    }
    let drop_caches = || -> Result<()> {
        output(&mut command("sync", [""; 0]))?;
        Ok(fs::write("/proc/sys/vm/drop_caches", "3")?)
    };
    let closure = world.closure("disk", &world.store.with(&world.store.app[0]))?;
    let push = |compression: &str| -> Result<f64> {
        let registry = world.counting()?;
        let reference = format!("{}/disk:v1", registry.host);
        let pushed = world.push(&closure, &reference, &["--compression", compression])?;
        Ok(pushed.usage.wall.as_secs_f64())
    };
    let store = world.store.dir.display().to_string();
    let image: u64 = world
        .store
        .with(&world.store.app[0])
        .iter()
        .map(|made| made.file_bytes)
        .sum();
    let mut readers = Vec::new();
    let mut runs = Vec::new();
    let mut compressed = Vec::new();
    for _ in 0..rounds(world) {
        drop_caches()?;
        let lines = world.floor_lines(&["read", &store, READERS])?;
        readers.push(number(&lines, 0)? / 1e6 / number(&lines, 1)?);
        drop_caches()?;
        runs.push(gigabytes(image) * 1e3 / push("none")?);
        drop_caches()?;
        compressed.push(push("gzip")?);
    }
    let most = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let share = most(&runs) / most(&readers);
    world.add(Row::new(
        case,
        format!(
            "{:.1} % ({} MB/s; 8 readers {} MB/s)",
            share * 100.0,
            all(&runs),
            all(&readers)
        ),
        target,
        share >= FLOOR_SHARE,
    ));
    world.warm()?;
    let warm = push("gzip")?;
    world.add(Row::told(
        "cold disk, gzip (bound by the processors)",
        format!(
            "{} s; {warm:.1} s with the files in memory",
            all(&compressed)
        ),
    ));
    Ok(())
}

/// A fresh runner pushes an image that has not changed, under a tag that is new.
fn unchanged(world: &World) -> Result<()> {
    let paths = world.store.with(&world.store.app[0]);
    let closure = world.closure("unchanged", &paths)?;
    let registry = world.distribution()?;
    let reference = |tag: &str| format!("{}/unchanged:{tag}", registry.host);
    world.push(&closure, &reference("first"), &[])?;
    let mut runs = Vec::new();
    for n in 0..5 {
        let pushed = world.push(&closure, &reference(&format!("commit-{n}")), &[])?;
        runs.push(pushed.usage.wall.as_secs_f64());
    }
    runs.sort_by(f64::total_cmp);
    let median = runs[runs.len() / 2];
    let milliseconds: Vec<f64> = runs.iter().map(|seconds| seconds * 1e3).collect();
    let target = "below 150 ms";
    world.add(Row::new(
        "fresh runner, unchanged, new tag",
        format!("{:.0} ms (median of {})", median * 1e3, all(&milliseconds)),
        target,
        median < 0.150,
    ));
    let case = "files of the store opened for that";
    match world.traced_push(&closure, &reference("traced"), &[])? {
        Some(opened) => world.add(Row::new(
            case,
            opened.len().to_string(),
            "0",
            opened.is_empty(),
        )),
        None => world.add(Row::skipped(case, "0", "strace is missing")),
    }
    let case = "fresh runner, unchanged, against the peer";
    match &world.peer_script {
        Ok(script) => {
            let peer = Peer::new(script.clone(), &world.store, &paths, world.scratch.dir())?;
            peer.push(&format!("{}/peer:v1", registry.host))?;
            let again = peer.push(&format!("{}/peer:v2", registry.host))?;
            let times = again.wall_seconds() / median;
            world.add(Row::new(
                case,
                format!("{times:.0}x (the peer {:.1} s)", again.wall_seconds()),
                "300x",
                times >= 300.0,
            ));
        }
        Err(why) => world.add(Row::skipped(case, "300x", why)),
    }
    Ok(())
}

/// A fresh runner pushes an image in which the program alone has changed.
fn changed(world: &World) -> Result<()> {
    let [old, new] = &world.store.app;
    let first = world.closure("first", &world.store.with(old))?;
    let second = world.closure("second", &world.store.with(new))?;
    let alone = world.closure("alone", &[new])?;
    let registry = world.distribution()?;
    let mut runs = Vec::new();
    let mut alone_runs = Vec::new();
    for n in 0..3 {
        // A repository each time, or the registry would have the new layer; the first push is not measured.
        let repository = format!("{}/changed-{n}", registry.host);
        world.push(
            &first,
            &format!("{repository}:v1"),
            &["--compression", "zstd:1"],
        )?;
        let pushed = world.push(
            &second,
            &format!("{repository}:v2"),
            &["--compression", "zstd:1"],
        )?;
        runs.push(pushed.usage.wall.as_secs_f64());
        let lone = format!("{}/alone-{n}:v1", registry.host);
        let pushed = world.push(&alone, &lone, &["--compression", "zstd:1"])?;
        alone_runs.push(pushed.usage.wall.as_secs_f64());
    }
    let times = least(&runs) / least(&alone_runs);
    world.add(Row::new(
        "one path of 30 MB changed, against making and sending that layer alone",
        format!(
            "{times:.2} ({:.0} ms and {:.0} ms)",
            least(&runs) * 1e3,
            least(&alone_runs) * 1e3
        ),
        "1.3",
        times <= 1.3,
    ));
    let case = "files opened outside the changed layer";
    let repository = format!("{}/changed-traced", registry.host);
    world.push(
        &first,
        &format!("{repository}:v1"),
        &["--compression", "zstd:1"],
    )?;
    let opened = world.traced_push(
        &second,
        &format!("{repository}:v2"),
        &["--compression", "zstd:1"],
    )?;
    let Some(opened) = opened else {
        world.add(Row::skipped(case, "0", "strace is missing"));
        return Ok(());
    };
    let (inside, outside): (Vec<&String>, Vec<&String>) = opened
        .iter()
        .partition(|line| line.contains(&new.base_name));
    ensure!(
        !inside.is_empty(),
        "strace shows no file of the changed layer: it does not see what is opened"
    );
    world.add(Row::new(
        case,
        format!("{} ({} inside)", outside.len(), inside.len()),
        "0",
        outside.is_empty(),
    ));
    Ok(())
}

/// The first push of a project whose fleet has pushed most of its layers to another repository.
fn project_b(world: &World) -> Result<()> {
    let store = &world.store;
    let a = world.closure("project-a", &store.with(&store.app[0]))?;
    let b = world.closure("project-b", &store.with(&store.other_app))?;
    let registry = world.distribution()?;
    let index = format!("{}/{FLEET_INDEX}", registry.host);
    let options = ["--compression", "zstd:1", "--layer-index", &index];
    world.push(&a, &format!("{}/project-a:v1", registry.host), &options)?;
    let pushed = world.push(&b, &format!("{}/project-b:v1", registry.host), &options)?;
    let layers = pushed.result["layers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let count = |outcome: &str| {
        layers
            .iter()
            .filter(|layer| layer["outcome"] == outcome)
            .count()
    };
    let (uploaded, mounted) = (count("uploaded"), count("mounted"));
    world.add(Row::new(
        "first push of project B after project A, layers",
        format!(
            "{uploaded} sent, {mounted} mounted of {}, {:.0} ms",
            layers.len(),
            pushed.usage.wall.as_secs_f64() * 1e3
        ),
        "1 sent",
        uploaded == 1 && mounted == layers.len() - 1,
    ));
    let case = "files opened outside B's own layer";
    match world.traced_push(&b, &format!("{}/project-c:v1", registry.host), &options)? {
        Some(opened) => {
            let own = &store.other_app.base_name;
            let outside = opened.iter().filter(|line| !line.contains(own)).count();
            world.add(Row::new(case, outside.to_string(), "0", outside == 0));
        }
        None => world.add(Row::skipped(case, "0", "strace is missing")),
    }
    Ok(())
}

/// An image with a file of 8 GB, for its peak memory.
fn big_file(world: &World) -> Result<()> {
    let size_bytes: u64 = if world.is_quick { 1 << 28 } else { 8 << 30 };
    let mut made = world.store.app[0].clone();
    made.base_name = format!("{}-big", "0".repeat(32));
    made.nar_size_bytes = size_bytes;
    // In the scratch folder's own store, which goes with it.
    let dir = world.scratch.subdir("big-store")?;
    let file = fs::File::create(dir.join(&made.base_name))?;
    file.set_len(size_bytes)?;
    // Sparse, so that it costs no disk, with as many bytes that do not repeat as make layers of some size.
    let step_bytes = 1 << 20;
    let mut noise = 1_u64;
    for at in (0..size_bytes).step_by(step_bytes) {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            noise.to_be_bytes()[0]
        })
        .take(16 << 10)
        .collect();
        file.write_all_at(&bytes, at)?;
    }
    let closure = world.scratch.dir().join("big.json");
    let path = dir.join(&made.base_name).display().to_string();
    let infos = serde_json::json!([{
        "path": path, "narHash": made.nar_hash, "narSize": made.nar_size_bytes, "references": [],
    }]);
    fs::write(&closure, infos.to_string())?;
    for compression in ["gzip", "zstd:3"] {
        let registry = world.counting()?;
        let reference = format!("{}/big-file:v1", registry.host);
        let pushed = world.push(&closure, &reference, &["--compression", compression])?;
        world.add(Row::told(
            format!("one file of {:.1} GB, {compression}", gigabytes(size_bytes)),
            format!(
                "{:.1} s, {:.0} MiB of memory",
                pushed.usage.wall.as_secs_f64(),
                super::world::mebibytes(pushed.usage.peak_bytes)
            ),
        ));
    }
    Ok(())
}
