//! Statements of PostgreSQL that note the rows which they change.

/// A statement, whose parts that change rows append each row to a setting of the transaction, as a line of JSON: the table, what was done,
/// and the row. A part that has a RETURNING returns a column more, behind its own.
pub(crate) fn noting(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut open: Vec<Part> = Vec::new();
    let mut notes: Vec<(usize, String)> = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" => {
                if let Some(part) = open.pop_if(|part| part.depth == depth) {
                    notes.push((token.start, part.note()));
                }
                depth -= 1;
            }
            text if begins_part(&tokens, at, depth) => {
                open.extend(Part::read(text, &tokens[at + 1..], depth));
            }
            text if text.eq_ignore_ascii_case("RETURNING") => {
                if let Some(part) = open.last_mut().filter(|part| part.depth == depth) {
                    part.returns = true;
                }
            }
            _ => {}
        }
    }
    let end = sql.trim_end().trim_end_matches(';').len();
    notes.extend(open.iter().map(|part| (end, part.note())));
    let (mut noting, mut from) = (String::with_capacity(sql.len() + 256), 0);
    for (at, note) in notes {
        noting.push_str(&sql[from..at]);
        noting.push_str(&note);
        from = at;
    }
    noting.push_str(&sql[from..]);
    noting
}

/// An INSERT, an UPDATE or a DELETE: the statement, or a part of one in WITH.
struct Part<'s> {
    verb: &'s str,
    table: &'s str,
    /// What the row is called.
    name: &'s str,
    /// How many parentheses are open around it.
    depth: usize,
    returns: bool,
}

/// A verb begins a part at the beginning, behind `AS (` or `MATERIALIZED (`, and behind the last part of WITH.
fn begins_part(tokens: &[Token<'_>], at: usize, depth: usize) -> bool {
    let is = |at: Option<usize>, word: &str| {
        at.and_then(|at| tokens.get(at)).is_some_and(|token| token.text.eq_ignore_ascii_case(word))
    };
    let verb = ["INSERT", "UPDATE", "DELETE"].into_iter().any(|verb| is(Some(at), verb));
    let before = at.checked_sub(1);
    let opener = at.checked_sub(2);
    verb && (at == 0
        || is(before, "(") && (is(opener, "AS") || is(opener, "MATERIALIZED"))
        || is(before, ")") && depth == 0 && is(Some(0), "WITH"))
}

impl<'s> Part<'s> {
    fn read(verb: &'s str, behind: &[Token<'s>], depth: usize) -> Option<Self> {
        const NO_ALIAS: [&str; 12] = [
            "SET",
            "USING",
            "WHERE",
            "RETURNING",
            "VALUES",
            "SELECT",
            "DEFAULT",
            "OVERRIDING",
            "ON",
            "FROM",
            "(",
            ")",
        ];
        let is_any = |token: &Token<'_>, words: &[&str]| {
            words.iter().any(|word| token.text.eq_ignore_ascii_case(word))
        };
        let mut behind = behind.iter().skip_while(|token| is_any(token, &["INTO", "FROM", "ONLY"]));
        let mut table = behind.next()?;
        let mut next = behind.next();
        while next.is_some_and(|token| token.text == ".") {
            table = behind.next()?;
            next = behind.next();
        }
        if next.is_some_and(|token| is_any(token, &["AS"])) {
            next = behind.next();
        }
        let name = next.filter(|token| !is_any(token, &NO_ALIAS)).unwrap_or(table).text;
        Some(Self { verb, table: table.text, name, depth, returns: false })
    }

    fn note(&self) -> String {
        let (verb, table, name) = (self.verb.to_ascii_uppercase(), self.table.trim_matches('"'), self.name);
        let with = if self.returns { "," } else { " RETURNING" };
        format!(
            "{with} set_config('ordermesh.noted', current_setting('ordermesh.noted') || \
             jsonb_build_array('{table}', '{verb}', to_jsonb({name}.*))::text || chr(10), true)"
        )
    }
}

