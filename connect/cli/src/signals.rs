//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends the program at once.

use std::process;
use std::thread;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::{Exit, Failure, codes};

/// The wish to end, as somebody outside expressed it.
#[derive(Clone, Debug)]
pub(crate) struct Signals(watch::Receiver<bool>);

impl Signals {
    /// From now on signals do not end the program by themselves. They are heard on a thread of
    /// their own, so that the second one works whatever the rest of the program is busy with.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let (sender, receiver) = watch::channel(false);
        let system = |error: std::io::Error| {
            Failure::new(Exit::Environment, codes::SYSTEM, format!("cannot hear signals: {error}"))
        };
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        thread::Builder::new()
            .name("millrace-signals".into())
            .spawn(move || {
                let runtime = match runtime::Builder::new_current_thread().enable_io().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                runtime.block_on(async {
                    let hear =
                        || Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?));
                    let (mut interrupt, mut terminate) = match hear() {
                        Ok(heard) => heard,
                        Err(error) => return drop(ready.send(Err(error))),
                    };
                    let _ = ready.send(Ok(()));
                    loop {
                        let code = tokio::select! {
                            _ = interrupt.recv() => 130,
                            _ = terminate.recv() => 143,
                        };
                        if sender.send_replace(true) {
                            process::exit(code);
                        }
                    }
                });
            })
            .map_err(system)?;
        match is_ready.recv() {
            Ok(heard) => heard.map_err(system)?,
            Err(_) => return Err(system(std::io::Error::other("their thread is gone"))),
        }
        Ok(Self(receiver))
    }

    /// Ready once the first signal came. Dropping it loses nothing.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(|requested| *requested).await.is_err() {
            // Without the thread there are no signals any more.
            std::future::pending::<()>().await;
        }
    }
}
