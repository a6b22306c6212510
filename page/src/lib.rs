//! Pages for a browser: one file each, which loads nothing, from nowhere.
//!
//! A page is a template around a body, its data, and a script that draws charts of them. Whatever comes from outside goes through
//! [`escape`]; data are JSON and are made safe here. The page forbids itself the network, so that a report that is passed on
//! tells nobody who reads it; one that is [`live`](Page::is_live) may ask whoever served it, and nobody else. Charts are drawn by uPlot, which is part of the page; `charts.js` has what all charts have
//! in common, and says how a page's own script is to use it.

mod thin;

use std::borrow::Cow;
use std::fmt;

pub use thin::thin;

const UPLOT: &str = include_str!("../assets/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../assets/uplot/uPlot.min.css");
const THEME: &str = include_str!("theme.css");
const CHARTS: &str = include_str!("charts.js");

/// Text that is shown as it is, in elements and in attributes within quotes.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// A page. It is written by its [`Display`](fmt::Display).
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Its title: text.
    pub title: &'a str,
    /// What is in it: HTML.
    pub body: &'a str,
    /// What its script draws: JSON, which the script finds as `plimsoll.data`.
    pub data: &'a str,
    /// Its own script, which must not contain `</`, and has `plimsoll` and `uPlot`.
    pub script: &'static str,
    /// Whether it goes on asking the server that it came from.
    pub is_live: bool,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, body, data, script, is_live } = self;
        let connect = if *is_live { "connect-src 'self'; " } else { "" };
        // In JSON these occur within strings alone, where they may be escaped. Without "<" nothing ends a script or begins a comment.
        let data = data.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        write!(
            f,
            r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; {connect}base-uri 'none'; form-action 'none'">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{UPLOT_STYLE}
{THEME}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="data">{data}</script>
<script>{UPLOT}</script>
<script>{CHARTS}</script>
<script>{script}</script>
</body>
</html>
"##,
            title = escape(title),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "</script><!--<b a=\"b\" c='d'>&amp;";

    fn page(title: &str, data: &str) -> String {
        Page { title, body: "<p>Body</p>", data, script: "plimsoll.data;", is_live: false }.to_string()
    }

    #[test]
    fn text_is_shown_as_it_is() {
        let expected = "&lt;/script&gt;&lt;!--&lt;b a=&quot;b&quot; c=&#39;d&#39;&gt;&amp;amp;";
        assert_eq!(escape(NASTY), expected);
        assert!(matches!(escape("10 µs"), Cow::Borrowed("10 µs")));
    }

    #[test]
    fn nothing_in_the_data_ends_the_island() {
        let data = serde_json::json!({ "trace": NASTY, "line": "\u{2028}" });
        let text = page(NASTY, &data.to_string());
        let (_, island) = text.split_once("id=\"data\">").unwrap();
        let (island, _) = island.split_once("</script>").unwrap();
        assert!(!island.contains(['<', '>', '&']));
        assert_eq!(serde_json::from_str::<serde_json::Value>(island).unwrap(), data);
        assert!(!text.contains(NASTY));
    }

    #[test]
    fn what_is_built_in_is_safe_in_its_place_and_loads_nothing() {
        for script in [UPLOT, CHARTS] {
            assert!(!script.contains("</") && !script.contains("<!--"));
        }
        for style in [UPLOT_STYLE, THEME] {
            assert!(!style.contains(['<']) && !style.contains("url(") && !style.contains("@import"));
        }
        // The one address is in uPlot's own heading, a comment.
        let text = page("", "null");
        assert_eq!((text.matches("://").count(), text.matches("/*! https://").count()), (1, 1));
        assert!(!text.contains(" src="));
    }
}
