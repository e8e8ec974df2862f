//! See [`claude_relay_fuzz::slot_replay`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| claude_relay_fuzz::slot_replay(data));
