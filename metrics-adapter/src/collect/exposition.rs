//! Reads the Prometheus text format (0.0.4 and the sample lines of OpenMetrics 1.0), borrowing from the page.
//!
//! Names and values in quotes may hold anything, `{}`, `,` and `=` among them, so the scanner follows the quotes instead
//! of searching for separators: `{route="/users/{id}"}` is one label. A series that vanishes silently is the
//! worst of faults, so a line that cannot be read is an error with its number, and a page that does not end in a
//! line feed was cut off: `requests_total 12` may have been going to say 12345.

use std::borrow::Cow;

use memchr::memchr;

/// A line that is not the text format, or a page that was cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Malformed {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A sample without a name.
    #[error("a metric's name was expected")]
    Name,
    /// Something else than `name="value"` between the braces.
    #[error("a label was expected, as name=\"value\"")]
    Label,
    /// A quote or brace that is never closed.
    #[error("the labels never end")]
    Unclosed,
    /// Something else than a number after the series.
    #[error("a number was expected after the series")]
    Value,
    /// The last line has no end.
    #[error("the page ends within a line: it was cut off")]
    CutOff,
}

/// One sample, borrowed from the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleLine<'page, 'scan> {
    /// Number of its line, from 1.
    pub line: usize,
    /// The metric's name; as written, if it stands in quotes.
    pub name: &'page str,
    /// Its labels, in the order of the page.
    pub labels: &'scan [Label<'page>],
    /// Its value. Timestamps and exemplars are left aside.
    pub value: f64,
}

/// One label, borrowed from the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label<'page> {
    /// Its name.
    pub name: &'page str,
    /// Its value as written between the quotes, escapes and all.
    pub raw: &'page str,
}

impl<'page> Label<'page> {
    /// Its value, without escapes.
    pub fn value(&self) -> Cow<'page, str> {
        unescape(self.raw)
    }
}

/// `\\`, `\"` and `\n` decoded; a backslash before anything else stands for itself.
fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(escaped @ ('\\' | '"' | 'n'))) => {
                chars.next();
                text.push(if escaped == 'n' { '\n' } else { escaped });
            }
            _ => text.push(c),
        }
    }
    Cow::Owned(text)
}

/// Goes through a page, sample by sample.
#[derive(Debug)]
pub struct Scanner<'page, 'wanted> {
    rest: &'page str,
    line: usize,
    wanted: Option<&'wanted [&'wanted str]>,
    labels: Vec<Label<'page>>,
}

impl<'page, 'wanted> Scanner<'page, 'wanted> {
    /// Every sample of the page.
    pub fn all(page: &'page str) -> Self {
        Self { rest: page, line: 0, wanted: None, labels: Vec::new() }
    }

    /// The samples with these names; other lines are passed over unread.
    pub fn only(page: &'page str, names: &'wanted [&'wanted str]) -> Self {
        Self { rest: page, line: 0, wanted: Some(names), labels: Vec::new() }
    }

    /// The next sample; none at the end.
    ///
    /// # Errors
    /// A line that is not the text format, or a page that was cut off.
    pub fn next_sample(&mut self) -> Result<Option<SampleLine<'page, '_>>, Malformed> {
        while !self.rest.is_empty() {
            self.line += 1;
            let Some(end) = memchr(b'\n', self.rest.as_bytes()) else {
                // OpenMetrics' last line, `# EOF`, may end without a line feed; no sample may.
                return if self.rest.starts_with('#') {
                    Ok(None)
                } else {
                    Err(self.malformed(Fault::CutOff))
                };
            };
            let (line, rest) = (&self.rest[..end], &self.rest[end + 1..]);
            self.rest = rest;
            if !self.wants(line) {
                continue;
            }
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.labels.clear();
            let (name, value) = sample(line, &mut self.labels).map_err(|fault| self.malformed(fault))?;
            return Ok(Some(SampleLine { line: self.line, name, labels: &self.labels, value }));
        }
        Ok(None)
    }

    fn malformed(&self, fault: Fault) -> Malformed {
        Malformed { line: self.line, fault }
    }

    /// Whether a line must be read: one with a wanted name, and one that does not begin as names and comments do. There
    /// may be a name in quotes or behind blanks, or it may be no metrics page at all.
    fn wants(&self, line: &str) -> bool {
        let Some(names) = self.wanted else { return true };
        match line.as_bytes().first() {
            None | Some(b'#') => false,
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':') => names.iter().any(|name| {
                let after = line.strip_prefix(name).map(str::as_bytes);
                after.is_some_and(|after| matches!(after.first(), Some(b'{' | b' ' | b'\t')))
            }),
            Some(_) => true,
        }
    }
}

