//! Times of the search on the reference networks, beside a plain `f64` forward pass and a plain `f64` CROWN (whole
//! matrices through `ndarray`, every row of every layer, no mask awareness) in the same run. One thread unless said.

#[path = "plain/crown.rs"]
mod plain;

use plain::plain_crown;
use secateur_testkit::reference;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array1;
use secateur::bound::FloatRegion;
use secateur::bound::boxes::BoxBounder;
use secateur::bound::crown::{CrownScratch, bound_crown, bound_crown_all};
use secateur::search::slopes::{SlopeOptions, search_slopes};

const SHORT: [&str; 5] = ["a", "b", "c", "d", "f"];

fn regions(stem: &str, count: usize, radius: f64) -> Vec<FloatRegion> {
    let states = reference::states(stem).into_iter().flatten().take(count);
    states.map(|s| FloatRegion::linf(s, radius)).collect()
}

fn one_state(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_state");
    for (stem, short) in reference::NETWORKS.into_iter().zip(SHORT) {
        let Some(network) = reference::network(stem, None) else { return };
        let mut scratch = CrownScratch::default();
        for radius in [0.01, 0.05] {
            let region = regions(stem, 1, radius).remove(0);
            let center = Array1::from(region.center().to_vec());
            let name = |what: &str| format!("{short}/{radius}/{what}");
            group.bench_function(name("crown"), |b| {
                b.iter(|| bound_crown(&network, black_box(&region), &mut scratch));
            });
            group.bench_function(name("plain_crown"), |b| {
                b.iter(|| plain_crown(&network, black_box(&center), radius));
            });
        }
        let state = regions(stem, 1, 0.0).remove(0).center().to_vec();
        group.bench_function(format!("{short}/plain_forward"), |b| {
            b.iter(|| network.forward(black_box(&state)))
        });
    }
}

fn slopes(c: &mut Criterion) {
    let mut group = c.benchmark_group("slopes");
    for (stem, short) in reference::NETWORKS.into_iter().zip(SHORT).take(4) {
        let Some(network) = reference::network(stem, None) else { return };
        let region = regions(stem, 1, 0.05).remove(0);
        let options = SlopeOptions::for_network(&network);
        group.bench_function(short, |b| b.iter(|| search_slopes(&network, black_box(&region), &options)));
    }
}

/// The least and the greatest inputs of boxes, one after the other.
fn corners(regions: &[FloatRegion]) -> (Vec<f64>, Vec<f64>) {
    let end = |sign: f64| {
        let of = |r: &FloatRegion| -> Vec<f64> {
            r.center().iter().enumerate().map(|(i, c)| c + sign * r.reach(i)).collect()
        };
        regions.iter().flat_map(of).collect()
    };
    (end(-1.0), end(1.0))
}

/// Times are for the whole batch: 1000 states (f: 50).
fn batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch");
    for (stem, short) in reference::NETWORKS.into_iter().zip(SHORT) {
        let all = regions(stem, if short == "f" { 50 } else { 1000 }, 0.05);
        for mask in [None, Some("mask90")].into_iter().take(if short == "f" || short == "b" { 1 } else { 2 })
        {
            let Some(network) = reference::network(stem, mask) else { return };
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let name = format!("{short}/{}/threads{threads}", mask.unwrap_or("dense"));
                group.bench_function(format!("{name}/one_by_one"), |b| {
                    b.iter(|| pool.install(|| bound_crown_all(&network, black_box(&all))));
                });
                let (lower, upper) = corners(&all);
                let bounder = BoxBounder::<f32>::new(&network);
                group.bench_function(format!("{name}/side_by_side"), |b| {
                    b.iter(|| pool.install(|| bounder.outputs(black_box(&lower), black_box(&upper))));
                });
            }
        }
    }
}

criterion_group! {
    name = search;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(800));
    targets = one_state, slopes, batch
}
criterion_main!(search);
