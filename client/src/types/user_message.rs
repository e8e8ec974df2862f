//! Messages of a program to the agent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claude_relay_protocol::ClientMessage;
use claude_relay_protocol::json::fields;
use serde_json::Value;

use crate::error::SendError;
use crate::types::raw_json::{RawJson, text_of};

/// The largest message that a server takes, whole.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// One message to the agent. Made from a text, from content blocks, or from
/// any JSON that the agent takes.
#[derive(Debug, Clone)]
pub struct UserMessage {
    data: RawJson,
    /// The `uuid` in it, by which the agent tells of it.
    pub(crate) id: String,
}

impl UserMessage {
    /// A message of plain text.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::UserMessage;
    ///
    /// let message = UserMessage::text("What is here?");
    /// ```
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::with_content(&Value::from(text))
    }

    /// A message of several parts, such as images and then a text.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Block, UserMessage};
    ///
    /// let message = UserMessage::blocks([Block::text("Compare"), Block::text("these.")]);
    /// ```
    #[must_use]
    pub fn blocks(blocks: impl IntoIterator<Item = Block>) -> Self {
        Self::with_content(&blocks.into_iter().map(|block| block.0).collect())
    }

    fn with_content(content: &Value) -> Self {
        // With an id the agent can say which result answers it.
        let id = claude_relay_random::uuid();
        let data = serde_json::json!({
            "type": "user",
            "message": { "role": "user", "content": content },
            "parent_tool_use_id": null,
            "session_id": "",
            "uuid": id,
        });
        Self { data: RawJson::from_value(&data), id }
    }

    /// A whole SDK user message, `{"type":"user","message":{…},…}`. Its bytes
    /// reach the agent as they are, but for a `uuid` that is put behind them if
    /// they have none. It is checked when it is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{RawJson, UserMessage};
    ///
    /// let json = r#"{"type":"user","message":{"role":"user","content":"hi"}}"#;
    /// let message = UserMessage::raw(RawJson::new(json).unwrap());
    /// ```
    #[must_use]
    pub fn raw(data: RawJson) -> Self {
        let text = data.get().trim_end();
        let named = fields(text, ["uuid"]).ok().map(|[id]| text_of(id));
        match (named, text.strip_suffix('}')) {
            (Some(Some(id)), _) => Self { id: id.into_owned(), data },
            (Some(None), Some(open)) => {
                let id = claude_relay_random::uuid();
                let comma = if open.trim_end().ends_with('{') { "" } else { "," };
                let text = format!(r#"{open}{comma}"uuid":"{id}"}}"#);
                Self { data: RawJson::proven(text.into()), id }
            }
            // It is no object, which shows when it is sent.
            _ => Self { data, id: String::new() },
        }
    }

    /// The frame that carries it, checked as the server will.
    pub(crate) fn frame(&self) -> Result<String, SendError> {
        let frame = format!(r#"{{"type":"user_message","data":{}}}"#, self.data.get());
        if frame.len() > MAX_BYTES {
            return Err(SendError::TooBig { limit_bytes: MAX_BYTES });
        }
        match ClientMessage::parse(&frame) {
            Ok(_) => Ok(frame),
            Err(error) => Err(SendError::invalid(error)),
        }
    }
}

impl From<&str> for UserMessage {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for UserMessage {
    fn from(text: String) -> Self {
        Self::text(&text)
    }
}

impl<const N: usize> From<[Block; N]> for UserMessage {
    fn from(blocks: [Block; N]) -> Self {
        Self::blocks(blocks)
    }
}

impl From<Vec<Block>> for UserMessage {
    fn from(blocks: Vec<Block>) -> Self {
        Self::blocks(blocks)
    }
}

/// One part of a [`UserMessage`].
#[derive(Debug, Clone)]
pub struct Block(Value);

impl Block {
    /// A document in PDF, with its name.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Block, UserMessage};
    ///
    /// let document = Block::pdf(b"%PDF-1.7 ...", "report.pdf");
    /// let message = UserMessage::from([document, Block::text("Summarise it.")]);
    /// ```
    #[must_use]
    pub fn pdf(bytes: &[u8], name: &str) -> Self {
        Self(serde_json::json!({
            "type": "document",
            "title": name,
            "source": {
                "type": "base64",
                "media_type": "application/pdf",
                "data": STANDARD.encode(bytes),
            },
        }))
    }

    /// Text.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Block, UserMessage};
    ///
    /// let message = UserMessage::from([Block::text("What is here?")]);
    /// ```
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(serde_json::json!({ "type": "text", "text": text }))
    }

    /// An image of a kind that models read: PNG, JPEG, GIF or WebP, known by
    /// its first bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Block, UserMessage};
    ///
    /// let png = b"\x89PNG\r\n\x1a\n";
    /// let message = UserMessage::from([Block::image(png).unwrap(), Block::text("What is it?")]);
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::InvalidMessage`] for anything else.
    pub fn image(bytes: &[u8]) -> Result<Self, SendError> {
        let media_type = match bytes {
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            [b'G', b'I', b'F', b'8', ..] => "image/gif",
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
            _ => {
                return Err(SendError::invalid("the image is neither PNG, JPEG, GIF nor WebP"));
            }
        };
        Ok(Self(serde_json::json!({
            "type": "image",
            "source": { "type": "base64", "media_type": media_type, "data": STANDARD.encode(bytes) },
        })))
    }

    /// Any block, as JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Block;
    ///
    /// let block = Block::json(serde_json::json!({ "type": "text", "text": "hi" }));
    /// ```
    #[must_use]
    pub fn json(value: Value) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_blocks_are_messages_that_the_server_takes() {
        for message in [
            UserMessage::text("hi \u{2028} \0"),
            UserMessage::from([Block::text("a"), Block::image(b"\x89PNG....").unwrap()]),
        ] {
            let frame = message.frame().unwrap();
            assert!(frame.contains(&message.id));
        }
        assert!(Block::image(b"BM").is_err());
    }

    #[test]
    fn raw_json_keeps_its_bytes_and_is_checked() {
        let data =
            r#"{ "type":"user", "message":{"role":"user","content":"x"}, "n":1.0, "uuid":"u" }"#;
        let message = UserMessage::raw(RawJson::new(data.to_owned()).unwrap());
        assert_eq!(message.id, "u");
        assert!(message.frame().unwrap().contains(data));
        let data = r#"{"type":"user","message":{"role":"user","content":"x"} }"#;
        let message = UserMessage::raw(RawJson::new(data.to_owned()).unwrap());
        let frame = message.frame().unwrap();
        assert!(
            frame.contains(&format!(r#""content":"x"}} ,"uuid":"{}"}}"#, message.id)),
            "{frame}"
        );
        let wrong = UserMessage::raw(RawJson::new("{\"type\":\"assistant\"}").unwrap());
        assert!(matches!(wrong.frame(), Err(SendError::InvalidMessage { .. })));
    }
}
