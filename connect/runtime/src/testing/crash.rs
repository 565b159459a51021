use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Polls a future so often and no more; what is left of it is dropped, as by a crash.
pub(crate) async fn crash_after<F: Future>(future: F, mut polls: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(move |context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// The seeds to try: one if `MILLRACE_SEED` names it.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("MILLRACE_SEED") {
        Ok(seed) => vec![seed.parse().expect("MILLRACE_SEED is a number")],
        Err(_) => (0..count).collect(),
    }
}
