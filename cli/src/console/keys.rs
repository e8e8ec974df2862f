//! From bytes to keys.

/// A key, or pasted text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    /// Text between the marks of a paste; line ends in it are part of it.
    Paste(String),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Up,
    Down,
    /// Ctrl-U.
    DropToStart,
    /// Ctrl-K.
    DropToEnd,
    /// Ctrl-W.
    DropWord,
    /// Ctrl-L.
    Redraw,
    /// Ctrl-D.
    Eof,
    /// The input has ended.
    Closed,
}

const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// A paste is cut into pieces of this size.
const MAX_PASTE: usize = 64 << 10;

/// The longest escape sequence that is waited for.
const MAX_SEQUENCE: usize = 32;

/// Splits input into keys; a sequence or character can come in two chunks.
#[derive(Debug)]
pub(super) struct KeyParser {
    rest: Vec<u8>,
    pasting: bool,
    /// Control characters other than line ends are text.
    pipe: bool,
}

impl KeyParser {
    pub(super) fn terminal() -> Self {
        Self { rest: Vec::new(), pasting: false, pipe: false }
    }

    /// For lines that are already edited.
    pub(super) fn pipe() -> Self {
        Self { rest: Vec::new(), pasting: false, pipe: true }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        let mut keys = Vec::new();
        let mut at = 0;
        while at < rest.len() {
            let taken = if self.pasting {
                self.paste(&rest[at..], &mut keys)
            } else if self.pipe {
                pipe_key(&rest[at..], &mut keys)
            } else {
                self.key(&rest[at..], &mut keys)
            };
            // Nothing taken: the rest of it is still to come.
            if taken == 0 {
                break;
            }
            at += taken;
        }
        self.rest.extend_from_slice(&rest[at..]);
        keys
    }

    /// The end of the input.
    pub(super) fn finish(&mut self) -> Vec<Key> {
        let mut keys = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        if self.pasting && !rest.is_empty() {
            keys.push(Key::Paste(String::from_utf8_lossy(&rest).into_owned()));
        }
        if self.pipe {
            if !rest.is_empty() {
                keys.extend(String::from_utf8_lossy(&rest).chars().map(Key::Char));
            }
            // The last line of a file may have no end.
            keys.push(Key::Enter);
        }
        keys.push(Key::Closed);
        keys
    }

