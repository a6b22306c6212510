//! Label selectors: the grammar of Kubernetes, whole.
//!
//! ```text
//! selector    = [ requirement { "," requirement } ]          all must hold; none holds always
//! requirement = key | "!" key | key ("=" | "==" | "!=") value
//!             | key ("in" | "notin") "(" value { "," value } ")" | key (">" | "<") integer
//! ```
//!
//! A value may be empty. `!=` and `notin` hold for labels without the key too; `=`, `in`, `>` and `<` do not.

use std::fmt;

/// Requirements on labels, all of which must hold. The text form reads back as the same selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector<'a>(Vec<Requirement<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement<'a> {
    key: &'a str,
    condition: Condition<'a>,
}

/// Values are sorted, and at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition<'a> {
    Exists,
    Absent,
    In(Vec<&'a str>),
    NotIn(Vec<&'a str>),
    Above(i64),
    Below(i64),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SelectorError {
    #[error("found '{found}', expected: {expected}")]
    Unexpected { found: String, expected: &'static str },
    #[error(
        "found '{0}', expected: a label key: up to 63 letters, digits, '-', '_' or '.', a letter or digit first and last, \
         before it perhaps a DNS name and '/'"
    )]
    Key(String),
    #[error(
        "found '{0}', expected: a label value: none or up to 63 letters, digits, '-', '_' or '.', a letter or digit \
         first and last"
    )]
    Value(String),
    #[error("found '{0}', expected: an integer")]
    Integer(String),
}

impl<'a> Selector<'a> {
    /// Reads a selector.
    pub(super) fn parse(text: &'a str) -> Result<Self, SelectorError> {
        let mut tokens = Tokens { rest: text };
        let mut requirements = Vec::new();
        if tokens.peek() == END {
            return Ok(Self(requirements));
        }
        loop {
            requirements.push(Requirement::parse(&mut tokens)?);
            match tokens.take() {
                "," => {}
                END => return Ok(Self(requirements)),
                other => return Err(unexpected(other, "',' or 'end of string'")),
            }
        }
    }

    /// Whether all requirements hold for these keys and values; a key stands there at most once.
    pub(super) fn matches(&self, labels: &[(&str, &str)]) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.iter().find(|(key, _)| *key == requirement.key).map(|(_, value)| *value);
            let integer = || value.and_then(|value| value.parse::<i64>().ok());
            match &requirement.condition {
                Condition::Exists => value.is_some(),
                Condition::Absent => value.is_none(),
                Condition::In(values) => value.is_some_and(|value| values.contains(&value)),
                Condition::NotIn(values) => value.is_none_or(|value| !values.contains(&value)),
                Condition::Above(limit) => integer().is_some_and(|value| value > *limit),
                Condition::Below(limit) => integer().is_some_and(|value| value < *limit),
            }
        })
    }
}

impl<'a> Requirement<'a> {
    fn parse(tokens: &mut Tokens<'a>) -> Result<Self, SelectorError> {
        let negated = tokens.peek() == "!";
        if negated {
            tokens.take();
        }
        let key = match tokens.take() {
            key if is_word(key) => {
                is_key(key).then_some(key).ok_or_else(|| SelectorError::Key(key.to_owned()))?
            }
            other => return Err(unexpected(other, if negated { "a key" } else { "'!' or a key" })),
        };
        let condition = match tokens.peek() {
            _ if negated => Condition::Absent,
            END | "," => Condition::Exists,
            _ => match tokens.take() {
                "=" | "==" => Condition::In(vec![tokens.value()?]),
                "!=" => Condition::NotIn(vec![tokens.value()?]),
                "in" => Condition::In(tokens.values()?),
                "notin" => Condition::NotIn(tokens.values()?),
                ">" => Condition::Above(tokens.integer()?),
                "<" => Condition::Below(tokens.integer()?),
                other => return Err(unexpected(other, "in, notin, =, ==, !=, >, <")),
            },
        };
        Ok(Self { key, condition })
    }
}

