//! Signals that ask the process to stop.

/// Waits for SIGINT or SIGTERM and returns its name.
#[cfg(unix)]
pub async fn stop() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        },
        _ => {
            // Without handlers the default action ends the process, as it should.
            std::future::pending().await
        }
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub async fn stop() -> &'static str {
    match tokio::signal::ctrl_c().await {
        Ok(()) => "Ctrl-C",
        Err(_) => std::future::pending().await,
    }
}
