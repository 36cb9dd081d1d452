//! Two plots over the incidents that are kept: how fast each was repaired, and how many there were. Drawn as SVG here, so
//! they need no script; the same numbers are in the list of incidents.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use ruleward_report::Incident;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 24.0;
/// Bars of the second plot.
const BARS: usize = 24;
/// The scale of latencies, in powers of ten of a millisecond: from 10 µs to 100 s.
const DECADES: (f64, f64) = (-2.0, 5.0);

/// The section.
pub fn section(incidents: &[Incident]) -> Markup {
    let times: Vec<SystemTime> =
        incidents.iter().filter_map(|one| humantime::parse_rfc3339(&one.last_at).ok()).collect();
    let Some((from, to)) = times.iter().min().copied().zip(times.iter().max().copied()) else {
        return html! { h2 { "Over time" } p { "Nothing to draw yet." } };
    };
    // A single moment gets a minute around it.
    let from = from.checked_sub(Duration::from_secs(30)).unwrap_or(from);
    let to = to.checked_add(Duration::from_secs(30)).unwrap_or(to);
    let axis = Axis { from, span: to.duration_since(from).unwrap_or_default().as_secs_f64().max(1.0) };
    html! {
        h2 { "Over time" }
        figure {
            figcaption { "Time from a change to its repair, each incident a point, logarithmic" }
            (latencies(incidents, &axis))
        }
        figure {
            figcaption { "Incidents, " (interval(axis.span / BARS as f64)) " a bar" }
            (counts(&times, &axis))
        }
        p.axis { (ruleward_report::timestamp(from)) " to " (ruleward_report::timestamp(to)) }
    }
}

struct Axis {
    from: SystemTime,
    span: f64,
}

impl Axis {
    /// Where a time is, from 0 to 1.
    fn share(&self, at: SystemTime) -> f64 {
        (at.duration_since(self.from).unwrap_or_default().as_secs_f64() / self.span).clamp(0.0, 1.0)
    }

    fn x(&self, at: SystemTime) -> f64 {
        LEFT + self.share(at) * (WIDTH - LEFT - 8.0)
    }
}

fn y(milliseconds: f64) -> f64 {
    let (least, most) = DECADES;
    let share = ((milliseconds.max(1e-9).log10() - least) / (most - least)).clamp(0.0, 1.0);
    (HEIGHT - BOTTOM) - share * (HEIGHT - BOTTOM - 10.0)
}

fn latencies(incidents: &[Incident], axis: &Axis) -> Markup {
    let mut worst: f64 = 0.0;
    let points: Vec<(f64, f64, bool)> = incidents
        .iter()
        .filter_map(|one| {
            let at = humantime::parse_rfc3339(&one.last_at).ok()?;
            let time = one.latency_ms.unwrap_or(one.took_ms);
            worst = worst.max(time);
            Some((axis.x(at), y(time), one.repaired))
        })
        .collect();
    let label = format!("{} incidents; the slowest repair took {worst:.2} ms", points.len());
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            @for (milliseconds, name) in [(0.1, "0.1 ms"), (1.0, "1 ms"), (10.0, "10 ms"), (100.0, "100 ms"), (1e3, "1 s"), (1e4, "10 s")] {
                line.grid x1=(LEFT) x2=(WIDTH) y1=(number(y(milliseconds))) y2=(number(y(milliseconds))) {}
                text x=(LEFT - 6.0) y=(number(y(milliseconds) + 4.0)) text-anchor="end" { (name) }
            }
            @for (x, y, repaired) in points {
                circle.point.wrong[!repaired] cx=(number(x)) cy=(number(y)) r="3" {}
            }
        }
    }
}

fn counts(times: &[SystemTime], axis: &Axis) -> Markup {
    let mut bars = [0_u32; BARS];
    for at in times {
        let index = (axis.share(*at) * BARS as f64) as usize;
        if let Some(bar) = bars.get_mut(index.min(BARS - 1)) {
            *bar += 1;
        }
    }
    let most = bars.iter().copied().max().unwrap_or(1).max(1);
    let width = (WIDTH - LEFT - 8.0) / BARS as f64;
    let label = format!("{} incidents; at most {most} in one bar", times.len());
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            line.grid x1=(LEFT) x2=(WIDTH) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM) {}
            text x=(LEFT - 6.0) y=(HEIGHT - BOTTOM) text-anchor="end" { "0" }
            text x=(LEFT - 6.0) y="14" text-anchor="end" { (most) }
            @for (index, count) in bars.iter().enumerate() {
                @let height = f64::from(*count) / f64::from(most) * (HEIGHT - BOTTOM - 10.0);
                rect.bar x=(number(LEFT + index as f64 * width + 1.0)) y=(number(HEIGHT - BOTTOM - height))
                    width=(number(width - 2.0)) height=(number(height)) {}
            }
        }
    }
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn interval(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