/// Name and value of one line; its labels are appended.
fn sample<'page>(line: &'page str, labels: &mut Vec<Label<'page>>) -> Result<(&'page str, f64), Fault> {
    let mut cursor = Cursor { line, at: 0 };
    let mut name = cursor.until(&NAME_END);
    cursor.skip_blanks();
    if cursor.take(b'{') {
        match (name, cursor.labels(labels)?) {
            ("", Some(quoted)) => name = quoted,
            (_, None) => {}
            (_, Some(_)) => return Err(Fault::Label),
        }
        cursor.skip_blanks();
    }
    if name.is_empty() {
        return Err(Fault::Name);
    }
    let value = cursor.until(&BLANK);
    Ok((name, number(value).ok_or(Fault::Value)?))
}

/// Most values are counts, and reading a count takes no more than its digits.
fn number(text: &str) -> Option<f64> {
    // Fifteen digits are exact in a double.
    if text.len() <= 15 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let count = text.bytes().fold(0u64, |count, digit| count * 10 + u64::from(digit - b'0'));
        return Some(count as f64);
    }
    text.parse().ok()
}

/// A set of bytes, as a table: most of the time goes into looking for the end of a name or a value.
type Bytes = [bool; 256];

const BLANK: Bytes = bytes(b" \t");
const NAME_END: Bytes = bytes(b"{ \t");
const LABEL_NAME_END: Bytes = bytes(b"= \t,}\"");
const QUOTED_END: Bytes = bytes(b"\"\\");

const fn bytes(members: &[u8]) -> Bytes {
    let mut table = [false; 256];
    let mut i = 0;
    while i < members.len() {
        table[members[i] as usize] = true;
        i += 1;
    }
    table
}

/// A place in a line. Bytes are enough to find it: no byte of a longer character looks like a separator.
struct Cursor<'page> {
    line: &'page str,
    at: usize,
}

impl<'page> Cursor<'page> {
    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    /// Steps over `byte`, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Steps over a backslash and the character behind it, however many bytes that has.
    fn skip_escaped(&mut self) {
        self.at += 2;
        while !self.line.is_char_boundary(self.at) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// What stands before the next such byte, or before the line's end.
    fn until(&mut self, ends: &Bytes) -> &'page str {
        let rest = &self.line[self.at..];
        let length = rest.bytes().position(|byte| ends[usize::from(byte)]).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Reads up to the closing brace. Gives the metric's name, if it stands in quotes among the labels.
    fn labels(&mut self, labels: &mut Vec<Label<'page>>) -> Result<Option<&'page str>, Fault> {
        let mut metric = None;
        loop {
            self.skip_blanks();
            if self.take(b'}') {
                return Ok(metric);
            }
            let is_quoted = self.peek() == Some(b'"');
            let name = match self.peek() {
                None => return Err(Fault::Unclosed),
                Some(b'"') => self.quoted()?,
                Some(_) => self.until(&LABEL_NAME_END),
            };
            self.skip_blanks();
            if self.take(b'=') {
                self.skip_blanks();
                let raw = self.quoted()?;
                if name.is_empty() {
                    return Err(Fault::Label);
                }
                labels.push(Label { name, raw });
            } else if is_quoted && metric.is_none() {
                metric = Some(name);
            } else {
                return Err(if self.peek().is_none() { Fault::Unclosed } else { Fault::Label });
            }
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                Some(_) => return Err(Fault::Label),
                None => return Err(Fault::Unclosed),
            }
        }
    }

    /// What stands between the quote that is next and the one that closes it.
    fn quoted(&mut self) -> Result<&'page str, Fault> {
        if !self.take(b'"') {
            return Err(Fault::Label);
        }
        let begin = self.at;
        loop {
            self.until(&QUOTED_END);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.line[begin..self.at - 1]);
                }
                // Whatever is escaped does not close the quote.
                Some(_) if self.at + 2 <= self.line.len() => self.skip_escaped(),
                _ => return Err(Fault::Unclosed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name, labels and value of every sample.
    type Read = Vec<(String, Vec<(String, String)>, f64)>;

    fn read(page: &str) -> Result<Read, Malformed> {
        let mut scanner = Scanner::all(page);
        let mut all = Vec::new();
        while let Some(sample) = scanner.next_sample()? {
            let labels = sample.labels.iter().map(|l| (l.name.to_owned(), l.value().into_owned())).collect();
            all.push((sample.name.to_owned(), labels, sample.value));
        }
        Ok(all)
    }

    fn one(line: &str) -> (String, Vec<(String, String)>, f64) {
        read(&format!("{line}\n")).unwrap().remove(0)
    }

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
    }

