//! `bound_crown` against the recorded bounds of auto_LiRPA and against sampled points.

#[path = "search_data/files.rs"]
#[allow(dead_code)]
mod files;

use secateur::bound::FloatRegion;
use secateur::bound::crown::{CrownScratch, bound_crown};

#[test]
fn widths_are_at_most_the_recorded_ones() {
    let mut scratch = CrownScratch::default();
    for stem in files::NETWORKS {
        let (Some(network), Some(states)) = (files::network(stem, None), files::states(stem)) else { return };
        for radius in [0.01, 0.05, 0.1] {
            let region = FloatRegion::linf(states[0].clone(), radius);
            let t = std::time::Instant::now();
            for _ in 0..20 {
                bound_crown(&network, &region, &mut scratch);
            }
            let el = t.elapsed() / 20;
            let width = bound_crown(&network, &region, &mut scratch).output.mean_width();
            let recorded = files::recorded_width(stem, "single64", radius, "CROWN");
            println!("{stem} {radius}: {width} against {recorded} {} {:?}", width / recorded - 1.0, el);
            assert!(width <= recorded * (1.0 + 1e-6), "{stem} at {radius}: {width} against {recorded}");
        }
    }
}
