//! Survival curves of radii as a plot: which share of the states is proved at a multiple of the radii, and which no attack
//! has broken there. Untrusted; drawn from a certificate's multiples. `spec/certificate-radius.md#together`.

use secateur_checker::number::Rational;
use secateur_checker::radii::target_words;
use secateur_checker::reader::certificate::Certificate;
use secateur_checker::reader::radius::RadiusClaim;

use super::words::plain;
use crate::float::rational_to_float;
use crate::plot::{Figure, Panel, Point, Series, Stroke, render};

/// Most masks in a panel; of more the first, the last and some between.
const MASKS: usize = 7;
/// Most panels of a figure.
const PANELS: usize = 24;

/// A certificate by name.
pub type Named<'a> = (&'a str, &'a Certificate);

/// One panel for each policy, claim and family; empty if no certificate has radii.
pub fn survival_plot(certificates: &[Named<'_>], checked: bool) -> Option<String> {
    let mut panels = Vec::new();
    for (name, certificate) in certificates {
        let key = |claim: &RadiusClaim| (claim.quantity.clone(), claim.limit.clone(), claim.family.clone());
        let mut keys: Vec<_> = certificate.radius.iter().map(key).collect();
        keys.sort();
        keys.dedup();
        for wanted in keys {
            let claims: Vec<&RadiusClaim> =
                certificate.radius.iter().filter(|claim| key(claim) == wanted).collect();
            let (quantity, limit, family) = &wanted;
            let title = format!("{}: {}", plain(name), target_words(quantity, limit.as_ref()));
            panels.push(panel(title, &plain(family), &claims));
        }
    }
    let left = panels.len().saturating_sub(PANELS);
    panels.truncate(PANELS);
    let more = if left > 0 { format!(" {left} more panels are left out.") } else { String::new() };
    let standing = if checked { "Checked." } else { "Claims only: nothing was checked." };
    let figure = Figure {
        title: "Certified radius".to_owned(),
        subtitle: format!(
            "Share of the listed states at which the claim is proved at a multiple of the radii, and at which no attack breaks it there. Between the two curves of a mask nothing is decided. {standing}{more}"
        ),
        columns: panels.len().min(3),
        panels,
    };
    (!figure.panels.is_empty()).then(|| render(&figure))
}

fn panel(title: String, family: &str, claims: &[&RadiusClaim]) -> Panel {
    let shown: Vec<&&RadiusClaim> = if claims.len() > MASKS {
        (0..MASKS).filter_map(|k| claims.get(k * (claims.len() - 1) / (MASKS - 1))).collect()
    } else {
        claims.iter().collect()
    };
    let all = shown.iter().flat_map(|claim| claim.proved.iter().chain(claim.broken.iter().flatten()));
    let positive = all.filter(|m| m.is_positive()).map(rational_to_float);
    let (least, most) = positive.fold((f64::INFINITY, 0.0f64), |(l, m), x| (l.min(x), m.max(x)));
    let (least, most) = if least <= most { (least / 1.25, most * 1.25) } else { (0.5, 2.0) };
    let mut series = Vec::new();
    for claim in shown {
        let (mask, states) = (claim.mask, claim.proved.len());
        let curve = |name: &str, style: usize, falls: Vec<f64>| Series {
            name: format!("mask {mask}, {name}"),
            style,
            stroke: Stroke::Curve,
            points: falling(falls, states, (least, most)),
        };
        // Seven colours and four dashes: of one colour, solid where it is proved and dashed where it is not broken.
        series.push(curve("proved", 8 * mask, claim.proved.iter().map(rational_to_float).collect()));
        if claim.broken.iter().any(Option::is_some) {
            let broken = claim
                .broken
                .iter()
                .map(|m: &Option<Rational>| m.as_ref().map_or(f64::INFINITY, rational_to_float));
            series.push(curve("not broken", 8 * mask + 21, broken.collect()));
        }
    }
    Panel {
        title,
        x_label: format!("multiple of the radii ({family})"),
        y_label: "share of the states".to_owned(),
        x_range: Some((least.log10(), most.log10())),
        y_range: Some((0.0, 1.0)),
        x_ticks: ticks(least, most),
        diagonal: false,
        series,
    }
}

/// The share of the states whose number lies at or beyond each place, as a falling staircase.
fn falling(mut numbers: Vec<f64>, states: usize, (least, most): (f64, f64)) -> Vec<Point> {
    numbers.sort_by(f64::total_cmp);
    let share = |count: usize| count as f64 / states.max(1) as f64;
    let beyond = |x: f64| numbers.iter().filter(|number| **number >= x).count();
    let mut points = vec![Point::new(least.log10(), share(beyond(least)))];
    let mut steps: Vec<f64> = numbers.iter().copied().filter(|x| (least..=most).contains(x)).collect();
    steps.dedup();
    for x in steps {
        points.push(Point::new(x.log10(), share(beyond(x))));
        points.push(Point::new(x.log10(), share(beyond(x.next_up()))));
    }
    points.push(Point::new(most.log10(), share(beyond(most))));
    points
}

/// Round multiples of a range: of every decade 1, 2 and 5, or 1 alone if there are many.
fn ticks(least: f64, most: f64) -> Vec<(f64, String)> {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let digits: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let places = (first..=last).flat_map(|decade| digits.iter().map(move |d| d * 10f64.powi(decade)));
    let inside = places.filter(|x| (least..=most).contains(x));
    inside.map(|x| (x.log10(), format!("{}", (x * 1e9).round() / 1e9))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the numbers 0, 1, 1 and 4 three lie beyond 0.5; two leave at 1, the last at 4.
    #[test]
    fn staircases_by_hand() {
        let points = falling(vec![1.0, 0.0, 4.0, 1.0], 4, (0.5, 10.0));
        let places: Vec<(f64, f64)> = points.iter().map(|p| (10f64.powf(p.x), p.y)).collect();
        let expected = [(0.5, 0.75), (1.0, 0.75), (1.0, 0.25), (4.0, 0.25), (4.0, 0.0), (10.0, 0.0)];
        assert_eq!(places.len(), expected.len());
        for ((x, y), (wanted, share)) in places.iter().zip(expected) {
            assert!((x - wanted).abs() < 1e-12 && *y == share, "{places:?}");
        }
        let never = falling(vec![f64::INFINITY, 1.0], 2, (0.5, 10.0));
        assert_eq!(never.last().map(|p| p.y), Some(0.5));
    }

    #[test]
    fn ticks_are_round() {
        let words = |least, most| ticks(least, most).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words(0.03, 0.6), ["0.05", "0.1", "0.2", "0.5"]);
        assert_eq!(words(0.0005, 70.0), ["0.001", "0.01", "0.1", "1", "10"]);
    }
}