/// The token at the end of the text.
const END: &str = "";
const SYMBOLS: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The text that is still to be read. A token is a symbol or a word; words end at symbols and blanks.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> &'a str {
        let rest = self.rest.trim_start_matches(BLANKS);
        let length = if rest.starts_with("==") || rest.starts_with("!=") {
            2
        } else if rest.starts_with(SYMBOLS) {
            1
        } else {
            rest.find(|c| SYMBOLS.contains(&c) || BLANKS.contains(&c)).unwrap_or(rest.len())
        };
        &rest[..length]
    }

    fn take(&mut self) -> &'a str {
        let token = self.peek();
        self.rest = &self.rest.trim_start_matches(BLANKS)[token.len()..];
        token
    }

    /// A value; the empty one is no token at all.
    fn value(&mut self) -> Result<&'a str, SelectorError> {
        let value = if is_word(self.peek()) { self.take() } else { "" };
        if value.is_empty() || is_name(value) {
            Ok(value)
        } else {
            Err(SelectorError::Value(value.to_owned()))
        }
    }

    fn values(&mut self) -> Result<Vec<&'a str>, SelectorError> {
        match self.take() {
            "(" => {}
            other => return Err(unexpected(other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            match self.take() {
                "," => {}
                ")" => break,
                other => return Err(unexpected(other, "',' or ')'")),
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn integer(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.parse().map_err(|_| SelectorError::Integer(value.to_owned()))
    }
}

fn unexpected(found: &str, expected: &'static str) -> SelectorError {
    SelectorError::Unexpected { found: found.to_owned(), expected }
}

fn is_word(token: &str) -> bool {
    token != END && !token.starts_with(SYMBOLS)
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

/// The form of a key's own part and of values that are not empty.
fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_dns_subdomain(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            label.starts_with(alphanumeric)
                && label.ends_with(alphanumeric)
                && label.chars().all(|c| alphanumeric(c) || c == '-')
        })
}

impl fmt::Display for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Requirement { key, condition }) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "," })?;
            match condition {
                Condition::Exists => f.write_str(key)?,
                Condition::Absent => write!(f, "!{key}")?,
                Condition::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Condition::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Condition::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Condition::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Condition::Above(limit) => write!(f, "{key}>{limit}")?,
                Condition::Below(limit) => write!(f, "{key}<{limit}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(selector: &str, labels: &[(&str, &str)]) -> bool {
        Selector::parse(selector).unwrap().matches(labels)
    }

    /// Requirements on the keys `a` and `b/c`, written every way there is.
    fn requirement() -> impl Strategy<Value = String> {
        let key = prop_oneof![Just("a"), Just("b/c"), Just("in"), Just("notin")];
        let rest = r"| ?(=|==|!=) ?[x-z]?| (in|notin) ?\( ?[x-z]?( ?,[x-z]?){0,3}\)|[<>]-?[0-9]";
        (r"!?", key, rest).prop_map(|(negation, key, rest)| match &*negation {
            "" => format!("{key}{rest}"),
            _ => format!("! {key}"),
        })
    }

    fn label() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[x-z0-9]?")
    }

    proptest! {
        #[test]
        fn a_selector_reads_back_what_it_prints(parts in prop::collection::vec(requirement(), 0..4)) {
            let text = parts.join(",");
            // A negative integer is no label value, so such a requirement is refused, as Kubernetes does.
            if let Ok(selector) = Selector::parse(&text) {
                let printed = selector.to_string();
                prop_assert_eq!(Selector::parse(&printed), Ok(selector));
            } else {
                prop_assert!(text.contains('-'), "{text}");
            }
        }

        #[test]
        fn the_order_of_requirements_does_not_matter(
            parts in prop::collection::vec(requirement().prop_filter("refused", |r| !r.contains('-')), 0..4),
            a in label(),
            c in label(),
        ) {
            let labels: Vec<_> = [("a", &a), ("b/c", &c)].into_iter()
                .filter_map(|(key, value)| Some((key, value.as_deref()?))).collect();
            let reversed: Vec<_> = parts.iter().rev().cloned().collect();
            prop_assert_eq!(holds(&parts.join(","), &labels), holds(&reversed.join(","), &labels));
        }

        #[test]
        fn notin_is_the_opposite_of_in(values in prop::collection::vec("[x-z]?", 1..4), a in label()) {
            let labels: Vec<_> = a.as_deref().map(|a| ("a", a)).into_iter().collect();
            let values = values.join(",");
            prop_assert_ne!(holds(&format!("a in ({values})"), &labels), holds(&format!("a notin ({values})"), &labels));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), symbols in r"[a=!(),<> in\t]{0,20}") {
            let _ = Selector::parse(&text);
            let _ = Selector::parse(&symbols);
        }
    }

    #[test]
    fn every_operator_holds_when_it_should() {
        let labels = [("a", "x"), ("n", "7"), ("empty", "")];
        for selector in [
            "",
            "  ",
            "a",
            "!b",
            "a=x",
            "a==x",
            "a!=y",
            "b!=x",
            "a in (x,y)",
            "a notin (y)",
            "b notin (x)",
            "n>6",
            "n<8",
            "empty=",
            "empty in (,x)",
            "empty in ()",
            "a\t=\r\nx , !b",
            "a in (in,x)",
        ] {
            assert!(holds(selector, &labels), "{selector:?}");
        }
        for selector in [
            "b",
            "!a",
            "a=y",
            "b=x",
            "a!=x",
            "a in (y)",
            "b in (x)",
            "a notin (x)",
            "n>7",
            "a>1",
            "b<1",
            "a,b",
        ] {
            assert!(!holds(selector, &labels), "{selector:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_stands_where_something_else_should() {
        for (selector, message) in [
            ("a in (x", "found '', expected: ',' or ')'"),
            ("a in x", "found 'x', expected: '('"),
            ("a,", "found '', expected: '!' or a key"),
            ("a x", "found 'x', expected: in, notin, =, ==, !=, >, <"),
            ("!a=x", "found '=', expected: ',' or 'end of string'"),
            ("a=x=y", "found '=', expected: ',' or 'end of string'"),
            ("a>x", "found 'x', expected: an integer"),
            ("a>=1", "found '', expected: an integer"),
        ] {
            assert_eq!(Selector::parse(selector).unwrap_err().to_string(), message, "{selector}");
        }
    }

    #[test]
    fn keys_and_values_have_the_form_of_labels() {
        let long = "x".repeat(64);
        for key in ["_a", "a/", "/a", "a/b/c", "A/b", "a..b/c", "-a/b", "a%", "é", &long] {
            assert!(matches!(Selector::parse(key), Err(SelectorError::Key(_))), "{key}");
        }
        for value in ["-x", "x.", "x/y", "\u{fffd}", "\0", &long] {
            let selector = format!("a={value}");
            assert!(matches!(Selector::parse(&selector), Err(SelectorError::Value(_))), "{value}");
        }
    }
}
