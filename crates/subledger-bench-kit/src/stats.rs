//! The arithmetic of results: medians over rounds, percentiles of latencies, an order that looks random and is not.

/// What several rounds of one figure come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median; of an even number of rounds the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// How many rounds.
    pub rounds: usize,
}

/// What these rounds come to; nothing if there are none.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    };
    Some(Spread { median, min, max, rounds: sorted.len() })
}

/// The smallest of these ascending values that at least so many hundredths of them do not exceed.
pub fn percentile(sorted: &[u32], hundredths: usize) -> Option<u32> {
    let rank = (sorted.len() * hundredths).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// In which order streams are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As [`shuffled`] says.
    Shuffled {
        /// The seed.
        seed: u64,
    },
    /// One after the other.
    InTurn,
}

impl Order {
    /// The stream of operation `n`, from 0 to `streams - 1`.
    pub fn stream(self, n: u64, streams: u64) -> u64 {
        match self {
            Self::Shuffled { seed } => shuffled(seed, n) % streams.max(1),
            Self::InTurn => n % streams.max(1),
        }
    }
}

/// The `n`-th number of a fixed sequence that looks random (SplitMix64): the same in every run and every program.
pub fn shuffled(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_whatever_the_order() {
        let odd = spread(&[9.0, 1.0, 5.0]);
        assert_eq!(odd, Some(Spread { median: 5.0, min: 1.0, max: 9.0, rounds: 3 }));
        let even = spread(&[4.0, 1.0, 2.0, 9.0]);
        assert_eq!(even, Some(Spread { median: 3.0, min: 1.0, max: 9.0, rounds: 4 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_percentile_is_never_below_its_share() {
        let values: Vec<u32> = (1..=1_000).collect();
        for (hundredths, expected) in [(0, 1), (1, 10), (50, 500), (99, 990), (100, 1_000)] {
            assert_eq!(percentile(&values, hundredths), Some(expected));
        }
        assert_eq!(percentile(&[1, 2], 99), Some(2));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        // SplitMix64 with seed 1234567, as its author's reference prints it.
        let first: Vec<u64> = (0..3).map(|n| shuffled(1_234_567, n)).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn streams_are_visited_about_equally_often() {
        let mut visits = [0_u32; 10];
        for n in 0..10_000 {
            let stream = Order::Shuffled { seed: 7 }.stream(n, 10);
            visits[usize::try_from(stream).unwrap_or_default()] += 1;
        }
        assert!(visits.iter().all(|count| (900..1_100).contains(count)), "{visits:?}");
        assert_eq!(Order::InTurn.stream(12, 10), 2);
    }
}
