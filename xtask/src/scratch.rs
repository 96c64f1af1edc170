//! A temporary folder with the services that run in it. Both are gone when it is dropped, and after Ctrl-C.

use crate::command;
use crate::say::say;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a service has for an orderly end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folder and its services.
pub(crate) struct Scratch {
    dir: PathBuf,
    services: Arc<Mutex<Vec<Child>>>,
}

impl Scratch {
    /// Makes the folder, and arranges that Ctrl-C cleans up before it ends this program. One for each run.
    pub(crate) fn new() -> Result<Scratch> {
        let dir = tempfile::Builder::new().prefix("nixply-").tempdir()?.keep();
        let services = Arc::new(Mutex::new(Vec::new()));
        let (handled_dir, handled_services) = (dir.clone(), Arc::clone(&services));
        ctrlc::set_handler(move || {
            say("\nInterrupted: the services are ended and the temporary folder is removed.");
            clean_up(&handled_dir, &handled_services);
            leave();
        })?;
        Ok(Scratch { dir, services })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new folder in it.
    pub(crate) fn subdir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }

    /// A new folder in it that is kept in memory where this process may mount one, and else on disk.
    ///
    /// For the many small files of container images: to unpack, sync and remove them takes seconds on a disk.
    pub(crate) fn subdir_in_memory(&self, name: &str) -> Result<PathBuf> {
        let dir = self.subdir(name)?;
        // Where this is refused, it is only slower.
        let _ = command::output(command::command("mount", ["-t", "tmpfs", "tmpfs"]).arg(&dir))?;
        Ok(dir)
    }

    /// Starts a service that runs until this value is dropped. What it prints goes to `NAME.log`, whose path is returned.
    ///
    /// It gets a process group of its own, so that Ctrl-C does not reach it before its clients have ended.
    pub(crate) fn start_service(&self, name: &str, service: &mut Command) -> Result<PathBuf> {
        let log = self.dir.join(format!("{name}.log"));
        let file = fs::File::create(&log)?;
        let child = service
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command::shown(service)))?;
        self.services
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(child);
        Ok(log)
    }

    /// Ends the service that was started last.
    pub(crate) fn stop_last_service(&self) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut service) = services.pop() {
            stop(&mut service);
        }
    }

    /// Whether the service that was started last has ended by itself.
    pub(crate) fn last_service_ended(&self) -> bool {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services
            .last_mut()
            .is_none_or(|service| !matches!(service.try_wait(), Ok(None)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clean_up(&self.dir, &self.services);
    }
}

#[expect(
    clippy::exit,
    reason = "runs in the thread of the signal handler; the main thread may wait for a program"
)]
fn leave() -> ! {
    std::process::exit(130)
}

fn clean_up(dir: &Path, services: &Mutex<Vec<Child>>) {
    let mut services = services.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(mut service) = services.pop() {
        stop(&mut service);
    }
    unmount_below(dir);
    // Copies of store paths are read-only, which stops nobody but an ordinary user.
    if fs::remove_dir_all(dir).is_err() {
        let _ = command::output(command::command("chmod", ["-R", "u+w"]).arg(dir));
        let _ = fs::remove_dir_all(dir);
    }
}

fn stop(service: &mut Child) {
    // A negative number means the process group. The shell's own `kill` is on every system.
    let _ = command::output(&mut command::command(
        "sh",
        ["-c", &format!("kill -TERM -{}", service.id())],
    ));
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if !matches!(service.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = service.kill();
    let _ = service.wait();
}

/// Takes away mounts that a killed container runtime left, the innermost first.
fn unmount_below(dir: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount_point in mount_points_below(&table, dir).iter().rev() {
        let _ = command::output(&mut command::command("umount", ["--lazy", mount_point]));
    }
}

/// The fifth column of `/proc/self/mountinfo` (proc(5)) is the mount point.
fn mount_points_below(table: &str, dir: &Path) -> Vec<String> {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| Path::new(point).starts_with(dir))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_it_ends_the_services_and_removes_the_folder() {
        let scratch = Scratch::new().unwrap();
        let dir = scratch.dir().to_owned();
        scratch
            .start_service("sleeper", Command::new("sleep").arg("1000"))
            .unwrap();
        let pid = scratch.services.lock().unwrap()[0].id();
        let process = PathBuf::from(format!("/proc/{pid}"));
        assert!(dir.join("sleeper.log").exists());
        assert!(process.exists() || cfg!(not(target_os = "linux")));
        drop(scratch);
        assert!(!dir.exists());
        assert!(!process.exists());
    }

    #[test]
    fn only_mounts_below_the_folder_are_taken_away() {
        let table = "22 1 0:5 / /tmp/n/docker rw - overlay overlay rw\n23 1 0:6 / /tmp/nothing rw - tmpfs tmpfs rw\n";
        assert_eq!(
            mount_points_below(table, Path::new("/tmp/n")),
            ["/tmp/n/docker"]
        );
    }
}
