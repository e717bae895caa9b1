use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// What the sink does with the next write.
enum Step {
    Takes(usize),
    Fails(io::ErrorKind),
}

/// Does as it is told, one step a write, and takes everything once there are none left.
#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.steps.pop_front() {
            None => bytes.len(),
            Some(Step::Takes(taken)) => taken.min(bytes.len()),
            Some(Step::Fails(kind)) => return Err(kind.into()),
        };
        let mut written = self.written.lock().expect("no writer panics");
        written.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that takes nothing until it is let go.
struct Stalled {
    go: Receiver<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // From then on, nothing holds it up.
        self.go.recv().ok();
        let mut written = self.written.lock().expect("no writer panics");
        written.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

fn text(written: &Mutex<Vec<u8>>) -> String {
    let written = written.lock().expect("no writer panics").clone();
    String::from_utf8(written).expect("text")
}

fn say_nothing(_: u64) {}

/// Puts lines one by one, each written before the next, and answers what arrived and how many
/// lines were dropped.
fn written(steps: Vec<Step>, lines: &[&str]) -> (String, u64) {
    let script = Script {
        steps: steps.into(),
        ..Script::default()
    };
    let written = Arc::clone(&script.written);
    let outlet = Outlet::start(script, say_nothing).expect("a thread");
    for line in lines {
        outlet.put(line.as_bytes());
        outlet.flush(PATIENCE);
    }
    (text(&written), outlet.dropped())
}

#[test]
fn what_cannot_be_written_is_dropped_counted_and_ends_nothing() {
    use Step::{Fails, Takes};
    use io::ErrorKind::{BrokenPipe, Interrupted, StorageFull, WouldBlock};
    let cases = [
        ("nothing is wrong", vec![], "one\ntwo\nthree\n", 0),
        (
            "the reader is away for a line",
            vec![Takes(9), Fails(BrokenPipe)],
            "one\nthree\n",
            1,
        ),
        (
            "the disk is full in the middle of a line",
            vec![Takes(9), Takes(1), Fails(StorageFull)],
            "one\nt\nthree\n",
            1,
        ),
        (
            "the disk stays full after half a line",
            vec![Takes(2), Fails(StorageFull), Fails(StorageFull)],
            "on\nthree\n",
            2,
        ),
        (
            "a signal, and a descriptor that does not wait",
            vec![Fails(Interrupted), Takes(1), Fails(WouldBlock)],
            "one\ntwo\nthree\n",
            0,
        ),
    ];
    for (name, steps, expected, dropped) in cases {
        let found = written(steps, &["one\n", "two\n", "three\n"]);
        assert_eq!(found, (expected.to_owned(), dropped), "{name}");
    }
}

#[test]
fn a_reader_that_stalls_holds_nobody_up_and_is_told_what_it_missed() {
    static TOLD: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    let written = Arc::new(Mutex::default());
    let sink = Stalled {
        go: wait,
        written: Arc::clone(&written),
    };
    let tell = |lines| TOLD.lock().expect("no writer panics").push(lines);
    let outlet = Outlet::start(sink, tell).expect("a thread");
    let line = [&b"x".repeat(1023)[..], b"\n"].concat();
    // Twice the buffer is always more than what fits into it and what the thread has taken.
    let lines = 3 * BUFFER_BYTES_MAX / line.len();
    for _ in 0..lines {
        outlet.put(&line);
    }
    let dropped = outlet.dropped();
    assert!(
        dropped >= (BUFFER_BYTES_MAX / line.len()) as u64,
        "{dropped}"
    );

    drop(go);
    outlet.flush(PATIENCE);
    let arrived = text(&written).lines().count() as u64;
    assert_eq!(arrived + dropped, lines as u64);
    assert_eq!(*TOLD.lock().expect("no writer panics"), [dropped]);
}

#[test]
fn lines_of_json_stay_json_and_show_nothing_hidden() {
    let script = Script::default();
    let written = Arc::clone(&script.written);
    let outlet = Outlet::start(script, say_nothing).expect("a thread");
    let value = serde_json::json!({ "message": "a\u{202e}\u{9b}\u{e0041}b\n" });
    let mut writer = outlet.clone().json();
    writeln!(writer.make_writer(), "{value}").expect("it never fails");
    writer
        .write_all(format!("{value}\n").as_bytes())
        .expect("it never fails");
    outlet.flush(PATIENCE);
    let text = text(&written);
    for line in text.lines() {
        assert!(!line.contains(printable::is_hidden), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(read, value);
    }
}
