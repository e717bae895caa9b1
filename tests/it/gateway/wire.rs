//! What lies between a host and its MongoDB, and may go wrong.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// What is sent is taken, and nothing comes back, nor ever will.
    Lost,
    /// What is sent arrives when all passes again.
    Held,
    /// Whatever is asked, the same bytes come back.
    Garbage,
}

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    _tasks: JoinSet<()>,
}

impl Wire {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let mode = watch::Sender::new(Mode::Pass);
        let mut tasks = JoinSet::new();
        let modes = mode.subscribe();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.expect("a server");
                connections.spawn(pass(near, far, modes.clone()));
            }
        });
        Wire {
            address,
            mode,
            _tasks: tasks,
        }
    }

    /// The address of the server behind it, for a driver.
    pub(crate) fn uri(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn pass(near: TcpStream, far: TcpStream, mut modes: watch::Receiver<Mode>) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let mut bytes = vec![0; 64 << 10];
    let mut answer = vec![0; 64 << 10];
    loop {
        // Both may be dropped: what was not read is read the next time.
        let (count, is_question) = tokio::select! {
            read = near_in.read(&mut bytes) => (read, true),
            read = far_in.read(&mut answer) => (read, false),
        };
        let Ok(count @ 1..) = count else {
            return;
        };
        let mode = modes.wait_for(|mode| *mode != Mode::Held).await;
        let Ok(mode) = mode.map(|mode| *mode) else {
            return;
        };
        let passed = match (mode, is_question) {
            (Mode::Pass, true) => far_out.write_all(&bytes[..count]).await,
            (Mode::Pass, false) => near_out.write_all(&answer[..count]).await,
            (Mode::Garbage, true) => near_out.write_all(&[0x55; 64]).await,
            (Mode::Lost | Mode::Held, _) | (Mode::Garbage, false) => Ok(()),
        };
        if passed.is_err() {
            return;
        }
    }
}
