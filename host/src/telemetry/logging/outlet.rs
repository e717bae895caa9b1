//! Where lines leave the process: a bounded buffer, and one thread that writes it out.
//!
//! Guarantees: whoever logs copies a line and goes on. Where the buffer is full, or the write
//! fails, lines are dropped and counted; once lines are written again, one says how many were.
//!
//! Not here: what a line looks like (`logging`).
//!
//! On failure: a write that never returns holds up this thread alone. A line that was written in
//! part before an error is ended before the next one.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::printable;

/// A second of a host that logs all it can, and all that a stalled reader costs in memory: twice
/// this.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// How soon a descriptor that somebody has made non-blocking is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Takes lines. Cloning it shares the buffer.
#[derive(Clone)]
pub(super) struct Outlet {
    shared: Arc<Shared>,
    is_json: bool,
}

struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
    emptied: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Buffer {
    /// Whole lines.
    bytes: Vec<u8>,
    /// The thread has taken lines, and is not done with them.
    is_writing: bool,
}

/// The thread's side.
struct Drain<W> {
    shared: Arc<Shared>,
    sink: W,
    /// What was written last has not ended its line.
    is_torn: bool,
    /// Of the dropped lines, those that were told of.
    told: u64,
    tell: fn(u64),
}

impl Outlet {
    /// `tell` is called from the thread, and is to log that so many lines were dropped.
    pub(super) fn start(sink: impl Write + Send + 'static, tell: fn(u64)) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let drain = Drain {
            shared: Arc::clone(&shared),
            sink,
            is_torn: false,
            told: 0,
            tell,
        };
        // It ends with the process: whoever logs last does not know that.
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || drain.run())?;
        Ok(Outlet {
            shared,
            is_json: false,
        })
    }

    /// The same, for lines that are JSON.
    pub(super) fn json(self) -> Self {
        Outlet {
            is_json: true,
            ..self
        }
    }

    /// Takes whole lines, or drops them.
    pub(super) fn put(&self, lines: &[u8]) {
        let mut buffer = self.shared.buffer();
        if buffer.bytes.len() + lines.len() > BUFFER_BYTES_MAX {
            drop(buffer);
            self.shared.drop_lines(lines);
            return;
        }
        buffer.bytes.extend_from_slice(lines);
        drop(buffer);
        self.shared.filled.notify_one();
    }

    /// Waits until everything is written or dropped, at most so long.
    pub(super) fn flush(&self, limit: Duration) {
        let busy = |buffer: &mut Buffer| buffer.is_writing || !buffer.bytes.is_empty();
        let buffer = self.shared.buffer();
        let waited = self.shared.emptied.wait_timeout_while(buffer, limit, busy);
        // What is not written by now is lost.
        drop(waited);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().expect("nothing panics under this lock")
    }

    fn drop_lines(&self, bytes: &[u8]) {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

impl<W: Write> Drain<W> {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut taken = Vec::new();
        loop {
            let mut buffer = shared.buffer();
            while buffer.bytes.is_empty() {
                buffer = shared
                    .filled
                    .wait(buffer)
                    .expect("nothing panics under this lock");
            }
            std::mem::swap(&mut buffer.bytes, &mut taken);
            buffer.is_writing = true;
            drop(buffer);

            self.write(&taken);
            taken.clear();
            shared.buffer().is_writing = false;
            shared.emptied.notify_all();
        }
    }

    /// Writes lines, and tells of those that were lost before.
    fn write(&mut self, lines: &[u8]) {
        if self.is_torn && self.write_all(b"\n").is_err() {
            self.shared.drop_lines(lines);
            return;
        }
        if let Err(unwritten) = self.write_all(lines) {
            self.shared.drop_lines(&lines[lines.len() - unwritten..]);
            return;
        }
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let news = dropped - self.told;
        if news > 0 {
            self.told = dropped;
            (self.tell)(news);
        }
    }

    /// Writes all, or answers how many bytes could not be.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Ok(0) => return Err(rest.len()),
                Ok(written) => {
                    self.is_torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::park_timeout(RETRY);
                }
                Err(_) => return Err(rest.len()),
            }
        }
        Ok(())
    }
}

impl MakeWriter<'_> for Outlet {
    type Writer = Outlet;

    fn make_writer(&self) -> Outlet {
        self.clone()
    }
}

/// A subscriber writes each event at once, as a whole line.
impl Write for Outlet {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.is_json.then(|| std::str::from_utf8(line)) {
            Some(Ok(text)) => self.put(printable::json(text).as_bytes()),
            Some(Err(_)) | None => self.put(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "outlet/tests.rs"]
mod tests;