    #[test]
    fn what_stands_in_quotes_separates_nothing() {
        assert_eq!(
            one(r#"a{route="/users/{id}"} 5"#),
            ("a".into(), labels(&[("route", "/users/{id}")]), 5.0)
        );
        assert_eq!(one(r#"a{q="x,y",r="x=y"} 5"#).1, labels(&[("q", "x,y"), ("r", "x=y")]));
        assert_eq!(
            one(r#"a{q="say \"hi\"",r="c:\\d\n"} 5"#).1,
            labels(&[("q", "say \"hi\""), ("r", "c:\\d\n")])
        );
        assert_eq!(one(r#"a{q="\\"} 5"#).1, labels(&[("q", "\\")]));
    }

    #[test]
    fn every_shape_of_a_line_is_read() {
        assert_eq!(one("job:a:rate5m 5"), ("job:a:rate5m".into(), vec![], 5.0));
        assert_eq!(one("a{} 5 1700000000000").2, 5.0);
        assert_eq!(one(r#"{"utf8.name",x="1"} 5"#), ("utf8.name".into(), labels(&[("x", "1")]), 5.0));
        assert_eq!(one(r#"{"a"} 5"#).0, "a");
        assert_eq!(one(r#"a { q = "1" , r = "2" , } 5"#).1, labels(&[("q", "1"), ("r", "2")]));
        assert_eq!(one(r#"a{"dotted.label"="1"} 5"#).1, labels(&[("dotted.label", "1")]));
        assert_eq!(one("\ta\t+Inf\t").2, f64::INFINITY);
        assert_eq!(one("a -2.5e-3\r").2, -0.0025);
        assert!(one("a NaN").2.is_nan());
        assert_eq!(one(r#"a_bucket{le="1"} 17 # {trace_id="x"} 0.5 1700000000"#).2, 17.0);
    }

    #[test]
    fn comments_and_blank_lines_are_no_samples() {
        assert_eq!(read("# HELP a {\n# TYPE a counter\n\n  \na 1\n# EOF").unwrap().len(), 1);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_line() {
        let cases = [
            ("a{q=\"x} 5\n", Fault::Unclosed),
            ("a{q=x} 5\n", Fault::Label),
            ("a{q} 5\n", Fault::Label),
            ("a{q=\"1\" r=\"2\"} 5\n", Fault::Label),
            ("a{\"b\"} 5\n", Fault::Label),
            ("{\"a\",\"b\"} 5\n", Fault::Label),
            ("{} 5\n", Fault::Name),
            ("a{q=\"1\"\n", Fault::Unclosed),
            ("a{q=\"\\", Fault::CutOff),
            ("a{q=\"\\\n", Fault::Unclosed),
            ("a\n", Fault::Value),
            ("a \n", Fault::Value),
            ("a{q=\"1\"} five\n", Fault::Value),
            ("<html>\n", Fault::Value),
            ("a 12", Fault::CutOff),
        ];
        for (page, fault) in cases {
            assert_eq!(read(&format!("ok 1\n{page}")), Err(Malformed { line: 2, fault }), "{page:?}");
        }
    }

    #[test]
    fn only_the_wanted_names_are_read() {
        let page = "a 1\nab 2\n# a\na{x=\"1\"} 3\nbroken\n{\"c\"} 4\n b 5\n";
        let mut scanner = Scanner::only(page, &["a", "c"]);
        let mut seen = Vec::new();
        while let Some(sample) = scanner.next_sample().unwrap() {
            seen.push((sample.name, sample.value));
        }
        assert_eq!(seen, [("a", 1.0), ("a", 3.0), ("c", 4.0), ("b", 5.0)]);
        assert!(Scanner::only("<html>\n", &["a"]).next_sample().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(page in "[a-z{}=\",\\\\ #\n0-9é]{0,80}") {
            let _ = read(&page);
        }

        /// Whatever a label holds, it is read back as it was before it was escaped.
        #[test]
        fn any_label_value_is_read_back(value in any::<String>()) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            prop_assert_eq!(&one(&format!("a{{l=\"{escaped}\"}} 1")).1[0].1, &value);
        }

        /// On the part of the format that it reads right, an independent parser says the same.
        #[test]
        fn an_independent_parser_agrees(
            samples in proptest::collection::vec(
                ("[a-z_][a-z0-9_]{0,8}", proptest::collection::btree_map("[a-z_][a-z0-9_]{0,5}", "[a-zA-Z0-9/_.-]{1,8}", 1..4), -1e9..1e9f64),
                0..20,
            ),
        ) {
            let mut page = String::new();
            for (name, labels, value) in &samples {
                let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{v}\"")).collect();
                page += &format!("{name}{{{}}} {value}\n", labels.join(","));
            }
            let lines = page.lines().map(|l| Ok(l.to_owned()));
            let oracle = prometheus_parse::Scrape::parse(lines).unwrap();
            let ours = read(&page).unwrap();
            prop_assert_eq!(ours.len(), oracle.samples.len());
            for ((name, labels, value), theirs) in ours.iter().zip(&oracle.samples) {
                prop_assert_eq!(name, &theirs.metric);
                prop_assert!(labels.iter().all(|(n, v)| theirs.labels.get(n) == Some(v.as_str())));
                prop_assert_eq!(labels.len(), theirs.labels.len());
                prop_assert_eq!(&prometheus_parse::Value::Untyped(*value), &theirs.value);
            }
        }
    }
}
