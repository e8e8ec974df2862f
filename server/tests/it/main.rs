//! Tests of the program as it is used: real processes and sockets.

mod demo_agent;
