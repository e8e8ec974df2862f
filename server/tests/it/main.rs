//! Integration tests: real processes, real sockets on port 0, one binary.

mod support;

mod real_cli_direct;
