//! SIGINT and SIGTERM: the first drains, the second ends.

use std::io;
use std::sync::mpsc;

use tokio::signal::unix::{SignalKind, signal};

use super::watch::Notice;
use crate::print;

/// What a shell reports of a process that SIGINT has ended.
const INTERRUPTED: i32 = 130;

/// Listens from now on, in a thread of its own.
pub(super) fn listen(notices: mpsc::SyncSender<Notice>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let wait = async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                // Whoever listened has ended by itself.
                notices.send(Notice::Stop).ok();
            }
        }
        print::to_stderr("stopped at once\n");
        std::process::exit(INTERRUPTED);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(())
}
