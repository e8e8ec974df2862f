//! Number of instructions that the relay's own part of the hot path takes for one
//! message. Valgrind counts them, so what else the machine does changes
//! nothing: two runs of a program differ by a handful.

use std::hint::black_box;
use std::process::{Command, Stdio};

use bytes::Bytes;
use claude_relay_protocol::envelope;
use claude_relay_server::agent::claude;
use claude_relay_server::process::lines::{Line, LineBuffer, READ_BYTES};
use claude_relay_server::session::replay::{Features, ReplayBuffer};

use crate::Outcome;
use crate::report::Report;

/// The subcommand under which the bench is the program that is counted.
pub(crate) const SUBCOMMAND: &str = "work";

const SIZES: [usize; 3] = [300, 4096, 65_536];
const PARTS: [&str; 3] = ["split", "scan", "frame"];

/// Lines of the shorter of two runs. What both do besides cancels out.
const LINES: usize = 500;

pub(crate) fn counts(report: &mut Report, _: usize) -> Outcome {
    report.title("instructions a message, by callgrind")?;
    if count("split", 300, 0).is_err() {
        return report.remark("not counted: valgrind is not installed");
    }
    for part in PARTS {
        for size in SIZES {
            let more = count(part, size, 2 * LINES)? - count(part, size, LINES)?;
            report.value("counts", &format!("{part}, {size} B"), "", more / LINES as f64)?;
        }
    }
    Ok(())
}

/// Instructions of a process that does `part` for `lines` lines.
fn count(part: &str, size: usize, lines: usize) -> Outcome<f64> {
    #[expect(clippy::disallowed_methods, reason = "valgrind is a child of the bench alone")]
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([SUBCOMMAND, part, &size.to_string(), &lines.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&run.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.ok_or("valgrind does not say what it has collected")?;
    Ok(count.trim().parse()?)
}

/// `work PART SIZE LINES`
pub(crate) fn run(args: &[String]) -> Outcome {
    let [part, size, lines] = args else { return Err("work PART SIZE LINES".into()) };
    let (size, lines) = (size.parse()?, lines.parse::<usize>()?);
    let line = line(size);
    match part.as_str() {
        "split" => split(&line, lines),
        "scan" => (0..lines).for_each(|_| drop(black_box(claude::classify(black_box(&line))))),
        "frame" => frame(&line, lines),
        other => return Err(format!("no part {other}").into()),
    }
    Ok(())
}

/// A line as the built-in agent writes it in bulk.
fn line(size: usize) -> Vec<u8> {
    const BEFORE: &str = r#"{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"000000000001"#;
    const AFTER: &str = r#""}]},"parent_tool_use_id":null,"session_id":"02ed52c1-d7ae-4a2b-b3ac-1845cb30004b","uuid":"f9167594-0000-4000-8000-000000000001"}"#;
    let text = "x".repeat(size - BEFORE.len() - AFTER.len());
    format!("{BEFORE}{text}{AFTER}").into_bytes()
}

/// Out of what a pipe gives, with the copy that here stands for the kernel's.
fn split(line: &[u8], lines: usize) {
    let mut buffer = LineBuffer::default();
    let pass = |buffer: &mut LineBuffer| {
        for line in buffer.take().iter().flat_map(|block| block.lines()) {
            black_box(matches!(line, Line::Whole(_)));
        }
    };
    let in_read = (READ_BYTES / (line.len() + 1)).max(1);
    for number in 1..=lines {
        let spare = buffer.spare();
        spare.extend_from_slice(line);
        spare.extend_from_slice(b"\n");
        if number % in_read == 0 {
            pass(&mut buffer);
        }
    }
    pass(&mut buffer);
}

/// Into the envelope and the buffer, and out again for a client that keeps up.
fn frame(line: &[u8], lines: usize) {
    let mut log = ReplayBuffer::new(4 << 20);
    let mut batch: Vec<Bytes> = Vec::new();
    let mut cursor = 1;
    let in_batch = (READ_BYTES / line.len()).max(1);
    for number in 1..=lines {
        log.push([envelope::SDK_MESSAGE_PREFIX, line, envelope::SDK_MESSAGE_SUFFIX]);
        if number % in_batch == 0 {
            batch.clear();
            cursor = log.batch_from(cursor, Features::default(), &mut batch);
            black_box(&batch);
            log.evict(cursor);
        }
    }
}
