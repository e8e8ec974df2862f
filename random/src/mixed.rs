//! Numbers that differ between copies of a process whose operating system gives
//! both the same.

use sha2::{Digest as _, Sha256};

/// Most bytes of one number.
pub(crate) const PART: usize = 32;

/// All that came from outside, as a digest.
#[derive(Clone, Debug)]
pub(crate) struct Mixed {
    digest: [u8; PART],
    count: u64,
}

impl Mixed {
    pub(crate) const NEW: Self = Self { digest: [0; PART], count: 0 };

    pub(crate) fn add(&mut self, outside: &[u8]) {
        let mut hash = Sha256::new_with_prefix(b"outside");
        hash.update(self.digest);
        hash.update(outside);
        self.digest = hash.finalize().into();
    }

    /// Returns as many bytes as `drawn`, the operating system's: no worse than
    /// they are, and other ones where anything else differs.
    pub(crate) fn number(&mut self, drawn: &[u8; PART], at: u128) -> [u8; PART] {
        self.count += 1;
        let mut hash = Sha256::new_with_prefix(b"number");
        hash.update(self.digest);
        hash.update(self.count.to_le_bytes());
        hash.update(at.to_le_bytes());
        hash.update(drawn);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the operating system gives to both copies.
    const DRAWN: [u8; PART] = [7; PART];

    #[test]
    fn copies_that_have_got_different_tokens_draw_different_numbers() {
        let mut original = Mixed::NEW;
        original.add(b"before the copy");
        let _ = original.number(&DRAWN, 1);
        let (mut one, mut other) = (original.clone(), original);
        assert_eq!(one.clone().number(&DRAWN, 2), other.clone().number(&DRAWN, 2), "copies");
        one.add(b"a token");
        other.add(b"another token");
        let numbers = [&mut one, &mut other].map(|copy| copy.number(&DRAWN, 2));
        assert_ne!(numbers[0], numbers[1]);
        // What they get later does not bring them together again.
        let numbers = [&mut one, &mut other].map(|copy| {
            copy.add(b"the same");
            copy.number(&DRAWN, 3)
        });
        assert_ne!(numbers[0], numbers[1]);
    }

    /// The first number of a process.
    fn first(drawn: &[u8; PART], at: u128) -> [u8; PART] {
        let mut mixed = Mixed::NEW;
        mixed.number(drawn, at)
    }

    #[test]
    fn a_number_depends_on_all_that_goes_into_it() {
        let number = first(&DRAWN, 1);
        assert_eq!(number, first(&DRAWN, 1));
        assert_ne!(number, first(&DRAWN, 2), "the time");
        assert_ne!(number, first(&[8; PART], 1), "the operating system");
        let mut second = Mixed::NEW;
        let _ = second.number(&DRAWN, 1);
        assert_ne!(number, second.number(&DRAWN, 1), "the count");
    }
}
