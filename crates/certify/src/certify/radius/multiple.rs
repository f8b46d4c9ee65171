//! The multiples that are tried: three significant digits, by position, so that claims are short. Untrusted.

use secateur_checker::number::Rational;

/// Multiples of a decade.
const DECADE: usize = 900;
/// The first one's exponent, its three digits counted: 100e-8 is 10^-6.
const FIRST: i64 = -8;
/// Decades of multiples, up to 10^9.
const DECADES: usize = 15;

/// The largest multiple that is tried.
pub const LARGEST: &str = "1e9";
/// Where the search stops unless the user says otherwise.
pub const RADIUS_CAP: &str = "64";

/// The multiple at a position; 0 at position 0, then rising from 10^-6.
pub fn multiple(position: usize) -> Rational {
    let Some(index) = position.checked_sub(1) else { return Rational::zero() };
    let (decade, digits) = (index / DECADE, index % DECADE + 100);
    let text = format!("{digits}e{}", FIRST.saturating_add_unsigned(decade as u64));
    Rational::parse(&text).unwrap_or_else(|_| Rational::zero())
}

/// The last position whose multiple is at most `value`.
pub fn position_at_most(value: &Rational) -> usize {
    let (mut low, mut high) = (0, DECADE * DECADES + 2);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if multiple(middle) <= *value { low = middle } else { high = middle }
    }
    low
}

/// The last position up to `cap` at which something holds that holds at 0, looked for around `guess`; between two positions
/// at which it holds it is taken to hold.
///
/// # Errors
/// Those of `holds`.
pub fn last_position<E>(
    cap: usize,
    guess: usize,
    mut holds: impl FnMut(usize) -> Result<bool, E>,
) -> Result<usize, E> {
    let (mut low, mut high) = (0, cap.saturating_add(1));
    let (mut at, mut step) = (guess, 1usize);
    let (mut before, mut between) = (None, false);
    while low + 1 < high {
        at = at.clamp(low + 1, high - 1);
        let held = holds(at)?;
        between |= before.is_some_and(|before| before != held);
        before = Some(held);
        if held {
            low = at;
        } else {
            high = at;
        }
        at = match (between, held) {
            (true, _) => usize::midpoint(low, high),
            (false, true) => low.saturating_add(step),
            (false, false) => high.saturating_sub(step),
        };
        step = step.saturating_mul(2);
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).expect("a number")
    }

    /// Nine hundred to a decade, and the next decade goes on where it ends.
    #[test]
    fn multiples_have_three_digits() {
        let expected = [(0, "0"), (1, "0.000001"), (2, "0.00000101"), (900, "0.00000999"), (901, "0.00001")];
        for (position, text) in expected {
            assert_eq!(multiple(position), r(text), "{position}");
        }
        assert_eq!(multiple(position_at_most(&r("64"))), r("64"));
        assert_eq!(multiple(position_at_most(&r("0.12349"))), r("0.123"));
        assert_eq!(multiple(position_at_most(&r("1e9"))), r("1e9"));
        assert_eq!((position_at_most(&r("0.0000009")), position_at_most(&r("0"))), (0, 0));
    }

    /// Wherever the guess lies the last position is found; a good guess takes two looks, one at the ends.
    #[test]
    fn the_last_position_is_found_around_any_guess() {
        for last in 0..=40 {
            for guess in 0..=41 {
                let mut looks = 0;
                let found = last_position::<()>(40, guess, |at| {
                    looks += 1;
                    assert!((1..=40).contains(&at));
                    Ok(at <= last)
                });
                assert_eq!(found, Ok(last));
                let most = if guess == last { 2 } else { 12 };
                assert!(looks <= most, "{looks} looks for {last} from {guess}");
            }
        }
    }
}
