//! Programs that are waited for, but not for ever.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long is waited for what a helper said after it has ended: a program that it left behind may hold the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// The pauses between looks at whether a helper has ended.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The most that is read of an answer. Tokens of cloud providers have a few thousand bytes.
const ANSWER_MAX_BYTES: u64 = 1 << 20;

/// A program that has ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs a program to its end with these bytes as its standard input; `None` if it did not end in time.
pub(super) fn run(
    file: &Path,
    action: &str,
    input: &str,
    limit: Duration,
) -> io::Result<Option<Ended>> {
    let deadline = Instant::now() + limit;
    let mut child = Command::new(file)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // A helper that does not read would hold up who writes more than a pipe takes. One that ends without reading
        // breaks the pipe, and says itself what is wrong.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    }
    let stdout = read_in_background(child.stdout.take());
    let stderr = read_in_background(child.stderr.take());
    let Some(status) = wait(&mut child, deadline)? else {
        // Both fail only for a process that has ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        return Ok(None);
    };
    let until = Instant::now() + OUTPUT_GRACE;
    let output = |bytes: &Receiver<Vec<u8>>| {
        let left = until.saturating_duration_since(Instant::now());
        bytes.recv_timeout(left).unwrap_or_default()
    };
    Ok(Some(Ended {
        status,
        stdout: output(&stdout),
        stderr: output(&stderr),
    }))
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let (mut pause, longest_pause) = PAUSES;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = longest_pause.min(pause * 2);
    }
}

fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (bytes, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut all = Vec::new();
            // What was read before an error still says something; the rest is read so that the helper can end.
            let _ = pipe.by_ref().take(ANSWER_MAX_BYTES).read_to_end(&mut all);
            let _ = io::copy(&mut pipe, &mut io::sink());
            // Nobody waits any more for a helper that was ended.
            let _ = bytes.send(all);
        });
    }
    receiver
}
