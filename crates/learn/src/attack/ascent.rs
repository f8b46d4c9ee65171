//! Gradient steps inside the ball. Untrusted.

/// Steps of a gradient attack.
pub(super) const STEPS: usize = 10;

/// Moves each coordinate of `point` by `step` along the sign of `slope` and back into the ball around `centre`.
pub(super) fn ascend(point: &mut [f64], centre: &[f64], slope: &[f64], step: f64, radius: f64) {
    for ((point, centre), slope) in point.iter_mut().zip(centre).zip(slope) {
        let ahead = if *slope == 0.0 { 0.0 } else { slope.signum() * step };
        *point = (*point + ahead).clamp(centre - radius, centre + radius);
    }
}
