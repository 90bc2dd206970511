//! Lanes: messages of different keys are handled beside each other, those of one key one after another.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// Messages of different keys that are handled at a time.
const LANES: u64 = 4;

/// The lanes of what has these keys, each in its order.
pub(super) fn by_key<T>(all: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<Vec<T>> {
    let mut lanes: BTreeMap<u64, Vec<T>> = BTreeMap::new();
    for each in all {
        let mut hasher = DefaultHasher::new();
        key(&each).hash(&mut hasher);
        lanes.entry(hasher.finish() % LANES).or_default().push(each);
    }
    lanes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_one_lane() {
        let all: Vec<(String, u32)> =
            (0..400).map(|number| (format!("key-{}", number % 40), number)).collect();
        let lanes = by_key(all, |(key, _)| key);
        assert_eq!(lanes.len(), 4);
        assert_eq!(lanes.iter().map(Vec::len).sum::<usize>(), 400);
        for lane in &lanes {
            assert!(lane.is_sorted_by_key(|(_, number)| *number));
            for (key, _) in lane {
                assert!(lanes.iter().filter(|lane| lane.iter().any(|(other, _)| other == key)).count() == 1);
            }
        }
    }
}
