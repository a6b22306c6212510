//! Small charts of one number or a few for each policy, as SVG: they need no script, and print.

use std::fmt::Write;

use plimsoll_page::escape;

/// Width of the names' column, of the whole, and height of a row, in units of the drawing.
const NAMES: f64 = 190.0;
const WIDTH: f64 = 900.0;
const ROW: f64 = 24.0;
/// Room for numbers at the right.
const NUMBERS: f64 = 120.0;

/// A policy's row.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    /// Ascending; of bars the lengths of their parts.
    pub(super) values: Vec<f64>,
    /// What is written at its end.
    pub(super) text: String,
}

/// Dots joined by a line, on a logarithmic axis in powers of ten. Values must be above zero; rows without are left out.
pub(super) fn dots(rows: &[Row<'_>], label: &str, tick: impl Fn(f64) -> String) -> Option<String> {
    let all = || rows.iter().flat_map(|row| row.values.iter().copied()).filter(|value| *value > 0.0);
    let least = all().min_by(f64::total_cmp)?.log10().floor();
    let most = all().max_by(f64::total_cmp)?.log10().ceil().max(least + 1.0);
    let across = |value: f64| NAMES + (WIDTH - NAMES - NUMBERS) * (value.log10() - least) / (most - least);
    let rows: Vec<&Row<'_>> = rows.iter().filter(|row| row.values.iter().all(|v| *v > 0.0)).collect();
    let height = ROW * (rows.len() as f64 + 1.0);
    let mut svg = head(height, label);
    let powers = (least as i32)..=(most as i32);
    for power in powers {
        let (value, x) = (10f64.powi(power), across(10f64.powi(power)));
        // Writing to a text cannot fail.
        let _ = writeln!(
            svg,
            "<line class=\"rule\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            height - ROW,
            height - 6.0,
            escape(&tick(value)),
        );
    }
    for (i, row) in rows.iter().enumerate() {
        let y = ROW * (i as f64 + 0.5);
        begin_row(&mut svg, row, y);
        let ends = row.values.first().zip(row.values.last());
        if let Some((first, last)) = ends {
            let (from, to) = (across(*first), across(*last));
            let _ = write!(
                svg,
                "<line class=\"span\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            );
        }
        for value in &row.values {
            let _ = write!(svg, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"/>", across(*value));
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Bars of several parts, from zero.
pub(super) fn bars(rows: &[Row<'_>], label: &str) -> Option<String> {
    let longest = rows.iter().map(|row| row.values.iter().sum::<f64>()).max_by(f64::total_cmp)?;
    if longest <= 0.0 {
        return None;
    }
    let width = |value: f64| (WIDTH - NAMES - NUMBERS) * value / longest;
    let mut svg = head(ROW * rows.len() as f64, label);
    for (i, row) in rows.iter().enumerate() {
        let y = ROW * (i as f64 + 0.5);
        begin_row(&mut svg, row, y);
        let mut x = NAMES;
        for (part, value) in row.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let _ = write!(
                svg,
                "<rect class=\"part{part}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\"/>",
                y - 7.0,
                width(*value)
            );
            x += width(*value);
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

fn head(height: f64, label: &str) -> String {
    format!(
        "<svg class=\"rows\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(label)
    )
}

fn begin_row(svg: &mut String, row: &Row<'_>, y: f64) {
    let own = if row.name.starts_with("plimsoll") { " class=\"own\"" } else { "" };
    let (middle, right) = (y + 4.5, WIDTH - 2.0);
    let _ = write!(
        svg,
        "<g{own}><text x=\"0\" y=\"{middle:.1}\">{}</text><text class=\"end\" x=\"{right}\" y=\"{middle:.1}\">{}</text>",
        escape(row.name),
        escape(&row.text)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_drawn_to_scale_and_names_are_text() {
        let row = |name, values: &[f64]| Row { name, values: values.to_vec(), text: "t".into() };
        let drawn = dots(&[row("<a>", &[0.1, 1.0, 10.0]), row("b", &[])], "l", |v| v.to_string()).unwrap();
        // From 0.1 to 10: the middle one is halfway.
        let middle = NAMES + (WIDTH - NAMES - NUMBERS) / 2.0;
        assert!(drawn.contains(&format!("cx=\"{middle:.1}\"")), "{drawn}");
        assert!(drawn.contains("&lt;a&gt;") && !drawn.contains("<a>"));
        assert!(dots(&[], "l", |v| v.to_string()).is_none());
        let drawn = bars(&[row("a", &[1.0, 1.0]), row("b", &[4.0])], "l").unwrap();
        let whole = WIDTH - NAMES - NUMBERS;
        assert!(drawn.contains(&format!("width=\"{:.1}\"", whole / 4.0)), "{drawn}");
        assert!(drawn.contains(&format!("width=\"{whole:.1}\"")), "{drawn}");
        assert!(bars(&[row("a", &[0.0])], "l").is_none());
    }
}
