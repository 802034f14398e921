//! Taking connections: only this user's, no more than the daemon has descriptors for, and without turning on the spot when
//! it has none left.

use specweave_jobs::process::descriptor_limit;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Connections at a time: editors and followers; the rest of the descriptors are the work's.
const MOST: u64 = 2_048;

/// Calls and streams of one connection at a time. tonic's own default has no bound: a connection that opens streams and
/// never reads would take all memory.
pub const MOST_CALLS: u32 = 128;

/// After a failure to take a connection, such as for want of a descriptor, it is tried again so much later.
const PAUSE: Duration = Duration::from_millis(100);

/// What a connection is told that is one too many: HTTP/2's empty SETTINGS, and GOAWAY with ENHANCE_YOUR_CALM and a reason.
const REFUSAL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x1c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0btoo many connections";

/// A connection that counts for as long as it is open.
pub struct Counted {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

/// The connections of one listener, as they come.
pub fn connections(listener: UnixListener) -> ReceiverStream<io::Result<Counted>> {
    let (taken, stream) = mpsc::channel(16);
    tokio::spawn(async move {
        let most = MOST.min(descriptor_limit() / 3) as usize;
        let places = Arc::new(Semaphore::new(most));
        let uid = rustix::process::geteuid().as_raw();
        loop {
            let stream = tokio::select! {
                () = taken.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be taken");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            if !stream.peer_cred().is_ok_and(|peer| peer.uid() == uid) {
                continue;
            }
            match places.clone().try_acquire_owned() {
                Ok(place) => {
                    if taken.send(Ok(Counted { stream, _place: place })).await.is_err() {
                        return;
                    }
                }
                // There is room for a few bytes in a connection that is new.
                Err(_) => drop(stream.try_write(REFUSAL)),
            }
        }
    });
    ReceiverStream::new(stream)
}

impl Connected for Counted {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
