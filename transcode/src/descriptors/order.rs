//! Files in the order in which they can be read: each behind all that it imports.

use std::collections::{BTreeSet, HashMap};

/// The places of these files, each with its name and what it imports, in that order; of several that can be read as early, the first one comes
/// first. Files that import each other have no place in it, nor has what is built on them.
pub(super) fn of(files: &[(&str, BTreeSet<String>)]) -> Vec<usize> {
    let places: HashMap<&str, usize> =
        files.iter().enumerate().map(|(place, (name, _))| (*name, place)).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); files.len()];
    // How many of its imports are not read yet.
    let mut waits = vec![0_usize; files.len()];
    for (place, (_, imports)) in files.iter().enumerate() {
        for import in imports.iter().filter_map(|name| places.get(name.as_str())) {
            users[*import].push(place);
            waits[place] += 1;
        }
    }
    let mut order = Vec::with_capacity(files.len());
    let mut round: Vec<usize> = (0..files.len()).filter(|place| waits[*place] == 0).collect();
    while !round.is_empty() {
        let mut next = Vec::new();
        for &user in round.iter().flat_map(|place| &users[*place]) {
            waits[user] -= 1;
            if waits[user] == 0 {
                next.push(user);
            }
        }
        next.sort_unstable();
        order.append(&mut round);
        round = next;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(files: &[(&str, &[&str])]) -> Vec<usize> {
        let imports = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let files: Vec<_> = files.iter().map(|(name, names)| (*name, imports(names))).collect();
        of(&files)
    }

    #[test]
    fn a_file_comes_behind_what_it_imports() {
        let files: [(&str, &[&str]); 5] =
            [("c", &["b", "a"]), ("b", &["a", "elsewhere"]), ("d", &[]), ("a", &[]), ("e", &["d"])];
        assert_eq!(order(&files), [2, 3, 1, 4, 0]);
    }

    #[test]
    fn files_that_import_each_other_have_no_place() {
        let files: [(&str, &[&str]); 5] =
            [("a", &["b"]), ("b", &["a"]), ("on them", &["a"]), ("itself", &["itself"]), ("alone", &[])];
        assert_eq!(order(&files), [4]);
    }
}
