//! See `subledger_fuzz::push_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subledger_fuzz::push_decode(data));
