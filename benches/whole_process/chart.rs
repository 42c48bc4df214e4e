//! The table and the chart of `docs/performance.md`.

use std::fmt::Write as _;
use std::path::Path;

use crate::goals::Row;

const BEGIN: &str = "<!-- figures of make bench -->\n";
const END: &str = "<!-- end of figures -->";

/// Puts the table between its marks in the page, and the chart beside the page.
pub fn write(rows: &[Row], measured: &str) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = docs.join("performance.md");
    let text = std::fs::read_to_string(&page).expect("the page can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the figures");
    let (_, after) = rest.split_once(END).expect("the place has an end");
    let table = format!("{before}{BEGIN}{measured}\n\n{}{END}{after}", markdown(rows));
    std::fs::write(page, table).expect("the page can be written");
    std::fs::write(docs.join("performance.svg"), svg(rows)).expect("the chart can be written");
}

fn markdown(rows: &[Row]) -> String {
    let mut text = "| run | measured | goal | |\n|---|---|---|---|\n".to_owned();
    for row in rows {
        let figure = row.figure.map_or("–".to_owned(), |figure| row.show(figure));
        let note = if row.note.is_empty() { String::new() } else { format!("; {}", row.note) };
        let _ =
            writeln!(text, "| {} | {figure} | {} | {}{note} |", row.name, row.show(row.goal), row.verdict());
    }
    text
}

/// One bar for each row: the share of its goal that it takes.
fn svg(rows: &[Row]) -> String {
    const WIDTH: f64 = 860.0;
    const LINE: f64 = 24.0;
    const BARS: f64 = 330.0;
    const GOAL: f64 = 320.0;
    let measured: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((row, row.figure?))).collect();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen rows")]
    let height = LINE * (measured.len() as f64 + 2.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"16\" text-anchor=\"middle\">goal</text>\n",
        BARS + GOAL
    );
    let mut y = LINE;
    for (row, figure) in measured {
        let share = (figure / row.goal).min(1.3);
        let color = if row.is_met() { "#3a7d44" } else { "#b3261e" };
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{BARS}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{color}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"white\">{}</text>",
            BARS - 8.0,
            y + 16.0,
            row.name,
            y + 3.0,
            share * GOAL,
            LINE - 6.0,
            BARS + 6.0,
            y + 16.0,
            row.show(figure),
        );
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\">{}</text>",
            BARS + GOAL * 1.3 + 8.0,
            y + 16.0,
            row.show(row.goal)
        );
        y += LINE;
    }
    let goal = BARS + GOAL;
    let _ = write!(
        out,
        "<line x1=\"{goal}\" y1=\"{}\" x2=\"{goal}\" y2=\"{y}\" stroke=\"black\" stroke-dasharray=\"4 3\"/>\n</svg>\n",
        LINE - 4.0
    );
    out
}
