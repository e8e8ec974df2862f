//! See [`claude_relay_fuzz::head`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| claude_relay_fuzz::head(data));
