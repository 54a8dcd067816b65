//! Several futures in one task: what `select!` and `join!` are for, without their packages.

use std::pin::pin;
use std::task::Poll;

/// Which one ended.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for one of both; the other is dropped. The first is asked first.
pub(crate) async fn race<A: Future, B: Future>(one: A, other: B) -> Either<A::Output, B::Output> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    std::future::poll_fn(|context| {
        if let Poll::Ready(done) = one.as_mut().poll(context) {
            return Poll::Ready(Either::First(done));
        }
        other.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// Waits for all of them, in one task; results in the order of the futures.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let one = |future| (Box::pin(future), None);
    let mut open: Vec<_> = futures.into_iter().map(one).collect();
    std::future::poll_fn(|context| {
        let mut left = 0_usize;
        for (future, done) in open.iter_mut().filter(|(_, done)| done.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *done = Some(value),
                Poll::Pending => left += 1,
            }
        }
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    open.into_iter().filter_map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_wins_and_all_come_in_order() {
        let never = std::future::pending::<()>;
        assert!(matches!(race(async { 1 }, never()).await, Either::First(1)));
        assert!(matches!(race(never(), async { 2 }).await, Either::Second(2)));
        let one = |n: u32| async move {
            for _ in 0..(5 - n) {
                tokio::task::yield_now().await;
            }
            n
        };
        assert_eq!(all([one(0), one(3), one(1)]).await, [0, 3, 1]);
        assert!(all(Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }
}
