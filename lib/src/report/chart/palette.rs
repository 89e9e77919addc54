//! Colours and patterns. The same names carry them in a chart that stands alone and in the page around it.

/// The colours by name: for light, for dark, and for paper, which is always light.
pub(in crate::report) const COLOURS: &str = include_str!("colours.css");
/// What the classes of the charts look like.
pub(in crate::report) const CHARTS: &str = include_str!("chart.css");

/// What a chart needs to stand alone. A page that has it once takes it out of its charts.
pub(in crate::report) const STYLE: &str = concat!("<style>", include_str!("colours.css"), include_str!("chart.css"), "</style>");

/// The patterns of one chart: what colours say is also drawn.
pub(super) fn patterns(chart: &str) -> String {
    let pattern = |what: &str, size: u32, class: &str, path: &str| {
        format!(
            r#"<pattern id="{chart}-{what}" width="{size}" height="{size}" patternUnits="userSpaceOnUse"><path class="{class}" d="{path}"></path></pattern>"#
        )
    };
    let all = [
        pattern("gap", 6, "hatch", "M-1 7L7 -1M-1 1L1 -1M5 7L7 5"),
        pattern("degraded", 6, "hatch degraded", "M-1 -1L7 7M-1 5L1 7M5 -1L7 1"),
        pattern("failed", 5, "hatch failed", "M-1 6L6 -1M-1 -1L6 6"),
        pattern("unknown", 5, "hatch unknown", "M2 2h.1"),
    ];
    format!("<defs>{}</defs>", all.concat())
}
