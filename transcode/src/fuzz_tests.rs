//! Whatever comes in, nothing panics, nothing recurses deeply, and what comes out is in proportion to what came in.
//!
//! `FUZZ_INPUTS` says how many inputs each target reads; `just fuzz` asks for a million. An input is random bytes, words of the
//! target's language at random, one of them many times, or something right that was changed. The stack is a small one.

mod descriptors;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    Input, Lookup, Route, Template, Type, codec,
    fixture::{self, EVERY},
    routes::trie::{Entry, Trie},
};

/// What a worker of the runtime has; without optimization frames are several times as large.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 2 << 20 } else { 256 << 10 };

/// The longest input that is made of words.
const MAX_WORDS: usize = 24;

/// A word that is there many times is there so often at most: 10,000 levels of anything are among that.
const MAX_REPEATED: usize = 12_000;

/// The language of a target.
struct Language {
    words: Vec<Vec<u8>>,
    right: Vec<Vec<u8>>,
}

impl Language {
    fn new(words: &[&str], right: &[&str]) -> Self {
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        Self { words: bytes(words), right: bytes(right) }
    }

    fn input(&self, dice: &mut StdRng) -> Vec<u8> {
        match dice.random_range(0..256) {
            0 => self.repeated(dice),
            1..64 => (0..dice.random_range(0..64)).map(|_| dice.random()).collect(),
            64..160 => self.sentence(dice),
            _ => self.changed(dice),
        }
    }

    fn word(&self, dice: &mut StdRng) -> &[u8] {
        self.words.choose(dice).map_or(&[], Vec::as_slice)
    }

    fn sentence(&self, dice: &mut StdRng) -> Vec<u8> {
        (0..dice.random_range(0..MAX_WORDS)).flat_map(|_| self.word(dice)).copied().collect()
    }

    fn repeated(&self, dice: &mut StdRng) -> Vec<u8> {
        let (start, word) = (self.word(dice), [self.word(dice), self.word(dice)].concat());
        [start, &word.repeat(dice.random_range(1..MAX_REPEATED)), self.word(dice)].concat()
    }

    fn changed(&self, dice: &mut StdRng) -> Vec<u8> {
        let mut text = self.right.choose(dice).cloned().unwrap_or_default();
        for _ in 0..dice.random_range(0..6) {
            let at = dice.random_range(0..=text.len());
            let end = dice.random_range(at..=text.len().min(at + 16));
            match dice.random_range(0..5) {
                0 => drop(text.drain(at..end)),
                1 => drop(text.splice(at..end, [dice.random()])),
                2 => drop(text.splice(at..at, self.word(dice).iter().copied())),
                3 => text.extend_from_within(at..end),
                _ => {
                    let other = self.right.choose(dice).map_or(&[][..], Vec::as_slice);
                    let from = dice.random_range(0..=other.len());
                    text.truncate(at);
                    text.extend_from_slice(&other[from..]);
                }
            }
        }
        text
    }
}

fn inputs() -> u64 {
    std::env::var("FUZZ_INPUTS").ok().and_then(|inputs| inputs.parse().ok()).unwrap_or(4_000)
}

/// Checks every input. The same number gives the same input, so that what was found is found again.
fn fuzz(language: Language, check: impl Fn(&[u8]) + Send + 'static) {
    let all = move || {
        for number in 0..inputs() {
            let input = language.input(&mut StdRng::seed_from_u64(number));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
                eprintln!("input {number}: {:?}", String::from_utf8_lossy(&input));
                resume_unwind(panic);
            }
        }
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(all).expect("a thread");
    thread.join().expect("no input does harm");
}

#[track_caller]
fn in_proportion(output: usize, input: usize, factor: usize) {
    assert!(output <= factor * input + 256, "{output} bytes from {input}");
}

#[test]
fn templates() {
    let words =
        &["/", "{", "}", "=", "*", "**", ":", ".", "a", "b_1", "%2F", "%", "é", "{a=", "/**", "{a.b}"];
    let right =
        ["/v1/{name=shelves/*/books/**}:undo", "/gateway/orders/{order_id}:cancel", "/v1/{a.b.c}/x/{d=**}"];
    fuzz(Language::new(words, &right), |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(template) = Template::parse(&text) else { return };
        in_proportion(template.segments.len() + template.variables.len(), text.len(), 2);
        let entry = Entry { method: "GET".into(), template: template.clone(), rpc: "a".into() };
        let (trie, clashes) = Trie::build(&[entry]);
        assert!(clashes.is_empty(), "one template is not ambiguous");
        let _found_or_not = trie.find("GET", &template.example());
    });
}

#[test]
fn paths() {
    let templates =
        ["/a", "/a/{x}", "/a/*/b", "/*/a/**", "/{x=a/*/**}", "/a/b:c", "/{x=**}:d", "/a/{x}:c", "/**"];
    let entry = |(place, text): (usize, &&str)| Entry {
        method: if place % 3 == 0 { "*" } else { "GET" }.to_owned(),
        template: Template::parse(text).expect("a valid template"),
        rpc: (*text).to_owned(),
    };
    let (trie, clashes) = Trie::build(&templates.iter().enumerate().map(entry).collect::<Vec<_>>());
    assert!(clashes.is_empty(), "none are alike");
    let words = &["/", "a", "b", ":", "c", "d", "%2F", "%3A", "%", "%zz", "%ff", "é", "//", "a/", "/a/b:c"];
    fuzz(Language::new(words, &templates), move |input| {
        let path = String::from_utf8_lossy(input);
        for method in ["GET", "HEAD", "PUT"] {
            if let Lookup::Found(_, captures) = trie.find(method, &path) {
                let captured = captures.iter().flatten().map(String::len).sum();
                in_proportion(captured, path.len(), 1);
            }
        }
    });
}

