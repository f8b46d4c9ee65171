//! Tests of the reader of public keys, and their writer.

use super::super::base64::tests::encode;
use super::*;
use ed25519_dalek::SigningKey;

fn pem(der: &[u8]) -> String {
    format!("{BEGIN}{}\n{END}\n", encode(der))
}

pub(crate) fn spki(key: &[u8]) -> String {
    pem(&[&SPKI_PREFIX[..], key].concat())
}

fn good() -> PublicKey {
    PublicKey::from_bytes(&SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes()).unwrap()
}

#[test]
fn keys_round_trip() {
    let text = spki(good().bytes());
    assert_eq!(PublicKey::parse_pem(&text), Ok(good()));
    assert_eq!(PublicKey::parse_pem(text.trim_end()), Ok(good()));
}

#[test]
fn an_example_of_the_standard_is_read() {
    // RFC 8410 section 10.1.
    let text = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let key = PublicKey::parse_pem(text).unwrap();
    assert_eq!(key.bytes()[..4], [0x19, 0xbf, 0x44, 0x09]);
    assert_eq!(spki(key.bytes()), text);
    // What `ssh-keygen -lf` prints for the same key.
    assert_eq!(key.keyid(), "SHA256:ebCT4wkJOqO5AIlHG03cHvn3Cr3ZZEEh8m81duHhR3Q");
}

#[test]
fn armour_is_strict() {
    let text = spki(good().bytes());
    for bad in [
        String::new(),
        format!(" {text}"),
        format!("{text}\n"),
        format!("{text}x"),
        text.replace('\n', "\r\n"),
        text.replace("PUBLIC", "RSA PUBLIC"),
        text.replace("\n-----END", "\n\n-----END"),
        text.replace("-----END PUBLIC KEY-----", ""),
        format!("{BEGIN}{END}"),
    ] {
        assert_eq!(PublicKey::parse_pem(&bad), Err(Clause::Armour), "{bad:?}");
    }
    let private = text.replace("PUBLIC", "PRIVATE");
    assert_eq!(PublicKey::parse_pem(&private), Err(Clause::PrivateKey));
    let large = "x".repeat(MAX_PEM + 1);
    assert_eq!(PublicKey::parse_pem(&large), Err(Clause::KeyTooLarge { size: MAX_PEM + 1 }));
    let blank = PublicKey::parse_pem(&text.replace("MCow", "MC w"));
    assert_eq!(blank, Err(Clause::Base64Character { at: 2 }.within(Part::KeyBody)));
}

#[test]
fn other_keys_are_refused() {
    let other = PublicKey::parse_pem(&spki(&[0; 31]));
    assert_eq!(other, Err(Clause::NotEd25519));
    assert_eq!(PublicKey::parse_pem(&spki(&[0; 33])), Err(Clause::NotEd25519));
    let mut der = [&SPKI_PREFIX[..], good().bytes()].concat();
    der[8] = 0x6E; // 1.3.101.110, X25519
    assert_eq!(PublicKey::parse_pem(&pem(&der)), Err(Clause::NotEd25519));
    let rsa = vec![0x30; 300];
    let lines = encode(&rsa)
        .as_bytes()
        .chunks(64)
        .map(|l| String::from_utf8_lossy(l).into_owned())
        .collect::<Vec<_>>();
    let rsa = format!("{BEGIN}{}\n{END}\n", lines.join("\n"));
    assert_eq!(PublicKey::parse_pem(&rsa), Err(Clause::NotEd25519));
}

#[test]
fn weak_and_non_canonical_keys_are_refused() {
    // The neutral element (y = 1), y = 0 (order 4), y = p - 1 (order 2), and the neutral element written as p + 1.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut order_two = [0xFF; 32];
    (order_two[0], order_two[31]) = (0xEC, 0x7F);
    let mut plus = order_two;
    plus[0] = 0xEE;
    for weak in [neutral, [0; 32], order_two, plus] {
        assert_eq!(PublicKey::parse_pem(&spki(&weak)), Err(Clause::WeakKey));
    }
    // y = 3 is on the curve, with a part of small order; p + 3 denotes it a second time.
    let mut small = [0; 32];
    small[0] = 3;
    assert_eq!(PublicKey::from_bytes(&small), Err(Clause::MixedOrderKey));
    let mut again = order_two;
    again[0] = 0xF0;
    assert_eq!(PublicKey::from_bytes(&again), Err(Clause::NotAPoint));
    let mut off = [0; 32];
    off[0] = 2;
    assert_eq!(PublicKey::from_bytes(&off), Err(Clause::NotAPoint));
}

/// The key of the seed `[1; 32]`, and the same point plus one of order 8: signatures of the one secret fit both in a
/// verifier that ignores the cofactor.
#[test]
fn a_part_of_small_order_is_refused() {
    let plain = SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
    assert!(PublicKey::from_bytes(&plain).is_ok());
    let mixed = [
        158, 163, 241, 31, 91, 211, 79, 12, 215, 20, 127, 208, 164, 54, 192, 136, 246, 36, 198, 16, 12, 29,
        246, 165, 60, 10, 41, 224, 93, 96, 206, 160,
    ];
    assert_eq!(PublicKey::from_bytes(&mixed), Err(Clause::MixedOrderKey));
}
