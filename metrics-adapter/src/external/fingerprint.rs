//! What secrets and questions are remembered by.
//!
//! A fingerprint does not lead back to the token it was made of, and is of one size whatever it was made of.

use ring::digest::{Context, SHA256};

/// SHA-256 of what was put in.
pub(super) type Fingerprint = [u8; 32];

/// Makes one. Texts that are divided in another way make another one.
pub(super) struct Maker(Context);

impl Maker {
    /// With nothing in it.
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Puts in a number.
    fn number(&mut self, n: usize) {
        self.0.update(&(n as u64).to_le_bytes());
    }

    /// Puts in some bytes and their end.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.number(bytes.len());
        self.0.update(bytes);
        self
    }

    /// Puts in a text and its end.
    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Puts in several, and how many they are.
    pub(super) fn texts<'a>(mut self, texts: impl ExactSizeIterator<Item = &'a String>) -> Self {
        self.number(texts.len());
        texts.fold(self, |maker, text| maker.text(text))
    }

    /// The fingerprint.
    pub(super) fn done(self) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(self.0.finish().as_ref());
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_divided_elsewhere_are_other_texts() {
        let of = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Maker::new().texts(texts.iter()).done()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
        assert_ne!(Maker::new().text("a").text("b").done(), of(&["a", "b"]));
    }
}
