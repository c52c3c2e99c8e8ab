//! Finds out which protocol a port speaks: asks in plain text first, then in TLS.

use std::time::Duration;

use model::limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a port answers to a new client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// The connection is refused.
    Refused,
    /// The connection is not accepted in time, or the host cannot be reached.
    Unreached,
    /// Redis without TLS.
    Plain,
    /// TLS: the answer is a TLS record. Nothing less counts as TLS.
    Tls,
    /// The connection is accepted, and no byte comes back in time.
    Silent,
    /// The connection is accepted, then closed or reset without a byte.
    HangsUp,
    /// Bytes that belong to neither protocol.
    Foreign,
}

/// Asks a port which protocol it speaks. A TLS server may answer plain text with an alert, a reset or
/// nothing. A paused or restarting server may reset or be silent too, so a second question, in TLS,
/// tells them apart.
pub(crate) async fn speech(host: &str, port: u16) -> Speech {
    let in_plain = ask(host, port, b"PING\r\n").await;
    let is_answered = !matches!(in_plain, Speech::Silent | Speech::HangsUp);
    if is_answered || ask(host, port, CLIENT_HELLO).await != Speech::Tls {
        return in_plain;
    }
    Speech::Tls
}

async fn ask(host: &str, port: u16, question: &[u8]) -> Speech {
    let connected = TcpStream::connect((host, port));
    let mut stream = match tokio::time::timeout(limits::BUS_CONNECT_MAX, connected).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) if err.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Speech::Refused;
        }
        Ok(Err(_)) | Err(_) => return Speech::Unreached,
    };
    let answer = async {
        stream.write_all(question).await?;
        let mut first = [0];
        let count = stream.read(&mut first).await?;
        Ok::<_, std::io::Error>(first.into_iter().take(count).next())
    };
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Err(_) => Speech::Silent,
        Ok(Err(_) | Ok(None)) => Speech::HangsUp,
        Ok(Ok(Some(byte))) => speech_of(byte),
    }
}

/// Judges the first byte of an answer. `+PONG` and `-NOAUTH` come from Redis.
const fn speech_of(byte: u8) -> Speech {
    match byte {
        b'+' | b'-' => Speech::Plain,
        TLS_ALERT | TLS_HANDSHAKE => Speech::Tls,
        _ => Speech::Foreign,
    }
}

/// The content types of TLS records (RFC 8446, 5.1) with which a server answers a hello.
const TLS_ALERT: u8 = 21;
const TLS_HANDSHAKE: u8 = 22;
/// How long to wait for an answer. Two answers and two connects bound the whole.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// The smallest ClientHello (RFC 5246, 7.4.1.2): a handshake record of 45 bytes with a TLS 1.2 hello of
/// 41 bytes: 32 random bytes, no session, ECDHE-RSA with AES-128-GCM alone, no compression and no
/// extensions. Every TLS server answers it, by a hello of its own or by an alert.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2d\
    \x01\x00\x00\x29\x03\x03inkwire asks what this port says\
    \x00\x00\x02\xc0\x2f\x01\x00";

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Opens a port that answers each connection by the first bytes it got. `None` hangs up, with a
    /// reset if bytes were left unread.
    async fn answering(answer: fn(&[u8]) -> Option<&'static [u8]>) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 5];
                stream.read_exact(&mut head).await.map(drop).unwrap_or_default();
                if let Some(bytes) = answer(&head) {
                    stream.write_all(bytes).await.unwrap_or_default();
                }
            }
        });
        port
    }

    async fn heard(port: u16) -> Speech {
        speech("127.0.0.1", port).await
    }

    #[test]
    fn the_hello_has_the_lengths_in_its_headers() {
        assert_eq!(CLIENT_HELLO.len(), 5 + 45);
        assert_eq!(CLIENT_HELLO[4], 45);
        assert_eq!(CLIENT_HELLO[8], 41);
    }

    #[tokio::test]
    async fn each_kind_of_answer_is_recognized() {
        let redis = answering(|_| Some(b"-NOAUTH Authentication required.\r\n")).await;
        assert_eq!(heard(redis).await, Speech::Plain);
        let with_alert = answering(|_| Some(&[21, 3, 3, 0, 2, 2, 70])).await;
        assert_eq!(heard(with_alert).await, Speech::Tls);
        let http = answering(|_| Some(b"HTTP/1.1 400 Bad Request\r\n")).await;
        assert_eq!(heard(http).await, Speech::Foreign);
    }

    #[tokio::test]
    async fn a_tls_port_that_hangs_up_on_plain_text_is_recognized() {
        let tls =
            answering(|said| (said.first() == Some(&TLS_HANDSHAKE)).then_some(&[22, 3, 3][..]));
        assert_eq!(heard(tls.await).await, Speech::Tls);
    }

    #[tokio::test]
    async fn resets_silence_and_refusals_are_not_taken_for_tls() {
        assert_eq!(heard(answering(|_| None).await).await, Speech::HangsUp);
        let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        assert_eq!(heard(silent.local_addr().unwrap().port()).await, Speech::Silent);
        let gone = silent.local_addr().unwrap().port();
        drop(silent);
        assert_eq!(heard(gone).await, Speech::Refused);
    }
}
