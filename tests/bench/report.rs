//! What contenders took, side by side: printed while they run, and written at the end as a table and as a plot.

use crate::{median, spread};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// One race: the same work by several programs, in turns.
pub struct Race {
    pub what: String,
    times: Vec<(String, Vec<Duration>)>,
    /// The machine's load before it began.
    load: String,
}

static RACES: Mutex<Vec<Race>> = Mutex::new(Vec::new());

/// How the contender is called with which all others are compared, or begins to be.
pub const OURS: &str = "specweave-jobs clone";

impl Race {
    pub fn new(what: impl Into<String>) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        Self { what: what.into(), times: Vec::new(), load }
    }

    /// Takes down one run of a contender.
    pub fn ran(&mut self, who: &str, took: Duration) {
        match self.times.iter_mut().find(|(name, _)| name == who) {
            Some((_, times)) => times.push(took),
            None => self.times.push((who.to_owned(), vec![took])),
        }
    }

    fn ours(&self) -> Option<&[Duration]> {
        self.times.iter().find(|(name, _)| name.starts_with(OURS)).map(|(_, times)| times.as_slice())
    }

    /// How many times as long as ours somebody took.
    fn times_ours(&self, times: &[Duration]) -> f64 {
        median(times).as_secs_f64() / self.ours().map_or(f64::NAN, |ours| median(ours).as_secs_f64())
    }

    /// Prints it and keeps it for the table.
    pub fn end(self) {
        println!("{} (load {} before):", self.what, self.load);
        for (who, times) in &self.times {
            println!("  {who:<28} {}  = {:.2} times ours", spread(times), self.times_ours(times));
        }
        RACES.lock().unwrap().push(self);
    }
}

/// Writes what was run as `figures.md` and `figures.svg` into `folder`.
pub fn write(folder: &Path) {
    let races = RACES.lock().unwrap();
    if races.is_empty() {
        return;
    }
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("figures.md"), table(&races)).unwrap();
    fs::write(folder.join("figures.svg"), plot(&races)).unwrap();
    println!("\nwritten: {0}/figures.md and {0}/figures.svg", folder.display());
}

fn table(races: &[Race]) -> String {
    let mut out = String::from("| what | contender | median | times ours | load |\n|---|---|---|---|---|\n");
    for race in races {
        for (who, times) in &race.times {
            let (took, ratio) = (median(times).as_secs_f64(), race.times_ours(times));
            let _ = writeln!(out, "| {} | {who} | {took:.2} s | {ratio:.1} | {} |", race.what, race.load);
        }
    }
    out
}

/// Bars of how long each took, as parts of the slowest of its race.
fn plot(races: &[Race]) -> String {
    const BAR: f64 = 14.0;
    const LINE: f64 = 20.0;
    const LEFT: f64 = 210.0;
    const WIDE: f64 = 640.0;
    let lines: usize = races.iter().map(|race| race.times.len() + 2).sum();
    let height = LINE * lines as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDE} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut y = LINE;
    for race in races {
        let slowest = race.times.iter().map(|(_, times)| median(times)).max().unwrap_or_default();
        let _ = writeln!(out, "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{}</text>", race.what);
        y += LINE;
        for (who, times) in &race.times {
            let took = median(times).as_secs_f64();
            let long = (WIDE - LEFT - 90.0) * took / slowest.as_secs_f64();
            let colour = if who.starts_with(OURS) { "#2f6fde" } else { "#b5b5b5" };
            let top = y - BAR + 3.0;
            let _ = writeln!(
                out,
                "<text x=\"20\" y=\"{y}\">{who}</text><rect x=\"{LEFT}\" y=\"{top}\" width=\"{long:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{y}\">{took:.2} s</text>",
                LEFT + long + 6.0
            );
            y += LINE;
        }
        y += LINE;
    }
    out + "</svg>\n"
}
