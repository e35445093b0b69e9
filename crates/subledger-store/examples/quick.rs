#![allow(clippy::unwrap_used, missing_docs, clippy::print_stdout)]
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use subledger_domain::{
    Evidence, EvidenceSource, LogName, StreamName, SubjectId,
    binding::{Binding, BindingCommand},
};
use subledger_store::*;
struct Move {
    stream: StreamName,
    to: SubjectId,
}
impl Work for Move {
    type Answer = ();
    type Refusal = ();
    fn streams(&self, _k: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Binding>(self.stream.clone())]
    }
    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<()>> {
        let evidence = Evidence::new(EvidenceSource::ClientReport, "report-1", stage.now());
        stage
            .ask::<Binding>(&self.stream, BindingCommand::Bind { subject: self.to, evidence })?
            .map(drop)
            .map_err(|_| Stop::Refuse(()))
    }
}
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
    z ^ (z >> 31)
}
async fn command(executor: &Executor, n: u64, streams: u64) {
    let stream = StreamName::new("binding", &format!("{:032x}", mix(n) % streams));
    let work = Move { stream, to: SubjectId::from_bytes(u128::from(n).to_be_bytes()) };
    let cause = Cause { by: "app:bench".into(), command: "bind".into(), request: None };
    let id = format!("bind:bench:{:016x}", mix(n ^ 77));
    let receipt = Some(ReceiptKey { fingerprint: *blake3::hash(id.as_bytes()).as_bytes(), id });
    executor.submit(Submission { log: LogName::new("mp"), receipt, cause, work }).await.unwrap();
}
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (callers, streams, total): (u64, u64, u64) =
        (a[2].parse().unwrap(), a[3].parse().unwrap(), a[4].parse().unwrap());
    let config = StoreConfig {
        url: a[1].clone().into(),
        master_key: MasterKey::from_bytes([7; 32]),
        max_connections: 8,
    };
    let store = Store::open(&config, Arc::new(SystemClock)).await.unwrap();
    let executor = Executor::start(store.clone(), ExecutorConfig::default());
    let start = store.head(&LogName::new("mp")).await.unwrap().position.0;
    let next = Arc::new(AtomicU64::new(start));
    let chunk = total / 5;
    for round in 0..5 {
        let end = start + chunk * (round + 1);
        let t = Instant::now();
        let tasks = (0..callers).map(|_| {
            let (e, n) = (executor.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut l = vec![];
                loop {
                    let i = n.fetch_add(1, Ordering::Relaxed);
                    if i >= end {
                        return l;
                    }
                    let t = Instant::now();
                    command(&e, i, streams).await;
                    l.push(t.elapsed());
                }
            })
        });
        let mut l: Vec<Duration> =
            futures::future::join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect();
        next.store(end, Ordering::SeqCst);
        let s = t.elapsed();
        l.sort();
        println!(
            "{callers} callers {streams} streams: {:.0}/s p50 {:?} p99 {:?} max {:?}",
            l.len() as f64 / s.as_secs_f64(),
            l[l.len() / 2],
            l[l.len() * 99 / 100],
            l[l.len() - 1]
        );
    }
    executor.shutdown().await;
    store.close().await;
}
