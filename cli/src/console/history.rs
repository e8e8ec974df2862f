//! Lines that were typed before, in a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::private;

/// The most lines that are kept.
const MAX_LINES: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct History {
    lines: Vec<String>,
    /// Lines that came with this program.
    added: Vec<String>,
    file: Option<PathBuf>,
}

impl History {
    /// The history in a file; one that does not exist is empty.
    pub(crate) fn load(file: Option<PathBuf>) -> Self {
        let lines = file.as_deref().map(read).unwrap_or_default();
        Self { lines, added: Vec::new(), file }
    }

    pub(crate) fn add(&mut self, line: &str) {
        if self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push(line.to_owned());
        self.added.push(line.to_owned());
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        self.lines.get(at).map(String::as_str)
    }

    /// Writes the file with what this program adds. Lines that another one
    /// has added in the meantime are kept.
    ///
    /// # Errors
    ///
    /// The file, and why it cannot be written.
    pub(crate) fn save(&self) -> Result<(), (&Path, io::Error)> {
        let Some(path) = self.file.as_deref() else { return Ok(()) };
        let mut lines = read(path);
        lines.extend(self.added.iter().cloned());
        let from = lines.len().saturating_sub(MAX_LINES);
        let mut text = String::new();
        for line in &lines[from..] {
            text.push_str(&escaped(line));
            text.push('\n');
        }
        write_private(path, &text).map_err(|error| (path, error))
    }
}

fn read(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // The first line of a file of rustyline's, which wrote it until 0.1.
    text.lines().filter(|line| !line.is_empty() && *line != "#V2").map(unescaped).collect()
}

fn escaped(line: &str) -> String {
    line.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, false) => text.push(c),
            (_, true) => match chars.next() {
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
        }
    }
    text
}

/// Writes a file that nobody else may read, because typed lines can be
/// secret.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;

    let mut file = private::open(fs::OpenOptions::new().write(true).truncate(true), path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_from_the_file_and_those_of_others_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history");
        fs::write(&file, "#V2\nold\n").unwrap();
        let mut one = History::load(Some(file.clone()));
        let mut two = History::load(Some(file.clone()));
        one.add("a\nb\\n");
        one.add("a\nb\\n");
        two.add("c");
        one.save().unwrap();
        two.save().unwrap();
        let read = History::load(Some(file));
        assert_eq!(read.lines, ["old", "a\nb\\n", "c"]);
    }

    #[test]
    fn a_history_without_a_file_is_kept_in_memory_alone() {
        let mut history = History::load(None);
        history.add("a");
        assert_eq!(history.get(0), Some("a"));
        history.save().unwrap();
    }
}
