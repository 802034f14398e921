//! The one thread from which gits are started. The system ends a process that is to die with its parent as soon as the thread
//! that started it has ended, and tokio's threads come and go; this one lives as long as the daemon.

use std::io;
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A command to start, the runtime that watches it, and who waits for it.
type Order = (Command, Handle, oneshot::Sender<io::Result<Child>>);

static STARTER: LazyLock<Option<Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    let start = move || {
        for (mut command, runtime, started) in inbox {
            let _inside = runtime.enter();
            // Of somebody who has stopped waiting it is dropped, and ends if its command says so.
            let _ = started.send(command.spawn());
        }
    };
    thread::Builder::new().name("starter".into()).spawn(start).ok().map(|_| orders)
});

/// Starts a process that lives as long as it wants, or as the daemon does.
pub async fn start(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("no thread could be started");
    let (reply, started) = oneshot::channel();
    let orders = STARTER.as_ref().ok_or_else(gone)?;
    orders.send((command, Handle::current(), reply)).map_err(|_| gone())?;
    started.await.map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use specweave_jobs::system;
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "read line; exit 7"]).stdin(Stdio::piped());
        let in_child = || {
            system::end_with_parent();
            Ok(())
        };
        // SAFETY: a plain system call, which may stand between fork and exec.
        unsafe { command.pre_exec(in_child) };
        let handle = runtime.handle().clone();
        let asking = thread::spawn(move || handle.block_on(start(command)).unwrap());
        let mut child = asking.join().unwrap();
        let status = runtime.block_on(async {
            child.stdin.take().unwrap().write_all(b"on\n").await.unwrap();
            child.wait().await.unwrap()
        });
        assert_eq!(status.code(), Some(7), "{status}");
    }
}
