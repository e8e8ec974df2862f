//! See [`claude_relay_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| claude_relay_fuzz::config(data));
