//! The floor: what the disk and the bare database take for one durable write, without any of our code.

use subledger_bench_kit::{Labels, Latency, Record, floor};

use crate::{cli::FloorOptions, server::Server};

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &FloorOptions,
) -> anyhow::Result<Vec<Record>> {
    let figure = |variant: &str, mut times: Vec<u32>| {
        let latency = Latency::of(&mut times);
        let record = labels.record("floor", server.name(), variant).value(latency.p50 as f64, "us");
        Record { operations: times.len() as u64, latency_us: Some(latency), ..record }
    };
    let mut records = Vec::new();
    if let Server::Sqlite(folder) = server {
        std::fs::create_dir_all(folder)?;
        records.push(figure("fdatasync", floor::fdatasync(folder, options.operations)?));
    }
    let database = server.fresh("floor").await?;
    records.push(figure("commit", database.bare_commits(options.operations).await?));
    server.remove("floor").await?;
    Ok(records)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_floor_is_the_disk_and_the_bare_commit() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::Sqlite(folder.path().to_owned());
        let labels = Labels { subject: "subledger", round: 1, fsync_extra_us: 0 };
        let records = run(&server, &labels, &FloorOptions { operations: 5 }).await.unwrap();
        let variants: Vec<_> = records.iter().map(|record| record.variant.as_str()).collect();
        assert_eq!(variants, ["fdatasync", "commit"]);
        assert!(records.iter().all(|record| record.operations == 5 && record.value > 0.0));
    }
}
