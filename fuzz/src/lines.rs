//! Lines out of chunks.

use claude_relay_server::process::lines::{Line, LineBuffer};

/// Small, so that lines over it are common.
const LIMIT: usize = 24;

/// A line, owned.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Whole(Vec<u8>),
    TooLong(usize),
}

/// The first byte says how large the chunks are; the rest is the output of an
/// agent. However it is cut, the lines are those of a plain split.
pub fn line_splitter(data: &[u8]) {
    let Some((&size, output)) = data.split_first() else { return };
    let chunk_bytes = usize::from(size % 40) + 1;
    let mut buffer = LineBuffer::with_limit(LIMIT);
    let mut got = Vec::new();
    for chunk in output.chunks(chunk_bytes) {
        buffer.spare().extend_from_slice(chunk);
        if let Some(block) = buffer.take() {
            got.extend(block.lines().map(own));
        }
    }
    if let Some(block) = buffer.finish() {
        got.extend(block.lines().map(own));
    }
    assert_eq!(got, expected(output));
}

fn own(line: Line<'_>) -> Got {
    match line {
        Line::Whole(line) => Got::Whole(line.to_vec()),
        Line::TooLong(bytes) => Got::TooLong(bytes),
    }
}

fn expected(output: &[u8]) -> Vec<Got> {
    output
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            if line.len() > LIMIT {
                return Some(Got::TooLong(line.len()));
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (!line.trim_ascii().is_empty()).then(|| Got::Whole(line.to_vec()))
        })
        .collect()
}
