//! One compiler process, from its start to its end.

use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Of what a child says. An answer is a few sentences.
const OUTPUT_BYTES_MAX: u64 = 256 << 10;

/// Of how a child died, in its own words.
const LAST_WORDS_CHARS_MAX: usize = 200;

/// What the compiler may run at once in a child. More costs memory and gains little.
pub(super) const THREADS_MAX: usize = 8;

/// Where the program may find its libraries: all that a child gets of the host's environment.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// What Rust's runtime says where an allocation fails, before it aborts.
const NO_MEMORY: &str = "memory allocation of";

/// What it exits with after a panic.
const PANICKED: i32 = 101;

/// What a child is to do.
pub(super) struct Order<'a> {
    pub(super) program: &'a Path,
    /// The file that it shall write to.
    pub(super) artefact: &'a Path,
    pub(super) time_max: Duration,
    pub(super) memory_bytes_max: u64,
}

/// What a child says at its end, as JSON.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// The artefact is written.
    Taken,
    /// The file is at fault; reads on from its name.
    Refused(String),
    /// The system gave no more memory.
    OutOfMemory,
    /// Something else is.
    Failed(String),
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answered(Answer),
    TimedOut,
    OutOfMemory,
    /// By a signal or a panic; says which.
    Died(String),
    /// Without dying, and without an answer.
    Strange(String),
}

/// Runs a child on a plugin's bytes.
pub(super) fn run(order: &Order<'_>, bytes: &[u8]) -> io::Result<Ended> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new(order.program);
    command
        .args(["plugin", "compile-child", "--artefact"])
        .arg(order.artefact)
        .arg("--memory")
        .arg(order.memory_bytes_max.to_string())
        .arg("--seconds")
        .arg(order.time_max.as_secs().max(1).to_string())
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.min(THREADS_MAX).to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(folders) = std::env::var_os(LIBRARIES) {
        command.env(LIBRARIES, folders);
    }
    let mut child = command.spawn()?;
    let outputs = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = (collect(outputs.0), collect(outputs.1));
    let status = std::thread::scope(|scope| {
        let mut stdin = child.stdin.take();
        // A child that ends early does not read everything; how it ended tells why. The pipe is
        // closed at the end of the thread, which is the end of the file.
        scope.spawn(move || stdin.as_mut().map(|pipe| pipe.write_all(bytes)));
        wait(&mut child, order.time_max)
    })?;
    let (stdout, stderr) = (text(stdout), text(stderr));
    Ok(match status {
        None => Ended::TimedOut,
        Some(status) => judge(status, &stdout, &stderr),
    })
}

/// Waits for a child's end, and brings it about where its time is over.
fn wait(child: &mut Child, time_max: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= time_max {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::park_timeout(POLL);
    }
}

fn judge(status: ExitStatus, stdout: &str, stderr: &str) -> Ended {
    let last_words = last_words(stderr);
    match (status.code(), status.signal()) {
        (Some(0), _) => match serde_json::from_str(stdout) {
            Ok(answer) => Ended::Answered(answer),
            Err(error) => Ended::Strange(format!("its answer cannot be read: {error}")),
        },
        (None, _) if stderr.contains(NO_MEMORY) => Ended::OutOfMemory,
        (None, Some(SIGXCPU)) => Ended::TimedOut,
        (None, Some(SIGKILL)) => Ended::Died(
            "somebody killed it, and that may be the system, for want of memory".to_owned(),
        ),
        (None, Some(signal)) => Ended::Died(format!("signal {signal}{last_words}")),
        (Some(PANICKED), _) => Ended::Died(format!("a panic{last_words}")),
        _ => Ended::Strange(format!("{status}{last_words}")),
    }
}

/// What a dying child said, in one line to read on.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("note: "))
        .collect();
    let words: String = lines
        .join(", ")
        .chars()
        .take(LAST_WORDS_CHARS_MAX)
        .collect();
    if words.is_empty() {
        words
    } else {
        format!(": {words}")
    }
}

/// Reads a pipe to its end, so that the child never waits for its reader, and keeps the start.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut pipe) = pipe {
            // What could not be read is missing, and an answer with a part missing is none.
            let read = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut kept);
            if read.is_ok() {
                drop(io::copy(&mut pipe, &mut io::sink()));
            }
        }
        kept
    })
}

fn text(reader: JoinHandle<Vec<u8>>) -> String {
    let bytes = reader.join().expect("a reader does nothing that can panic");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_child_is_told_by_how_it_ended() {
        let signal = ExitStatus::from_raw;
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        let died = |text: &str| Ended::Died(text.to_owned());
        let cases = [
            (code(0), "\"taken\"", "", Ended::Answered(Answer::Taken)),
            (
                code(0),
                r#"{"refused":"is bad"}"#,
                "",
                Ended::Answered(Answer::Refused("is bad".to_owned())),
            ),
            (
                signal(6),
                "",
                "memory allocation of 64 bytes failed",
                Ended::OutOfMemory,
            ),
            (
                signal(6),
                "",
                "\nthread 'main' (7) has overflowed its stack\nfatal runtime error: abort\n",
                died(
                    "signal 6: thread 'main' (7) has overflowed its stack, fatal runtime error: abort",
                ),
            ),
            (signal(11), "", "", died("signal 11")),
            (signal(24), "", "", Ended::TimedOut),
            (code(101), "", "oh\nnote: more", died("a panic: oh")),
            (
                code(2),
                "",
                "error: unknown",
                Ended::Strange("exit status: 2: error: unknown".to_owned()),
            ),
        ];
        for (status, stdout, stderr, expected) in cases {
            assert_eq!(judge(status, stdout, stderr), expected, "{status}");
        }
        assert!(matches!(judge(code(0), "hello", ""), Ended::Strange(_)));
        assert!(matches!(judge(signal(9), "", ""), Ended::Died(_)));
    }

    #[test]
    fn a_child_that_says_much_is_heard_to_the_end_and_kept_in_part() {
        let much = vec![b'x'; 3 * usize::try_from(OUTPUT_BYTES_MAX).expect("small")];
        let kept = text(collect(Some(io::Cursor::new(much))));
        assert_eq!(kept.len() as u64, OUTPUT_BYTES_MAX);
    }
}
