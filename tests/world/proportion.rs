//! Whether work takes a time in proportion to what it is done for.

use std::time::Duration;

use nix::time::ClockId;

/// The processor time of this thread while it works: whatever else the machine does meanwhile is no part of it.
fn time(work: &mut impl FnMut()) -> Duration {
    let now = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock of each thread"));
    let begun = now();
    work();
    now().saturating_sub(begun)
}

/// `many` is the work of `few` ten times, on this thread, and takes less than `most` times as long: the best of three, beside the median of
/// three. What is done once within the bound is not repeated: noise takes time, and gives none.
///
/// # Panics
/// When it takes longer.
pub fn assert_in_proportion(what: &str, most: u32, mut few: impl FnMut(), mut many: impl FnMut()) {
    let mut short = [(); 3].map(|()| time(&mut few));
    short.sort_unstable();
    let short = short[1];
    let first = time(&mut many);
    eprintln!("{what}: {short:?}, {first:?}");
    if first < most * short {
        return;
    }
    // Nor does what takes a hundred times as long.
    assert!(first < 3 * most * short, "{what}: {first:?} for many, {short:?} for few");
    let best = first.min(time(&mut many)).min(time(&mut many));
    assert!(best < most * short, "{what}: {best:?} for many, {short:?} for few");
}
