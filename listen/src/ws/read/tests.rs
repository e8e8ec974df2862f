use super::*;
use crate::ws::channels::MESSAGE_LIMIT;

#[test]
fn close_frames_are_validated() {
    let code = |payload: &[u8]| match close_frame(payload) {
        End::Closed(code) => Ok(code),
        End::Violation(close) => Err(close.code),
        End::Gone => unreachable!(),
    };
    assert_eq!(code(&[]), Ok(None));
    assert_eq!(code(&[3]), Err(Some(1002)));
    assert_eq!(code(&1000u16.to_be_bytes()), Ok(Some(1000)));
    for bad in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535u16] {
        assert_eq!(code(&bad.to_be_bytes()), Err(Some(1002)), "{bad}");
    }
    assert_eq!(code(&[3, 232, 0xff]), Err(Some(1007)));
}

#[test]
fn a_fragmented_message_is_bounded_as_a_whole() {
    let mut assembly = Assembly::new(MESSAGE_LIMIT);
    let part =
        |opcode, fin, length| Frame::new(fin, opcode, None, Payload::Owned(vec![b' '; length]));
    assert_eq!(assembly.add(part(OpCode::Text, false, MESSAGE_LIMIT - 1)), Ok(None));
    assert_eq!(assembly.add(part(OpCode::Continuation, false, 1)), Ok(None));
    assert_eq!(assembly.add(part(OpCode::Continuation, true, 1)), Err(Close::TOO_BIG));
}

/// Close code sent to a client, accepted or not, that sends `payload` bytes
/// in fragments of `piece` bytes and then a close frame without a code.
async fn end_after(payload: usize, piece: usize, accepted: bool) -> Option<u16> {
    let mut frames = Vec::new();
    for (number, bytes) in vec![b' '; payload].chunks(piece).enumerate() {
        // Not final, a mask of zeros, a length of 64 bits.
        frames.extend([u8::from(number == 0), 0xff]);
        frames.extend((bytes.len() as u64).to_be_bytes());
        frames.extend([0; 4]);
        frames.extend(bytes);
    }
    frames.extend([0x88, 0x80, 0, 0, 0, 0]);
    let (reader, _) = fastwebsockets::after_handshake_split(
        std::io::Cursor::new(frames),
        tokio::io::sink(),
        fastwebsockets::Role::Server,
    );
    let (priority, _receiver) = mpsc::channel(1);
    let (events, _receiver_of_events) = mpsc::channel(8);
    let parser = Parser {
        parse: Ok,
        limit: MESSAGE_LIMIT,
        large: Arc::new(Semaphore::new(1)),
        keeps_raw: false,
    };
    match read_loop(reader, accepted.then_some(events), &priority, parser).await {
        End::Closed(code) => code,
        End::Violation(close) => close.code,
        End::Gone => unreachable!("it ends with a close frame"),
    }
}

#[tokio::test]
async fn a_refused_client_has_a_smaller_limit() {
    for piece in [REFUSED_LIMIT + 1, 1000] {
        assert_eq!(end_after(REFUSED_LIMIT, piece, false).await, None);
        assert_eq!(end_after(REFUSED_LIMIT + 1, piece, false).await, Close::TOO_BIG.code);
        assert_eq!(end_after(REFUSED_LIMIT + 1, piece, true).await, None);
    }
}

#[test]
fn fragments_must_be_in_order() {
    let part = |opcode, fin| Frame::new(fin, opcode, None, Payload::Borrowed(b"x"));
    let mut assembly = Assembly::new(MESSAGE_LIMIT);
    assert_eq!(assembly.add(part(OpCode::Continuation, true)), Err(Close::PROTOCOL_ERROR));
    let mut assembly = Assembly::new(MESSAGE_LIMIT);
    assert_eq!(assembly.add(part(OpCode::Text, false)), Ok(None));
    assert_eq!(assembly.add(part(OpCode::Text, true)), Err(Close::PROTOCOL_ERROR));
}

#[test]
fn empty_fragments_are_bounded() {
    let empty = |opcode| Frame::new(false, opcode, None, Payload::Borrowed(b""));
    let mut assembly = Assembly::new(MESSAGE_LIMIT);
    assert_eq!(assembly.add(empty(OpCode::Text)), Ok(None));
    let refused =
        (0..MAX_EMPTY_FRAGMENTS).find_map(|_| assembly.add(empty(OpCode::Continuation)).err());
    assert_eq!(refused, Some(Close::PROTOCOL_ERROR));
}
