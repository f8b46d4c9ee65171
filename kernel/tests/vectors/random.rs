//! A fixed-seed generator: SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195).

/// The state of the generator.
pub struct Random(pub u64);

impl Random {
    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// An integer of `-2^bits ..= 2^bits - 1`.
    pub fn signed(&mut self, bits: u32) -> i64 {
        (self.next() as i64) >> (63 - bits)
    }

    /// An integer of `0 .. end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A flag that is set `of` times out of 8.
    pub fn often(&mut self, of: u64) -> bool {
        self.below(8) < of
    }

    /// An interval with both ends within `2^bits`; `width` bits wide at most.
    pub fn interval(&mut self, bits: u32, width: u32) -> (i64, i64) {
        let lower = self.signed(bits);
        (lower, lower + self.signed(width).abs())
    }
}