/// A word, a quoted name, or a character that is neither; strings and comments are none of them.
struct Token<'s> {
    text: &'s str,
    start: usize,
}

fn tokens(sql: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let length = match first {
            '\'' => quoted(rest, '\''),
            '"' => quoted(rest, '"'),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            letter if is_of_word(letter) => rest.find(|next| !is_of_word(next)).unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        let text = &rest[..length];
        if first != '\'' && !text.starts_with("--") && !first.is_whitespace() {
            tokens.push(Token { text, start: at });
        }
        at += length;
    }
    tokens
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

/// The bytes of what is quoted, with its quotes: twice the quote is no end.
fn quoted(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == quote && letters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The notes of a statement in short: `{verb table as name}`.
    fn noted(sql: &str) -> String {
        let mut text = noting(sql);
        while let Some((before, rest)) = text.split_once(" set_config(") {
            let (note, after) = rest.split_once("chr(10), true)").expect("the end of a note");
            let words: Vec<&str> = note.split('\'').collect();
            let name =
                note.split("to_jsonb(").nth(1).and_then(|rest| rest.split_once(".*")).expect("a name").0;
            text = format!("{before} {{{} {} as {name}}}{after}", words[7], words[5]);
        }
        text
    }

    #[test]
    fn each_part_that_changes_rows_notes_them() {
        for (sql, expected) in [
            (
                "SELECT a FROM b WHERE c = 'UPDATE d' FOR UPDATE",
                "SELECT a FROM b WHERE c = 'UPDATE d' FOR UPDATE",
            ),
            ("UPDATE a SET b = 1", "UPDATE a SET b = 1 RETURNING {UPDATE a as a}"),
            (
                "update only a SET b = ')' WHERE c = 1;",
                "update only a SET b = ')' WHERE c = 1 RETURNING {UPDATE a as a};",
            ),
            (
                "DELETE FROM \"a\" WHERE b IN (1)",
                "DELETE FROM \"a\" WHERE b IN (1) RETURNING {DELETE a as \"a\"}",
            ),
            (
                "INSERT INTO \"s\".\"a\" (\"b\") VALUES ($1) RETURNING \"b\"",
                "INSERT INTO \"s\".\"a\" (\"b\") VALUES ($1) RETURNING \"b\", {INSERT a as \"a\"}",
            ),
            (
                "INSERT INTO a AS x (b) SELECT 1 ON CONFLICT (b) DO UPDATE SET b = 2",
                "INSERT INTO a AS x (b) SELECT 1 ON CONFLICT (b) DO UPDATE SET b = 2 RETURNING {INSERT a as x}",
            ),
            ("UPDATE a AS x SET b = 1", "UPDATE a AS x SET b = 1 RETURNING {UPDATE a as x}"),
            (
                "DELETE FROM a x USING b WHERE true",
                "DELETE FROM a x USING b WHERE true RETURNING {DELETE a as x}",
            ),
            (
                "WITH n (k) AS (INSERT INTO a (b) SELECT * FROM (SELECT 1) AS g WHERE true RETURNING b), \
                 f AS MATERIALIZED (UPDATE c SET d = 1 WHERE e IN (SELECT k FROM n)) SELECT COUNT(*) FROM f",
                "WITH n (k) AS (INSERT INTO a (b) SELECT * FROM (SELECT 1) AS g WHERE true RETURNING b, {INSERT a as a}), \
                 f AS MATERIALIZED (UPDATE c SET d = 1 WHERE e IN (SELECT k FROM n) RETURNING {UPDATE c as c}) SELECT COUNT(*) FROM f",
            ),
            (
                "WITH w AS (SELECT 1) DELETE -- UPDATE
                 FROM a WHERE b = 'it''s'",
                "WITH w AS (SELECT 1) DELETE -- UPDATE
                 FROM a WHERE b = 'it''s' RETURNING {DELETE a as a}",
            ),
            ("SAVEPOINT part", "SAVEPOINT part"),
        ] {
            assert_eq!(noted(sql), expected);
        }
    }
}
