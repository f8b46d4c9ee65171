//! The plots of a grid: frontier, returns per attack, certified bounds, training curves. Untrusted.
//! `spec/sweep.md#plots`.

use std::path::{Path, PathBuf};

use super::bootstrap::Interval;
use super::config::{BootstrapConfig, SweepConfig, float};
use super::gather::{BySeed, CurvePoint, Grid, Group};
use super::statistic::{Attacked, View, common_attacks, mean_interval};
use super::tables::{DETERMINISTIC, SAMPLED, TableError, family_bounds};
use crate::attack::plan::AttackKind;
use crate::plot::{Figure, Panel, Point, Series, Stroke, render};
use crate::policy::write::{create_folder, write_atomically};
use secateur_checker::number::Rational;

/// Panels in a row.
const COLUMNS: usize = 3;
/// Points of a training curve that are averaged.
const WINDOW: usize = 10;
/// Places at which training curves are drawn.
const CURVE_POINTS: usize = 100;

/// Writes every plot into `folder`; returns the paths.
///
/// # Errors
/// [`TableError`].
pub fn write_plots(config: &SweepConfig, grid: &Grid, folder: &Path) -> Result<Vec<PathBuf>, TableError> {
    create_folder(folder)?;
    let figures = [
        ("frontier-deterministic", frontier(config, grid, DETERMINISTIC)),
        ("frontier-sampled", frontier(config, grid, SAMPLED)),
        ("attacks-deterministic", attacks(config, grid, DETERMINISTIC)),
        ("attacks-sampled", attacks(config, grid, SAMPLED)),
        ("certified-bounds", bounds(config, grid)?),
        ("training-curves", curves(config, grid)),
    ];
    let mut written = Vec::new();
    for (name, figure) in figures {
        let path = folder.join(format!("{name}.svg"));
        write_atomically(&path, render(&figure).as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

fn words(view: View) -> &'static str {
    if view == SAMPLED { "sampled actions" } else { "deterministic actions" }
}

fn confidence(config: &BootstrapConfig) -> String {
    format!("{} % bootstrap intervals over seeds and episodes", 100.0 * config.confidence)
}

fn ends(interval: Interval) -> (f64, f64) {
    (interval.low, interval.high)
}

/// Environments in their order, each with its groups.
fn environments(grid: &Grid) -> Vec<(&str, Vec<&Group>)> {
    let mut found: Vec<(&str, Vec<&Group>)> = Vec::new();
    for group in &grid.groups {
        match found.iter_mut().find(|(name, _)| *name == group.environment) {
            Some((_, groups)) => groups.push(group),
            None => found.push((&group.environment, vec![group])),
        }
    }
    found
}

fn variant_style(config: &SweepConfig, group: &Group) -> usize {
    1 + config.variants.iter().position(|variant| variant.name == group.variant).unwrap_or(0)
}

fn frontier(config: &SweepConfig, grid: &Grid, view: View) -> Figure {
    let settings = &config.bootstrap;
    let point = |group: &Group, mask: usize, kinds: &[AttackKind]| {
        let results = &group.masks[mask];
        let clean = mean_interval(settings, &view.strata(&results.clean))?;
        let attacked = Attacked::new(view, results, kinds)?.worst_interval(settings)?;
        Some(Point {
            x: clean.mean,
            y: attacked.mean,
            x_interval: Some(ends(clean)),
            y_interval: Some(ends(attacked)),
            label: grid.sparsities[mask].clone(),
        })
    };
    let series = |group: &&Group| {
        let kinds = common_attacks(group);
        Series {
            name: group.variant.clone(),
            style: variant_style(config, group),
            stroke: Stroke::Marked,
            points: (0..group.masks.len()).filter_map(|mask| point(group, mask, &kinds)).collect(),
        }
    };
    let panels = environments(grid).into_iter().map(|(name, groups)| Panel {
        title: format!("{name}, epsilon {}", groups[0].epsilon),
        x_label: "clean return".to_owned(),
        y_label: "return under the worst attack".to_owned(),
        x_range: None,
        y_range: None,
        x_ticks: Vec::new(),
        diagonal: true,
        series: groups.iter().map(series).collect(),
    });
    Figure {
        title: format!("Clean against attacked return, {}", words(view)),
        subtitle: format!(
            "A point a sparsity (its label); {}; dashed: attacks take nothing",
            confidence(settings)
        ),
        panels: panels.collect(),
        columns: COLUMNS,
    }
}

/// Sparsities as places on an axis.
fn places(grid: &Grid) -> Vec<f64> {
    let place = |text: &String| Rational::parse(text).map_or(0.0, |value| float(&value));
    grid.sparsities.iter().map(place).collect()
}

fn sparsity_ticks(grid: &Grid) -> Vec<(f64, String)> {
    places(grid).into_iter().zip(grid.sparsities.iter().cloned()).collect()
}

fn sparsity_range(grid: &Grid) -> Option<(f64, f64)> {
    let places = places(grid);
    let (first, last) = (places.first()?, places.last()?);
    let spare = ((last - first) / 15.0).max(0.02);
    Some((first - spare, last + spare))
}

fn attacks(config: &SweepConfig, grid: &Grid, view: View) -> Figure {
    let panels = grid.groups.iter().map(|group| Panel {
        title: format!("{}, {}, epsilon {}", group.environment, group.variant, group.epsilon),
        x_label: "sparsity".to_owned(),
        y_label: "return".to_owned(),
        x_range: sparsity_range(grid),
        y_range: None,
        x_ticks: sparsity_ticks(grid),
        diagonal: false,
        series: attack_series(config, grid, group, view),
    });
    Figure {
        title: format!("Return under each attack, {}", words(view)),
        subtitle: confidence(&config.bootstrap),
        panels: panels.collect(),
        columns: COLUMNS,
    }
}

fn attack_series(config: &SweepConfig, grid: &Grid, group: &Group, view: View) -> Vec<Series> {
    let places = places(grid);
    let width = places.last().copied().unwrap_or(1.0);
    let line = |name: &str, style: usize, of: &dyn Fn(usize) -> Option<Interval>| {
        // Side by side, so that intervals do not cover one another.
        let shift = (style as f64 - 3.0) * width / 90.0;
        let point = |mask: usize| {
            let found = of(mask)?;
            let mut point = Point::new(places[mask] + shift, found.mean);
            point.y_interval = Some(ends(found));
            Some(point)
        };
        let points = (0..group.masks.len()).filter_map(point).collect();
        Series { name: name.to_owned(), style, stroke: Stroke::Marked, points }
    };
    let settings = &config.bootstrap;
    let clean = |mask: usize| mean_interval(settings, &view.strata(&group.masks[mask].clean));
    let mut series = vec![line("clean", 0, &clean)];
    for (number, (kind, name)) in AttackKind::ALL.iter().enumerate() {
        let of = |mask: usize| mean_interval(settings, &view.strata(group.masks[mask].attacks.get(kind)?));
        series.push(line(name, number + 1, &of));
    }
    series.retain(|series| !series.points.is_empty());
    series
}

fn bounds(config: &SweepConfig, grid: &Grid) -> Result<Figure, TableError> {
    let places = places(grid);
    let mut panels = Vec::new();
    for group in &grid.groups {
        let mut series = Vec::new();
        for (style, family) in family_bounds(group)?.into_iter().enumerate() {
            let points = family.masks.iter().zip(&places).filter_map(|(bound, x)| {
                let bound = bound.as_ref()?;
                Some(Point::new(*x, bound.mean.parse().ok()?))
            });
            let points = points.collect();
            series.push(Series { name: family.family, style: style + 1, stroke: Stroke::Marked, points });
        }
        panels.push(Panel {
            title: format!("{}, {}, epsilon {}", group.environment, group.variant, group.epsilon),
            x_label: "sparsity".to_owned(),
            y_label: "total variation, at most".to_owned(),
            x_range: sparsity_range(grid),
            y_range: Some((0.0, 1.04)),
            x_ticks: sparsity_ticks(grid),
            diagonal: false,
            series,
        });
    }
    let states = grid.groups.iter().flat_map(|group| group.bounds.values()).map(|found| found.states).max();
    Ok(Figure {
        title: "Certified bounds on total variation".to_owned(),
        subtitle: format!(
            "Mean over {} visited states a seed and {} seeds; checked by the checker; pruned-deviation: pruned against dense policy",
            states.unwrap_or(0),
            config.seeds.len()
        ),
        panels,
        columns: COLUMNS,
    })
}

/// Running mean, then read off at fixed steps: mean over seeds with the least and the greatest of them.
fn mean_curve(curves: &BySeed<Vec<CurvePoint>>) -> Vec<Point> {
    let smooth = |curve: &Vec<CurvePoint>| -> Vec<(f64, f64)> {
        let mean = |end: usize| {
            let part = &curve[(end + 1).saturating_sub(WINDOW)..=end];
            part.iter().map(|point| point.episodic_return).sum::<f64>() / part.len() as f64
        };
        (0..curve.len()).map(|end| (curve[end].step, mean(end))).collect()
    };
    let curves: Vec<Vec<(f64, f64)>> =
        curves.values().map(smooth).filter(|curve| !curve.is_empty()).collect();
    let ends = curves.iter().filter_map(|curve| Some((curve.first()?.0, curve.last()?.0)));
    let Some((first, last)) = ends.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1))) else { return Vec::new() };
    let at = |step: f64| {
        let value = |curve: &Vec<(f64, f64)>| {
            let before = curve.iter().take_while(|(found, _)| *found <= step).last().or(curve.first());
            before.map_or(f64::NAN, |(_, value)| *value)
        };
        let values: Vec<f64> = curves.iter().map(value).collect();
        let mut point = Point::new(step, values.iter().sum::<f64>() / values.len() as f64);
        let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        point.y_interval = Some(ends);
        point
    };
    (0..=CURVE_POINTS).map(|k| at(first + (last - first) * k as f64 / CURVE_POINTS as f64)).collect()
}

fn curves(config: &SweepConfig, grid: &Grid) -> Figure {
    let series = |group: &&Group| Series {
        name: group.variant.clone(),
        style: variant_style(config, group),
        stroke: Stroke::Curve,
        points: mean_curve(&group.curves),
    };
    let panels = environments(grid).into_iter().map(|(name, groups)| Panel {
        title: name.to_owned(),
        x_label: "environment steps".to_owned(),
        y_label: "return of training episodes".to_owned(),
        x_range: None,
        y_range: None,
        x_ticks: Vec::new(),
        diagonal: false,
        series: groups.iter().map(series).collect(),
    });
    Figure {
        title: "Training curves".to_owned(),
        subtitle: format!(
            "Mean over seeds of a running mean of {WINDOW} updates; band: least to greatest seed; actions are sampled"
        ),
        panels: panels.collect(),
        columns: COLUMNS,
    }
}
