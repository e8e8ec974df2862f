//! See [`claude_relay_fuzz::route`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| claude_relay_fuzz::route(data));
