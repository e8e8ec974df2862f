//! Translation of a user message in Claude's format to the input of a turn.

use claude_relay_protocol::json::{elements, fields, is_string, string};
use claude_relay_protocol::text;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::agent::protocol::UnsupportedMessage;

/// Returns the `input` of `turn/start` for a message of a client: text blocks,
/// and images with their data.
///
/// # Errors
///
/// Returns the path of the first block without an equivalent.
pub(super) fn translate(data: &[u8]) -> Result<Value, UnsupportedMessage> {
    let unread = |what: &str| UnsupportedMessage(format!("message.content: {what}"));
    let text = simdutf8::basic::from_utf8(data).map_err(|_| unread("not UTF-8"))?;
    let content = fields(text, ["message"])
        .ok()
        .and_then(|[message]| fields(message?.get(), ["content"]).ok()?[0])
        .ok_or_else(|| unread("expected a string or an array of blocks"))?;
    if is_string(content) {
        return Ok(json!([text_block(content, "message.content")?]));
    }
    let blocks = elements(content).map_err(|_| unread("expected an array of blocks"))?;
    let blocks = blocks.into_iter().enumerate();
    blocks
        .map(|(index, block)| translate_block(block, &format!("message.content[{index}]")))
        .collect()
}

fn translate_block(block: &RawValue, at: &str) -> Result<Value, UnsupportedMessage> {
    let [kind, text, source] = fields(block.get(), ["type", "text", "source"])
        .map_err(|_| UnsupportedMessage(format!("{at}: expected an object")))?;
    match (kind.and_then(string).as_deref(), text, source) {
        (Some("text"), Some(text), _) => text_block(text, at),
        (Some("image"), _, Some(source)) => image(source, at),
        (kind, ..) => Err(UnsupportedMessage(format!(
            "{at}: Codex takes text and images, no block of type {:?}",
            text::head(kind.unwrap_or_default(), 50)
        ))),
    }
}

fn text_block(text: &RawValue, at: &str) -> Result<Value, UnsupportedMessage> {
    let text = string(text).ok_or_else(|| {
        UnsupportedMessage(format!("{at}: half of a surrogate pair, which Codex does not take"))
    })?;
    Ok(json!({ "type": "text", "text": text }))
}

fn image(source: &RawValue, at: &str) -> Result<Value, UnsupportedMessage> {
    let read = fields(source.get(), ["type", "media_type", "data"]).unwrap_or_default();
    let [kind, media_type, data] = read.map(|value| value.and_then(string));
    match (kind.as_deref(), media_type, data) {
        (Some("base64"), Some(media_type), Some(data)) => {
            Ok(json!({ "type": "image", "url": format!("data:{media_type};base64,{data}") }))
        }
        (Some("url"), ..) => Err(UnsupportedMessage(format!(
            "{at}.source: Codex takes no image by its address; send its bytes as base64"
        ))),
        _ => Err(UnsupportedMessage(format!(
            "{at}.source: expected type \"base64\" with media_type and data"
        ))),
    }
}

/// Returns the id that the client gave its message: `uuid`, as in the SDK.
pub(super) fn message_id(data: &[u8]) -> Option<String> {
    let text = simdutf8::basic::from_utf8(data).ok()?;
    let [id] = fields(text, ["uuid"]).ok()?;
    string(id?).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(content: &str) -> Result<String, String> {
        let data = format!(r#"{{"type":"user","message":{{"role":"user","content":{content}}}}}"#);
        translate(data.as_bytes()).map(|input| input.to_string()).map_err(|error| error.0)
    }

    #[test]
    fn text_and_images_have_an_equivalent() {
        for (content, input) in [
            (r#""h\u00e9""#, r#"[{"type":"text","text":"hé"}]"#),
            ("[]", "[]"),
            (
                r#"[{"type":"text","text":"a","cache_control":{}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]"#,
                r#"[{"type":"text","text":"a"},{"type":"image","url":"data:image/png;base64,AA=="}]"#,
            ),
        ] {
            assert_eq!(translated(content).unwrap(), input);
        }
    }

    #[test]
    fn a_block_without_an_equivalent_is_named() {
        for (content, error) in [
            (
                r#"[{"type":"text","text":"a"},{"type":"document","source":{}}]"#,
                "message.content[1]: Codex takes text and images, no block of type \"document\"",
            ),
            (
                r#"[{"type":"image","source":{"type":"url","url":"https://x.invalid/a.png"}}]"#,
                "message.content[0].source: Codex takes no image by its address; send its bytes as base64",
            ),
            (
                r#"[{"type":"image","source":{"type":"base64"}}]"#,
                "message.content[0].source: expected type \"base64\" with media_type and data",
            ),
            (r#""\ud800""#, "message.content: half of a surrogate pair, which Codex does not take"),
            ("[{}]", "message.content[0]: Codex takes text and images, no block of type \"\""),
        ] {
            assert_eq!(translated(content).unwrap_err(), error);
        }
    }
}
