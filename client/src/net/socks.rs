//! The client's side of SOCKS 5 (RFC 1928 and 1929), as far as a way to a server
//! needs it.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// A user's name and password.
pub(crate) type Login = (String, String);

/// A refusal of the proxy, or an answer that is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocksError {
    #[error("it does not speak SOCKS 5")]
    NotSocks,
    #[error("it wants a user and a password")]
    WantsLogin,
    #[error("it refuses the user and password")]
    LoginRefused,
    #[error("the user, the password or the host's name is longer than SOCKS allows")]
    TooLong,
    #[error("it answers CONNECT with: {}", told(*.0))]
    Refused(u8),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks for a way to `host` over a stream to the proxy. The bytes behind the
/// proxy's answer are the server's and stay in the stream.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin + ?Sized>(
    stream: &mut S,
    host: &str,
    port: u16,
    login: Option<&Login>,
) -> Result<(), SocksError> {
    let greeting: &[u8] = match login {
        Some(_) => &[VERSION, 2, NO_LOGIN, LOGIN],
        None => &[VERSION, 1, NO_LOGIN],
    };
    stream.write_all(greeting).await?;
    match (read::<2, _>(stream).await?, login) {
        ([VERSION, NO_LOGIN], _) => {}
        ([VERSION, LOGIN], Some((user, password))) => {
            let mut message = vec![LOGIN_VERSION];
            push_short(&mut message, user)?;
            push_short(&mut message, password)?;
            stream.write_all(&message).await?;
            if read::<2, _>(stream).await?[1] != 0 {
                return Err(SocksError::LoginRefused);
            }
        }
        ([VERSION, _], None) => return Err(SocksError::WantsLogin),
        ([VERSION, _], Some(_)) => return Err(SocksError::LoginRefused),
        _ => return Err(SocksError::NotSocks),
    }
    let mut message = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend(address.octets());
        }
        Err(_) => {
            message.push(NAME);
            push_short(&mut message, host)?;
        }
    }
    message.extend(port.to_be_bytes());
    stream.write_all(&message).await?;
    let [version, status, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(SocksError::NotSocks);
    }
    if status != 0 {
        return Err(SocksError::Refused(status));
    }
    // The address that the proxy uses, and its port: of no interest.
    let rest = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(read::<1, _>(stream).await?[0]),
        _ => return Err(SocksError::NotSocks),
    };
    stream.read_exact(&mut vec![0; rest + 2]).await?;
    Ok(())
}

async fn read<const N: usize, S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Appends a text behind its length.
fn push_short(message: &mut Vec<u8>, text: &str) -> Result<(), SocksError> {
    message.push(u8::try_from(text.len()).map_err(|_| SocksError::TooLong)?);
    message.extend(text.as_bytes());
    Ok(())
}

/// The words of RFC 1928 for a status.
fn told(status: u8) -> String {
    match status {
        2 => "its rules forbid it".to_owned(),
        3 => "the network is unreachable".to_owned(),
        4 => "the host is unreachable".to_owned(),
        5 => "the connection is refused".to_owned(),
        6 => "the time is over".to_owned(),
        other => format!("failure {other}"),
    }
}
