//! The same events lead to the same rows, to the byte, on both databases.

use subledger_domain::LogName;
use subledger_projection::{Digest, ProjectionName, digest};

use crate::{
    history::{log, tell},
    support::{Node, Place, on_both_databases},
};

on_both_databases!(the_digests_of_the_scripted_history_are_these);

/// Written down once, so that a change of a row's encoding must be meant. The ledgers are missing: their rows carry the
/// aggregate, whose encoding is the domain's to change.
const EXPECTED: [(ProjectionName, &str); 4] = [
    (ProjectionName::Channels, "c2f563fe153963a6a3257fdea0ec3da4c45cd7aea6efde4df0aa43396f0e2b4c"),
    (ProjectionName::Bindings, "f01df2f86a8883bb1cf5d84886f3bdc1ed2df4148e48415721bde533be6d3d2f"),
    (ProjectionName::Messages, "086b9f628205635abcb5295cab08f8ac9c00b88c2d7cba217d72c4d25f6bea05"),
    (ProjectionName::Apps, "4ee8a54296b006bcda412dfc479d007dfd5043513aba584116e43d485b766c0d"),
];

async fn digest_of(node: &Node, projection: ProjectionName) -> Digest {
    let log = if projection == ProjectionName::Apps { LogName::main() } else { log() };
    let digest = digest(&node.store, &log, projection).await.unwrap();
    assert!(digest.rows > 0);
    assert_eq!(digest.position, node.store.head(&log).await.unwrap().position);
    digest
}

async fn told(place: &Place) -> Node {
    let node = Node::on(place).await;
    tell(&node).await;
    node.catch_up().await;
    node
}

async fn the_digests_of_the_scripted_history_are_these(place: Place) {
    let node = told(&place).await;
    let mut found = Vec::new();
    for (projection, _) in EXPECTED {
        found.push((projection, digest_of(&node, projection).await.digest));
    }
    let expected: Vec<_> = EXPECTED.iter().map(|(name, digest)| (*name, (*digest).to_owned())).collect();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_come_to_the_same_bytes() {
    let Some(postgres) = Place::postgres().await else { return };
    let sqlite = Place::sqlite();
    let on_sqlite = told(&sqlite).await;
    let on_postgres = told(&postgres).await;
    for projection in ProjectionName::ALL {
        assert_eq!(
            digest_of(&on_sqlite, projection).await,
            digest_of(&on_postgres, projection).await,
            "{projection}"
        );
    }
    postgres.remove().await;
}
