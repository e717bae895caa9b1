//! What a process has used, from `/proc` (Linux only).

use std::time::Duration;

use anyhow::Context as _;

/// Ticks of `/proc/PID/stat` in a second. The kernel tells user space this rate whatever its own.
const TICKS_PER_SECOND: u64 = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of all its threads, and of its children that have ended.
    pub cpu: Duration,
    /// The most memory that it has had at a time: resident, without its children.
    pub peak_memory_bytes: u64,
}

/// Reads what a process has used so far.
///
/// # Errors
/// A process that is gone.
pub fn usage(process_id: u32) -> anyhow::Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{process_id}/{file}");
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    };
    Ok(Usage {
        cpu: cpu(&read("stat")?).context("/proc/PID/stat has another form")?,
        peak_memory_bytes: peak_memory_bytes(&read("status")?)
            .context("/proc/PID/status has no VmHWM: has the process ended?")?,
    })
}

fn cpu(stat: &str) -> Option<Duration> {
    // The command's name may hold anything, so count the fields from behind its last bracket.
    let (_, fields) = stat.rsplit_once(") ")?;
    // utime, stime, cutime, cstime: fields 14 to 17, where the state is field 3.
    let ticks: Vec<u64> = fields
        .split(' ')
        .skip(11)
        .take(4)
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    (ticks.len() == 4)
        .then(|| Duration::from_millis(ticks.iter().sum::<u64>() * 1_000 / TICKS_PER_SECOND))
}

fn peak_memory_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 1 2 3 4 250 50 7 3 20 0 9 0 1 2 3";
        assert_eq!(cpu(stat), Some(Duration::from_millis(3_100)));
        assert_eq!(cpu("12 (a) S 1"), None);
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_memory_bytes(status), Some(2_097_152));
        assert_eq!(peak_memory_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        let usage = usage(std::process::id()).expect("it runs");
        assert!(usage.peak_memory_bytes > 100_000);
    }
}
