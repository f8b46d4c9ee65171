//! Ranges and marked values of an axis. Untrusted.

/// A range of data on a range of pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub data: (f64, f64),
    pub pixels: (f64, f64),
}

impl Scale {
    pub(super) fn place(self, value: f64) -> f64 {
        let share = (value - self.data.0) / (self.data.1 - self.data.0);
        self.pixels.0 + share * (self.pixels.1 - self.pixels.0)
    }
}

/// Range of values, widened by a twentieth on each side; something around a single value.
pub(super) fn range_of(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return None;
    }
    let spare = if high > low { (high - low) / 20.0 } else { (high.abs() / 10.0).max(0.5) };
    Some((low - spare, high + spare))
}

/// Step of 1, 2 or 5 times a power of ten that gives at most `most` marks.
fn step(range: (f64, f64), most: usize) -> f64 {
    let raw = (range.1 - range.0) / most as f64;
    let power = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= raw * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// Round values inside a range, with their words.
pub(super) fn ticks(range: (f64, f64), most: usize) -> Vec<(f64, String)> {
    if range.1.partial_cmp(&range.0) != Some(std::cmp::Ordering::Greater) {
        return Vec::new();
    }
    let step = step(range, most);
    let first = (range.0 / step - 1e-9).ceil() as i64;
    let last = (range.1 / step + 1e-9).floor() as i64;
    let digits = if step >= 1.0 { 0 } else { (-step.log10() - 1e-9).ceil().max(0.0) as usize };
    (first..=last).map(|number| (number as f64 * step, words(number as f64 * step, digits))).collect()
}

/// A number for an axis: thousands as `k`, millions as `M`.
fn words(value: f64, digits: usize) -> String {
    let short = |value: f64, unit: &str| {
        let text = format!("{value:.1}");
        format!("{}{unit}", text.trim_end_matches(".0"))
    };
    match value.abs() {
        size if size >= 1e6 => short(value / 1e6, "M"),
        size if size >= 1e4 => short(value / 1e3, "k"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let words = |range, most| ticks(range, most).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words((-0.02, 1.02), 6), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(words((-300.0, 3300.0), 5), ["0", "1000", "2000", "3000"]);
        assert_eq!(words((0.0, 500_000.0), 5), ["0", "100k", "200k", "300k", "400k", "500k"]);
        assert_eq!(words((1.0, 1.0), 5), Vec::<String>::new());
    }

    #[test]
    fn ranges_hold_their_values() {
        assert_eq!(range_of([0.0, 10.0].into_iter()), Some((-0.5, 10.5)));
        assert_eq!(range_of([3.0].into_iter()), Some((2.5, 3.5)));
        assert_eq!(range_of([f64::NAN].into_iter()), None);
    }
}
