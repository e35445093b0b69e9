//! The committed inputs of the fuzz targets, through the same functions as the fuzzer's.

use super::{corpus, harness};

fn replay(target: &str, run: fn(&[u8])) {
    let mut seen = 0;
    for entry in std::fs::read_dir(corpus(target)).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        seen += 1;
    }
    assert!(10 < seen, "{target}: {seen} inputs");
}

#[test]
fn decoding() {
    replay("push_decode", harness::push_decode);
}

#[test]
fn opening() {
    replay("push_decrypt", harness::push_decrypt);
}

#[test]
fn requests() {
    replay("push_request", harness::push_request);
    replay("push_decode", harness::push_request);
}