/// Binds a request's parts, strictly and leniently; what comes of it must be a message, or errors of bounded number.
fn bind<'i>(route: &Route, input: impl Fn() -> Input<'i>, length: usize) {
    for lenient in [false, true] {
        match codec::request_from_json(route, &input(), lenient) {
            Ok(encoded) => in_proportion(encoded.wire.len(), length, 12),
            Err(error) => assert!(!error.violations.is_empty() && error.violations.len() <= 64),
        }
    }
}

#[test]
fn queries() {
    let words = &[
        "&",
        "=",
        ".",
        "text",
        "nested",
        ".deeper",
        "number",
        "numbers=1&",
        "words=x&",
        "i64=",
        "-1",
        "color=RED",
        "mask=a,b",
        "at=2020-01-01T00:00:00Z",
        "lasting=1.5s",
        "flag=true",
        "data=AQ",
        "%",
        "%41",
        "+",
        "left=",
        "right=1",
        "both.text=x",
        "wrappedNumber=1",
        "nested.colors=1&",
        "maybe=0",
        "double=1e300",
        "counts",
        "any",
        "é",
        "\u{0}",
    ];
    let right = [
        "text=a&i64=-1&nested.deeper.text=x&numbers=1&numbers=2&color=GREEN&at=2020-01-01T00:00:00Z",
        "both.deeper.colors=RED&both.deeper.colors=2&mask=a.b,c&wrapped_text=&lasting=-3.5s&data=AQI%3D",
    ];
    let route = fixture::route("GET", "/v1/shapes").0;
    fuzz(Language::new(words, &right), move |input| {
        let query = String::from_utf8_lossy(input);
        bind(&route, || Input { query: &query, ..Input::default() }, query.len());
    });
}

const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\"inner\":",
    "\"inners\":[",
    "{\"third\":",
    "\"aString\":\"x\"",
    "\"int32s\":[-1,",
    "-1,",
    "1e999",
    "\"byString\":{\"a\":",
    "\"valuesByString\":{\"b\":",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "0.1",
    "\"-9223372036854775808\"",
    "é",
    " ",
    "\"doubles\":[\"NaN\"]",
    "\"color\":\"RED\"",
    "\"colors\":[",
    "\"any\":{\"@type\":\"type.googleapis.com/every.v1.Every\",",
    "\"at\":\"2020-01-01T00:00:00Z\"",
];

const JSON: [&str; 4] = [
    r#"{"aDouble":-0.5,"a_float":"NaN","anInt32":-1,"anInt64":"-9","aBool":true,"aString":"\u00e9\n","someBytes":"AQI=","color":"GREEN","inner":{"inner":{"third":{}}}}"#,
    r#"{"doubles":[1,2e3,"Infinity"],"int32s":[1,-1],"strings":["","é"],"colors":["RED",2],"inners":[{},{"first":1}],"looseInt32s":[7],"byteStrings":["_-8"]}"#,
    r#"{"byInt32":{"1":2,"-3":4},"byBool":{"true":"x"},"bySint64":{"5":"RED"},"byFixed64":{"1":{"aString":"x"}},"byString":{"k":{"byString":{}}},"valuesByString":{"v":[1,{"a":null}]}}"#,
    r#"{"at":"2020-02-29T23:59:59.999Z","maybeInt32":0,"maybeString":"","second":"s","inner":{"at":"0001-01-01T00:00:00Z","uint64s":["18446744073709551615"]}}"#,
];

#[test]
fn json() {
    let every = Type::new(&EVERY);
    let (route, captures) = fixture::route("POST", "/v1/shapes/a");
    fuzz(Language::new(JSON_WORDS, &JSON), move |body| {
        for lenient in [false, true] {
            match every.wire(body, lenient) {
                Ok(wire) => {
                    in_proportion(wire.len(), body.len(), 12);
                    // Whatever is read can be printed.
                    in_proportion(every.json(&wire).expect("a message of ours").len(), wire.len(), 64);
                }
                Err(error) => assert!(!error.violations.is_empty() && error.violations.len() <= 64),
            }
        }
        bind(&route, || Input { captures: captures.clone(), body, ..Input::default() }, body.len());
    });
}

#[test]
fn wire() {
    let every = Type::new(&EVERY);
    // Tags of messages and of groups, lengths that fit and that do not, varints without an end.
    let words: [&[u8]; 12] = [
        &[0x8a, 0x01],
        &[0xca, 0x04],
        &[0xa3, 0x06],
        &[0xa4, 0x06],
        &[0],
        &[1],
        &[2],
        &[0x7f],
        &[0xff, 0xff],
        &[0x70, 0],
        &[0xfa, 0x02, 1, b'a'],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    let right = JSON.iter().map(|text| every.wire(text.as_bytes(), false).expect("right")).collect();
    let mut language = Language { words: words.map(<[u8]>::to_vec).into(), right };
    // Each inside of the next, as deep as the limit and deeper.
    for depth in [10, 31, 63, 64, 65, 99, 101, 10_000] {
        let mut message = vec![0x70, 0];
        for _ in 0..depth {
            let mut outer = vec![0x8a, 0x01];
            prost::encoding::encode_varint(message.len() as u64, &mut outer);
            outer.append(&mut message);
            message = outer;
        }
        language.right.push(message);
    }
    fuzz(language, move |input| {
        if let Ok(json) = every.json(input) {
            in_proportion(json.len(), input.len(), 64);
        }
    });
}
