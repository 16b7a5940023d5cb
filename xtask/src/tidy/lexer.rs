//! Tells code, comments and literals of a Rust source apart; no more than the rules need.

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Comment,
    Literal,
}

/// The source in pieces: its kind, the line it starts in, its text.
pub(super) fn pieces(source: &str) -> Vec<(Kind, usize, &str)> {
    let mut pieces = Vec::new();
    let (mut code, mut at, mut line) = (0, 0, 1);
    while at < source.len() {
        let rest = &source[at..];
        let Some((kind, length)) = special(rest, source[..at].chars().next_back()) else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        for (kind, piece) in [(Kind::Code, &source[code..at]), (kind, &rest[..length])] {
            if !piece.is_empty() {
                pieces.push((kind, line, piece));
                line += piece.matches('\n').count();
            }
        }
        at += length;
        code = at;
    }
    if code < source.len() {
        pieces.push((Kind::Code, line, &source[code..]));
    }
    pieces
}

/// The comment or literal that starts here, and how long it is.
fn special(rest: &str, before: Option<char>) -> Option<(Kind, usize)> {
    if rest.starts_with("//") {
        return Some((Kind::Comment, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, block_comment(rest)));
    }
    if rest.starts_with('"') {
        return Some((Kind::Literal, quoted(rest, '"')));
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && (!in_word || before == Some('b') || before == Some('c')) {
        let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = 2 + hashes;
        if rest[1 + hashes..].starts_with('"') {
            let length = rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len());
            return Some((Kind::Literal, length));
        }
    }
    // 'a' is a character, 'a a lifetime.
    let mut after = rest.strip_prefix('\'')?.chars();
    match (after.next()?, after.next()?) {
        ('\\', _) => Some((Kind::Literal, quoted(rest, '\''))),
        (c, '\'') => Some((Kind::Literal, 2 + c.len_utf8())),
        _ => None,
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Kind, source: &str) -> Vec<&str> {
        pieces(source).into_iter().filter(|piece| piece.0 == kind).map(|piece| piece.2).collect()
    }

    #[test]
    fn literals_hide_comments_and_the_other_way_round() {
        let source = "a(\"// no\"); // \"yes\"\nb /* x /* y */ z */ c";
        assert_eq!(of(Kind::Literal, source), ["\"// no\""]);
        assert_eq!(of(Kind::Comment, source), ["// \"yes\"", "/* x /* y */ z */"]);
        assert_eq!(of(Kind::Code, source), ["a(", "); ", "\nb ", " c"]);
    }

    #[test]
    fn quotes_of_all_kinds() {
        let source = r##"f('"', '\'', 'a, r"\", r#"""#, br"x", "\"") // end"##;
        assert_eq!(of(Kind::Comment, source), ["// end"]);
        let expected = ["'\"'", r"'\''", r#"r"\""#, r##"r#"""#"##, r#"r"x""#, r#""\"""#];
        assert_eq!(of(Kind::Literal, source), expected);
    }

    #[test]
    fn lines_are_counted() {
        let lines: Vec<usize> =
            pieces("a\n// b\n\"c\nd\"\ne").iter().map(|piece| piece.1).collect();
        assert_eq!(lines, [1, 2, 2, 3, 4]);
    }
}
