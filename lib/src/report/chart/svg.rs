//! A small writer of SVG: shapes with a class, numbers to a tenth of a pixel, text that stays text. Elements are written as a
//! browser writes them back, with an end tag each, so that what was sent can be held against what was understood.

use crate::report::words::visible;
use std::fmt::{self, Display, Write};

/// A piece of a picture.
#[derive(Debug, Default)]
pub(super) struct Svg(String);

/// Where a text begins to be written from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub fn into_text(self) -> String {
        self.0
    }

    fn put(&mut self, text: fmt::Arguments) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(text);
    }

    pub fn add(&mut self, other: Svg) {
        self.0.push_str(&other.0);
    }

    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(Number);
        self.put(format_args!(r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"></line>"#));
    }

    pub fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64)) {
        self.rect_with(class, at, size, "");
    }

    /// A rectangle that says this when it is pointed at.
    pub fn rect_with(&mut self, class: &str, at: (f64, f64), size: (f64, f64), tip: &str) {
        let [x, y, width, height] = [at.0, at.1, size.0.max(0.0), size.1.max(0.0)].map(Number);
        let tip = title(tip);
        self.put(format_args!(r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}">{tip}</rect>"#));
    }

    pub fn path(&mut self, class: &str, steps: &Steps) {
        self.path_with(class, steps, "");
    }

    /// A path that says this when it is pointed at.
    pub fn path_with(&mut self, class: &str, steps: &Steps, tip: &str) {
        if !steps.0.is_empty() {
            let (d, tip) = (&steps.0, title(tip));
            self.put(format_args!(r#"<path class="{class}" d="{d}">{tip}</path>"#));
        }
    }

    /// A shape that is filled with a pattern of this chart.
    pub fn filled(&mut self, class: &str, pattern: &str, steps: &Steps) {
        if !steps.0.is_empty() {
            let d = &steps.0;
            self.put(format_args!(r##"<path class="{class}" fill="url(#{pattern})" d="{d}"></path>"##));
        }
    }

    pub fn text(&mut self, class: &str, anchor: Anchor, at: (f64, f64), text: &str) {
        self.text_with(class, anchor, at, text, "");
    }

    /// A text that says more when it is pointed at.
    pub fn text_with(&mut self, class: &str, anchor: Anchor, at: (f64, f64), text: &str, tip: &str) {
        let side = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " mid",
            Anchor::End => " end",
        };
        let (x, y, text, tip) = (Number(at.0), Number(at.1), Text(text), title(tip));
        self.put(format_args!(r#"<text class="{class}{side}" x="{x}" y="{y}">{text}{tip}</text>"#));
    }
}

fn title(tip: &str) -> String {
    if tip.is_empty() { String::new() } else { format!("<title>{}</title>", Text(tip)) }
}

/// The steps of a path.
#[derive(Debug, Default)]
pub(super) struct Steps(String);

impl Steps {
    fn put(&mut self, step: char, numbers: &[f64]) -> &mut Steps {
        self.0.push(step);
        for (at, number) in numbers.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            let _ = write!(self.0, "{space}{}", Number(*number));
        }
        self
    }

    pub fn go(&mut self, x: f64, y: f64) -> &mut Steps {
        self.put('M', &[x, y])
    }

    pub fn draw(&mut self, x: f64, y: f64) -> &mut Steps {
        self.put('L', &[x, y])
    }

    /// Through all of these points; a single one is a dot, by the round ends of lines.
    pub fn along(&mut self, points: &[(f64, f64)]) -> &mut Steps {
        for (at, (x, y)) in points.iter().enumerate() {
            self.put(if at == 0 { 'M' } else { 'L' }, &[*x, *y]);
        }
        if points.len() == 1 {
            self.0.push_str("h.1");
        }
        self
    }

    pub fn bar(&mut self, at: (f64, f64), size: (f64, f64)) -> &mut Steps {
        self.put('M', &[at.0, at.1]).put('h', &[size.0]).put('v', &[size.1]).put('h', &[-size.0]).end()
    }

    pub fn end(&mut self) -> &mut Steps {
        self.0.push('z');
        self
    }
}

/// A coordinate: to a tenth of a pixel, without what says nothing.
pub(super) struct Number(pub f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        let sign = if tenths < 0 { "-" } else { "" };
        match (tenths.abs() / 10, tenths.abs() % 10) {
            (whole, 0) => write!(f, "{sign}{whole}"),
            (whole, tenth) => write!(f, "{sign}{whole}.{tenth}"),
        }
    }
}

/// Text as text, in content and in attributes, in HTML and in XML.
pub(in crate::report) struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in visible(self.0).chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // XML has no word for these two.
                '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// How wide a text is at the size of the charts, generously: fonts differ.
pub(super) fn width(text: &str) -> f64 {
    unicode_width::UnicodeWidthStr::width(text) as f64 * 6.9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_always_the_same() {
        let text = |number: f64| Number(number).to_string();
        assert_eq!([text(1.0), text(1.25), text(-0.04), text(-0.25), text(1e3), text(0.96)], ["1", "1.3", "0", "-0.3", "1000", "1"]);
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(Text("<a> & \"b\"\u{0}\u{ffff}\u{202e}").to_string(), "&lt;a&gt; &amp; &quot;b&quot;\\u{0}\u{fffd}\\u{202e}");
        let mut svg = Svg::default();
        svg.text_with("t", Anchor::End, (1.0, 2.0), "</text><script>", "]]>");
        assert_eq!(svg.into_text(), r#"<text class="t end" x="1" y="2">&lt;/text&gt;&lt;script&gt;<title>]]&gt;</title></text>"#);
    }

    #[test]
    fn a_path_of_one_point_is_a_dot() {
        let mut steps = Steps::default();
        steps.along(&[(1.0, 2.0)]).along(&[(3.0, 4.0), (5.0, 6.0)]);
        assert_eq!(steps.0, "M1 2h.1M3 4L5 6");
    }
}
