//! The machine's own floor: what one durable append of a page costs without any of our code.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;

/// Bytes of one append.
const PAGE: usize = 4096;

/// The times of so many appends of 4 KiB, each followed by `fdatasync`, in microseconds, on the disk of this folder.
pub fn fdatasync(folder: &Path, appends: u32) -> anyhow::Result<Vec<u32>> {
    let mut file = tempfile::tempfile_in(folder).with_context(|| folder.display().to_string())?;
    (0..appends).map(|n| append(&mut file, n)).collect()
}

fn append(file: &mut File, n: u32) -> anyhow::Result<u32> {
    let page = [u8::try_from(n % 251).unwrap_or_default(); PAGE];
    let begun = Instant::now();
    file.write_all(&page).context("appending a page")?;
    file.sync_data().context("fdatasync")?;
    Ok(micros(begun.elapsed()))
}

/// Whole microseconds, bounded.
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
