//! The pictures of README.md and docs/CONSOLE.md are there, and as large as the browser tests take them.

use std::{collections::BTreeSet, fs, path::Path};

/// In an image: of a page of docs/ the folder is left out.
const FOLDER: &str = "pictures/";

/// Width and height in pixels.
type Size = (u32, u32);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pictures that a page shows, by their names without a folder.
fn shown(page: &str) -> BTreeSet<String> {
    let page = read(page);
    let behind = page.split(FOLDER).skip(1);
    let names = behind.filter_map(|text| text.split_once(".png").map(|(name, _)| format!("{name}.png")));
    names.collect()
}

/// The header of a PNG: its signature, then the chunk IHDR, which begins with width and height (PNG, third edition, 11.2.1).
fn size(path: &Path) -> Size {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n", "{}", path.display());
    assert_eq!(&bytes[12..16], b"IHDR", "{}", path.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

/// How large the window is in which the scripts take pictures.
fn window() -> Size {
    let script = read("console/browser/world.mjs");
    let (_, behind) = script.split_once("newContext({ viewport: { width: ").expect("a window");
    let (width, behind) = behind.split_once(", height: ").expect("a height");
    let (height, _) = behind.split_once(' ').expect("an end");
    (width.parse().expect("a width"), height.parse().expect("a height"))
}

/// What the scripts take: a name, and whether it is of a whole window.
fn taken(name: &str) -> Option<bool> {
    let files = fs::read_dir(root().join("console/browser")).expect("the scripts are there");
    let scripts = files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("a script"));
    let start = format!("await picture(page, '{name}'");
    let found =
        scripts.filter_map(|script| script.split_once(&start).map(|(_, behind)| behind.starts_with(");")));
    found.collect::<Vec<_>>().first().copied()
}

#[test]
fn every_picture_is_there_and_as_large_as_it_is_taken() {
    let folder = root().join("docs/pictures");
    let files = fs::read_dir(&folder).expect("the pictures are there");
    let there: BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8")).collect();
    let shown: BTreeSet<String> = ["README.md", "docs/CONSOLE.md"].into_iter().flat_map(shown).collect();
    let absent: Vec<_> = shown.difference(&there).collect();
    assert!(shown.len() > 5 && absent.is_empty(), "of {} pictures there are no {absent:?}", shown.len());
    let window = window();
    for picture in &there {
        let (name, scheme) = picture.trim_end_matches(".png").rsplit_once('-').expect("a name and a scheme");
        assert!(["light", "dark"].contains(&scheme), "{picture} is of no scheme");
        let is_whole = taken(name).unwrap_or_else(|| panic!("no script takes {picture}"));
        let size = size(&folder.join(picture));
        if is_whole {
            assert_eq!(size, window, "{picture}");
        } else {
            assert!(size.0 <= window.0 && size.1 <= window.1, "{picture}, a part of a window: {size:?}");
        }
        let pair = format!("{name}-{}.png", if scheme == "light" { "dark" } else { "light" });
        if there.contains(&pair) {
            assert_eq!(size, self::size(&folder.join(&pair)), "{picture} and {pair}");
        }
    }
}
