//! However many of the newest orders differ, the sweep comes to the older ones, and nothing is said to be compared that was left.

use std::time::Duration;

use uuid::Uuid;

use super::*;

const MINUTE: Micros = 60_000_000;
const NOW: Micros = 1_000 * MINUTE;

fn memory() -> Memory {
    Memory::begun(NOW, &Timing { every: Duration::from_secs(5), settle: Duration::ZERO })
}

fn found(numbers: std::ops::Range<usize>) -> impl Iterator<Item = Difference> {
    numbers.map(|number| Difference {
        order_id: Uuid::from_u128(number as u128),
        kind: Kind::DecisionLost,
        orders: None,
        payments: None,
    })
}

#[test]
fn the_newest_orders_leave_room_for_the_sweep() {
    let mut memory = memory();
    assert_eq!((memory.room_for_newest(), memory.room()), (MOST_FOUND / 2, MOST_FOUND));
    memory.suspect(found(0..memory.room_for_newest()), NOW);
    assert_eq!((memory.room_for_newest(), memory.room()), (0, MOST_FOUND / 2));
    memory.suspect(found(MOST_FOUND / 2..MOST_FOUND), NOW);
    assert_eq!(memory.room(), 0);
}

#[test]
fn newest_orders_that_are_left_do_not_take_the_sweep_back() {
    let mut memory = memory();
    // The sweep is at older ones when some are left, each minute anew.
    assert_eq!(memory.begin_sweep(), NOW);
    memory.sweep = NOW - 500 * MINUTE;
    for minute in 1..=3 {
        memory.tail = NOW + minute * MINUTE;
        memory.leave(memory.tail - MINUTE / 2);
        assert_eq!(memory.begin_sweep(), NOW - 500 * MINUTE);
        assert_eq!(memory.compared_from(), memory.tail - MINUTE / 2, "what was left is not compared");
    }
    // It comes to its end, and takes what was left at once.
    memory.end_sweep(Duration::from_secs(600));
    assert!(memory.rest_until <= Instant::now());
    assert_eq!((memory.begin_sweep(), memory.compared_from()), (memory.tail, memory.tail));

    // One that rests begins where some are left.
    memory.end_sweep(Duration::from_secs(600));
    assert!(memory.rest_until > Instant::now());
    memory.leave(NOW);
    assert!(memory.rest_until <= Instant::now());
    assert_eq!((memory.begin_sweep(), memory.compared_from()), (NOW, NOW));
}
