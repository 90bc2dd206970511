//! What the broker says of queues counts from the moment on at which it was asked.

use super::*;

const QUEUE: &str = "ordermesh.events.orders.0";

fn holds(messages: u64) -> BTreeMap<String, Depth> {
    BTreeMap::from([(QUEUE.to_owned(), Depth { messages, consumers: 1 })])
}

#[test]
fn a_queue_is_empty_when_the_broker_says_so_after_the_moment() {
    let (health, since) = (Health::new(), Instant::now());
    let is_empty = |since| health.are_empty([QUEUE.to_owned()], since);
    assert!(!is_empty(since), "nobody has asked");

    let later = since + Duration::from_millis(1);
    health.set_queues(later, holds(0));
    assert!(is_empty(since));
    assert!(!is_empty(later), "what the broker said before says nothing of what has come since");
    health.set_queues(later, holds(1));
    assert!(!is_empty(since));
    health.set_queues(later, BTreeMap::new());
    assert!(is_empty(since), "a queue that was deleted holds nothing");
    health.set_no_queues();
    assert!(is_empty(later), "within a process nothing waits in a queue");
}

#[test]
fn what_the_broker_said_long_ago_is_not_shown() {
    let (health, now) = (Health::new(), Instant::now());
    health.set_queues(now, holds(7));
    assert_eq!(health.queue(QUEUE).map(|depth| depth.messages), Some(7));
    let before = now.checked_sub(Duration::from_secs(10)).expect("the machine runs for longer");
    health.set_queues(before, holds(7));
    assert_eq!(health.queue(QUEUE), None);
    let long_before = before.checked_sub(Duration::from_secs(1)).expect("the machine runs for longer");
    assert!(!health.are_empty([QUEUE.to_owned()], long_before), "it was not empty when the broker was asked");
}
