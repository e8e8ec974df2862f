//! The messages of one conversation.
//!
//! A transcript is a tree: each line names the one before it, and a conversation
//! that was rewound goes on from an earlier one. What counts is the branch that
//! ends last, with the parallel tool calls beside it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Conversations;
use super::lines::{Line, Lines};

/// Maximum number of lines of one conversation.
const MAX_LINES: usize = 1_000_000;

/// Bytes that are made at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// The messages of one conversation, read as they are asked for.
#[derive(Debug)]
pub struct Transcript {
    id: String,
    file: File,
    /// Places of the messages that are left, the next one last.
    left: Vec<Extent>,
    /// Number of messages before those.
    left_out: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    First,
    Further,
    Ended,
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    begin: u64,
    bytes: usize,
}

/// A line as a part of the tree; ids as hashes.
#[derive(Debug)]
struct Node {
    id: u64,
    parent: Option<u64>,
    extent: Extent,
    /// The message of the model that the line is a part of.
    model_message: Option<u64>,
    is_own: bool,
    is_spoken: bool,
    is_shown: bool,
    is_tool_result: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// A message as the Agent SDK gives it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    uuid: &'a str,
    session_id: &'a str,
    message: &'a RawValue,
    parent_tool_use_id: Option<()>,
    timestamp: Option<&'a str>,
}

impl Conversations {
    /// Opens a conversation; `None` if there is none by this id.
    ///
    /// # Errors
    ///
    /// Returns the system's error, or `FileTooLarge`.
    pub fn transcript(&self, id: &str) -> io::Result<Option<Transcript>> {
        match self.file(id)? {
            Some(file) => Transcript::open(id, file, Some(&self.cwd)),
            None => Ok(None),
        }
    }
}

impl Transcript {
    /// Opens the file of a conversation; `None` if it is of another directory than
    /// `cwd`.
    ///
    /// # Errors
    ///
    /// Returns the system's error, or `FileTooLarge`.
    pub fn open(id: &str, file: File, cwd: Option<&Path>) -> io::Result<Option<Self>> {
        let Some(nodes) = read(&file, cwd)? else { return Ok(None) };
        let mut left = branch(&nodes);
        left.reverse();
        Ok(Some(Self { id: id.to_owned(), file, left, left_out: 0, state: State::Begin }))
    }

    /// Leaves out all but the last messages.
    pub fn keep_last(&mut self, messages: usize) {
        self.left_out += self.left.len().saturating_sub(messages);
        self.left.truncate(messages);
    }

    /// Returns the next part of the JSON text with all messages; `None` at its
    /// end.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        while text.len() < CHUNK_BYTES && self.state != State::Ended {
            if self.state == State::Begin {
                text.extend(format!(r#"{{"id":"{}","#, self.id).bytes());
                if self.left_out > 0 {
                    text.extend(format!(r#""left_out":{},"#, self.left_out).bytes());
                }
                text.extend_from_slice(br#""messages":["#);
                self.state = State::First;
                continue;
            }
            let Some(place) = self.left.pop() else {
                text.extend_from_slice(b"]}");
                self.state = State::Ended;
                break;
            };
            let mut line = vec![0; place.bytes];
            self.file.read_exact_at(&mut line, place.begin)?;
            let Some(line) = Line::parse(&line) else { continue };
            let (Some(kind), Some(uuid), Some(message)) = (&line.kind, &line.uuid, line.message)
            else {
                continue;
            };
            let shown = Shown {
                kind,
                uuid,
                session_id: &self.id,
                message,
                parent_tool_use_id: None,
                timestamp: line.timestamp.as_deref(),
            };
            text.extend_from_slice(if self.state == State::First { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut text, &shown)?;
            self.state = State::Further;
        }
        Ok((!text.is_empty()).then_some(text))
    }
}

/// Reads the tree; `None` if it is of another directory than `cwd`.
fn read(file: &File, cwd: Option<&Path>) -> io::Result<Option<Vec<Node>>> {
    let hasher = RandomState::new();
    let mut lines = Lines::new(BufReader::new(file));
    let mut nodes = Vec::new();
    let mut is_ours = cwd.is_none();
    while let Some((begin, text)) = lines.next()? {
        let Some(line) = Line::parse(text) else { continue };
        if let (Some(directory), Some(cwd), false) = (&line.cwd, cwd, is_ours) {
            if Path::new(&**directory) != cwd {
                return Ok(None);
            }
            is_ours = true;
        }
        let kind = line.kind.as_deref().unwrap_or_default();
        let is_node = matches!(kind, "user" | "assistant" | "progress" | "system" | "attachment");
        let Some(id) = line.uuid.as_deref().filter(|_| is_node) else { continue };
        if nodes.len() == MAX_LINES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let message: Option<Message<'_>> =
            line.message.and_then(|message| serde_json::from_str(message.get()).ok());
        let content = message.as_ref().and_then(|message| message.content).map(RawValue::get);
        nodes.push(Node {
            id: hasher.hash_one(id),
            parent: line.parent_uuid.as_deref().map(|parent| hasher.hash_one(parent)),
            extent: Extent { begin, bytes: text.len() },
            model_message: message
                .as_ref()
                .filter(|_| kind == "assistant")
                .and_then(|message| message.id.as_deref())
                .map(|id| hasher.hash_one(id)),
            is_own: line.is_own() && kind != "progress",
            is_spoken: matches!(kind, "user" | "assistant"),
            is_shown: line.is_message(),
            is_tool_result: kind == "user"
                && content.is_some_and(|content| content.contains("\"tool_result\"")),
        });
    }
    Ok(is_ours.then_some(nodes))
}

/// Returns the messages of the branch that ends last, in their order.
fn branch(nodes: &[Node]) -> Vec<Extent> {
    // Of lines with one id the last counts.
    let by_id: HashMap<u64, usize> =
        nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
    let parents: HashSet<u64> =
        nodes.iter().filter(|node| node.is_own).filter_map(|node| node.parent).collect();
    let above = |at: usize| nodes[at].parent.and_then(|parent| by_id.get(&parent).copied());
    // A walk visits no line twice, whatever a file says.
    let walk = |from: usize| {
        let mut seen = HashSet::new();
        std::iter::successors(Some(from), move |at| above(*at))
            .take_while(move |at| seen.insert(*at))
    };
    let ends = nodes.iter().enumerate().rev();
    let mut ends = ends.filter(|(_, node)| node.is_own && !parents.contains(&node.id));
    // Ends that lead to nothing spoken are few: a line that was seen leads to
    // nothing from elsewhere either.
    let mut fruitless = HashSet::new();
    let last = ends.find_map(|(end, _)| {
        for at in walk(end) {
            if nodes[at].is_spoken {
                return Some(at);
            }
            if !fruitless.insert(at) {
                return None;
            }
        }
        None
    });
    let Some(last) = last else { return Vec::new() };
    let mut chosen: HashSet<usize> = walk(last).collect();
    let spoken: HashSet<u64> = chosen.iter().filter_map(|at| nodes[*at].model_message).collect();
    // What the model says in one message lies in several lines, each with its
    // tool's result behind it.
    for (at, node) in nodes.iter().enumerate() {
        let is_part = node.model_message.is_some_and(|message| spoken.contains(&message));
        let is_result =
            node.is_tool_result && above(at).is_some_and(|parent| chosen.contains(&parent));
        if node.is_own && by_id.get(&node.id) == Some(&at) && (is_part || is_result) {
            chosen.insert(at);
        }
    }
    let mut chosen: Vec<usize> = chosen.into_iter().filter(|at| nodes[*at].is_shown).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|at| nodes[at].extent).collect()
}
