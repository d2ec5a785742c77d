//! Takes from a queue what arrives together, without waiting for any time to pass.

use tokio::sync::mpsc;

/// Waits for an item, then takes those that the tasks which are ready to run bring, until none of them brings more. Returns
/// how many there are: none when the queue is closed and empty.
///
/// Under load each item is followed by others that are about to come; when it comes alone, this costs one look.
pub async fn gather<T>(queue: &mut mpsc::Receiver<T>, items: &mut Vec<T>, items_max: usize) -> usize {
    queue.recv_many(items, items_max).await;
    while !items.is_empty() && items.len() < items_max {
        let before = items.len();
        tokio::task::yield_now().await;
        while items.len() < items_max
            && let Ok(item) = queue.try_recv()
        {
            items.push(item);
        }
        if items.len() == before {
            break;
        }
    }
    items.len()
}