    fn paste(&mut self, bytes: &[u8], keys: &mut Vec<Key>) -> usize {
        let text = |bytes: &[u8]| {
            Key::Paste(String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n"))
        };
        if let Some(at) = bytes.windows(PASTE_ENDS.len()).position(|part| part == PASTE_ENDS) {
            self.pasting = false;
            if at > 0 {
                keys.push(text(&bytes[..at]));
            }
            return at + PASTE_ENDS.len();
        }
        if bytes.len() < MAX_PASTE {
            return 0;
        }
        // Not through a character, nor through the mark of the end.
        let mut end = bytes.len() - PASTE_ENDS.len();
        while end > 0 && bytes[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        keys.push(text(&bytes[..end]));
        end
    }

    fn key(&mut self, bytes: &[u8], keys: &mut Vec<Key>) -> usize {
        let key = match bytes[0] {
            b'\r' | b'\n' => Key::Enter,
            0x7f | 0x08 => Key::Backspace,
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x04 => Key::Eof,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x0b => Key::DropToEnd,
            0x0c => Key::Redraw,
            0x0e => Key::Down,
            0x10 => Key::Up,
            0x15 => Key::DropToStart,
            0x17 => Key::DropWord,
            0x1b => return self.escape(bytes, keys),
            b'\t' => Key::Char(' '),
            0..0x20 => return 1,
            _ => return character(bytes, keys),
        };
        keys.push(key);
        1
    }

    fn escape(&mut self, bytes: &[u8], keys: &mut Vec<Key>) -> usize {
        let Some(second) = bytes.get(1) else { return 0 };
        let (key, length) = match second {
            b'[' => {
                let Some(end) = bytes[2..].iter().position(|byte| (0x40..=0x7e).contains(byte))
                else {
                    return if bytes.len() > MAX_SEQUENCE { 2 } else { 0 };
                };
                let length = end + 3;
                if &bytes[..length] == PASTE_BEGINS {
                    self.pasting = true;
                    return length;
                }
                (sequence(&bytes[2..length]), length)
            }
            b'O' => match bytes.get(2) {
                Some(last) => (sequence(&[*last]), 3),
                None => return 0,
            },
            b'b' => (Some(Key::WordLeft), 2),
            b'f' => (Some(Key::WordRight), 2),
            0x7f => (Some(Key::DropWord), 2),
            // A lone Escape; what follows is a key of its own.
            0x1b => (None, 1),
            _ => (None, 2),
        };
        keys.extend(key);
        length
    }
}

/// The key of a sequence without its introducer.
fn sequence(sequence: &[u8]) -> Option<Key> {
    Some(match sequence {
        b"A" => Key::Up,
        b"B" => Key::Down,
        b"C" => Key::Right,
        b"D" => Key::Left,
        b"H" | b"1~" | b"7~" => Key::Home,
        b"F" | b"4~" | b"8~" => Key::End,
        b"3~" => Key::Delete,
        b"1;5C" | b"1;3C" => Key::WordRight,
        b"1;5D" | b"1;3D" => Key::WordLeft,
        _ => return None,
    })
}

fn pipe_key(bytes: &[u8], keys: &mut Vec<Key>) -> usize {
    match bytes {
        [b'\r', b'\n', ..] => {
            keys.push(Key::Enter);
            2
        }
        [b'\r'] => 0,
        [b'\n', ..] => {
            keys.push(Key::Enter);
            1
        }
        _ => character(bytes, keys),
    }
}

/// One character; bytes that are none become the replacement character.
fn character(bytes: &[u8], keys: &mut Vec<Key>) -> usize {
    let length = match bytes[0] {
        0..0x80 => 1,
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => {
            keys.push(Key::Char(char::REPLACEMENT_CHARACTER));
            return 1;
        }
    };
    let Some(encoded) = bytes.get(..length) else { return 0 };
    match std::str::from_utf8(encoded) {
        Ok(text) => {
            keys.extend(text.chars().map(Key::Char));
            length
        }
        Err(_) => {
            keys.push(Key::Char(char::REPLACEMENT_CHARACTER));
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<Key> {
        text.chars().map(|c| if c == '\n' { Key::Enter } else { Key::Char(c) }).collect()
    }

    #[test]
    fn several_lines_in_one_write_are_all_kept() {
        assert_eq!(KeyParser::terminal().feed(b"one\rtwo\rx"), text("one\ntwo\nx"));
        assert_eq!(KeyParser::pipe().feed(b"one\r\ntwo\n"), text("one\ntwo\n"));
    }

    #[test]
    fn sequences_and_characters_may_be_cut_anywhere() {
        let bytes = "é\x1b[D\x1b[1;5C\x1bOH\x1b[200~a\r\nb\x1b[201~z\u{1f600}".as_bytes();
        let whole = KeyParser::terminal().feed(bytes);
        assert_eq!(
            whole,
            [
                Key::Char('é'),
                Key::Left,
                Key::WordRight,
                Key::Home,
                Key::Paste("a\nb".into()),
                Key::Char('z'),
                Key::Char('\u{1f600}'),
            ]
        );
        let mut parser = KeyParser::terminal();
        let cut: Vec<Key> = bytes.iter().flat_map(|byte| parser.feed(&[*byte])).collect();
        assert_eq!(cut, whole);
    }

    #[test]
    fn a_long_paste_comes_in_pieces_and_whole() {
        let long = "é".repeat(MAX_PASTE);
        let mut parser = KeyParser::terminal();
        let mut keys = parser.feed(b"\x1b[200~");
        for chunk in long.as_bytes().chunks(1000) {
            keys.extend(parser.feed(chunk));
        }
        keys.extend(parser.feed(b"\x1b[201~"));
        let pasted: String = keys
            .into_iter()
            .map(|key| match key {
                Key::Paste(text) => text,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(pasted, long);
    }

    #[test]
    fn unknown_key_sequences_are_ignored() {
        let mut parser = KeyParser::terminal();
        assert_eq!(
            parser.feed(b"\x1b[99;99X\x00\xffa"),
            [Key::Char(char::REPLACEMENT_CHARACTER), Key::Char('a')]
        );
        assert_eq!(parser.feed(&[0xe2, b'a']), []);
        assert_eq!(parser.finish(), [Key::Closed]);
    }
}
