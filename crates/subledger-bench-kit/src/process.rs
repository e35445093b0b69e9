//! What a process costs, as Linux tells it under `/proc`. Elsewhere there is nothing to read, and the answer says so.

use std::{fs, time::Duration};

use anyhow::Context;

/// Ticks per second in which Linux reports processor time to programs, on every architecture it is built for here.
const TICKS: u32 = 100;

/// Processor time of all threads of a process so far; `None` is this process.
pub fn cpu(pid: Option<u32>) -> anyhow::Result<Duration> {
    let path = path(pid, "stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    cpu_of(&text).with_context(|| format!("{path} does not look as expected"))
}

/// Bytes of memory that a process holds now.
pub fn resident(pid: Option<u32>) -> anyhow::Result<u64> {
    let path = path(pid, "status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    resident_of(&text).with_context(|| format!("{path} does not look as expected"))
}

fn path(pid: Option<u32>, file: &str) -> String {
    pid.map_or_else(|| format!("/proc/self/{file}"), |pid| format!("/proc/{pid}/{file}"))
}

/// The name in brackets may hold spaces and brackets, so fields are counted from its last one.
fn cpu_of(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs(1) * (user + system) / TICKS)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 12345 1000 200";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_of("42 (a"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(resident_of("Name:\tx\n"), None);
    }
}
