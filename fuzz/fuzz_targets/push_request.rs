//! See `subledger_fuzz::push_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subledger_fuzz::push_request(data));
