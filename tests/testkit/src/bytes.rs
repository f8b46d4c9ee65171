//! Files that are almost right: a good one with a few changes, such as a careless writer or an attacker makes.

use crate::random::Random;

/// `seed` with one to four changes: a bit, a byte or a token put in, a piece taken out, doubled or moved, an end cut off.
/// Tokens are what the format is made of, so that changes reach past its first clause.
pub fn changed(random: &mut Random, seed: &[u8], tokens: &[&[u8]]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.pick(&[1, 1, 1, 2, 3, 4]) {
        change(random, &mut bytes, tokens);
    }
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, tokens: &[&[u8]]) {
    let at = random.below(bytes.len() + 1);
    let end = bytes.len().min(at + random.below(8));
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece: Vec<u8> = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
        3 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        4 if at < bytes.len() => bytes[at] = random.bits() as u8,
        5 if at < bytes.len() && !tokens.is_empty() => {
            let token = random.pick(tokens);
            bytes.splice(at..end, token.iter().copied());
        }
        6 if bytes.len() > 1 => {
            let (one, other) = (random.below(bytes.len()), random.below(bytes.len()));
            bytes.swap(one, other);
        }
        _ if tokens.is_empty() => bytes.insert(at, random.bits() as u8),
        _ => {
            let token = random.pick(tokens);
            bytes.splice(at..at, token.iter().copied());
        }
    }
}
