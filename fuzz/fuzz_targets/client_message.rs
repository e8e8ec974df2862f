//! See [`claude_relay_fuzz::client_message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| claude_relay_fuzz::client_message(data));
