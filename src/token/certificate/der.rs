//! As much DER (ITU-T X.690) as key files need: walking over elements, and writing an RSA private key. Never trusts a
//! length: whatever does not fit is `None`.

use zeroize::Zeroizing;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const CONTEXT_0: u8 = 0xa0;

/// Object identifiers, as their content bytes.
pub(super) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(super) const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// The elements that stand one after the other in `rest`.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next element, if it has that tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let element = ahead.next()?;
        if element.tag != tag {
            return None;
        }
        *self = ahead;
        Some(element.content)
    }

    /// A reader for the inside of the next element, if it has that tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.expect(tag).map(Reader::new)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, after_tag) = self.rest.split_first()?;
        let (&first, after_length) = after_tag.split_first()?;
        let (length, body) = if first < 0x80 {
            (usize::from(first), after_length)
        } else {
            let count = usize::from(first & 0x7f);
            // Four bytes of length are more than any file that is read here has.
            if !(1..=4).contains(&count) {
                return None;
            }
            let (digits, body) = after_length.split_at_checked(count)?;
            (digits.iter().fold(0usize, |length, digit| (length << 8) | usize::from(*digit)), body)
        };
        let (content, rest) = body.split_at_checked(length)?;
        let whole = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        Some(Element { tag, content, whole })
    }
}

/// The numbers of an RSA private key, big-endian.
pub(super) struct RsaNumbers<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) public_exponent: &'a [u8],
    pub(super) private_exponent: &'a [u8],
    pub(super) prime1: &'a [u8],
    pub(super) prime2: &'a [u8],
    pub(super) coefficient: &'a [u8],
}

impl RsaNumbers<'_> {
    /// The key as PKCS#1 (RFC 8017 appendix A.1.2). The two reduced exponents are derived, because PuTTY leaves them out.
    pub(super) fn to_pkcs1(&self) -> Option<Zeroizing<Vec<u8>>> {
        let exponent1 = reduced_exponent(self.private_exponent, self.prime1)?;
        let exponent2 = reduced_exponent(self.private_exponent, self.prime2)?;
        let mut content = Zeroizing::new(Vec::new());
        for number in [
            &[0][..],
            self.modulus,
            self.public_exponent,
            self.private_exponent,
            self.prime1,
            self.prime2,
            &exponent1,
            &exponent2,
            self.coefficient,
        ] {
            push_integer(&mut content, number);
        }
        let mut whole = Zeroizing::new(Vec::with_capacity(content.len() + 8));
        push_header(&mut whole, SEQUENCE, content.len());
        whole.extend_from_slice(&content);
        Some(whole)
    }
}

/// An element of these parts, written.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut whole = Vec::with_capacity(length + 6);
    push_header(&mut whole, tag, length);
    for part in parts {
        whole.extend_from_slice(part);
    }
    whole
}

fn push_integer(out: &mut Vec<u8>, number: &[u8]) {
    let number = without_leading_zeros(number);
    let needs_zero = number.first().is_none_or(|first| *first >= 0x80);
    push_header(out, INTEGER, number.len() + usize::from(needs_zero));
    if needs_zero {
        out.push(0);
    }
    out.extend_from_slice(number);
}

fn push_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    let bytes = length.to_be_bytes();
    let digits = without_leading_zeros(&bytes);
    match digits {
        [] => out.push(0),
        [one] if *one < 0x80 => out.push(*one),
        digits => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            out.extend_from_slice(digits);
        }
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|digit| *digit != 0).unwrap_or(number.len());
    &number[start..]
}

/// `exponent mod (prime - 1)`, by shift and subtract. It runs once when a key file is read, on this machine only, so its
/// timing tells nobody anything.
fn reduced_exponent(exponent: &[u8], prime: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut modulus = Zeroizing::new(without_leading_zeros(prime).to_vec());
    // A prime is odd, so that minus one clears the lowest bit only. The bound keeps nonsense from taking long.
    let last = modulus.last_mut().filter(|last| **last & 1 == 1)?;
    *last -= 1;
    if modulus.len() > 1024 || exponent.len() > 2048 || modulus.iter().all(|digit| *digit == 0) {
        return None;
    }
    modulus.insert(0, 0);
    let mut rest = Zeroizing::new(vec![0u8; modulus.len()]);
    for digit in exponent {
        for bit in (0..8).rev() {
            let mut carry = (digit >> bit) & 1;
            for place in rest.iter_mut().rev() {
                let doubled = (*place << 1) | carry;
                carry = *place >> 7;
                *place = doubled;
            }
            if *rest >= *modulus {
                let mut borrow = 0i16;
                for (place, less) in rest.iter_mut().zip(modulus.iter()).rev() {
                    let difference = i16::from(*place) - i16::from(*less) - borrow;
                    borrow = i16::from(difference < 0);
                    *place = u8::try_from(difference & 0xff).unwrap_or_default();
                }
            }
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exponents_are_reduced() {
        for (exponent, prime) in [(100u32, 7u32), (5, 7), (6, 7), (0xfffe_1234, 0x1_0001)] {
            let found = reduced_exponent(&exponent.to_be_bytes(), &prime.to_be_bytes()).unwrap_or_default();
            let number = found.iter().fold(0u32, |number, digit| (number << 8) | u32::from(*digit));
            assert_eq!(number, exponent % (prime - 1), "{exponent} {prime}");
        }
        assert!(reduced_exponent(&[1], &[4]).is_none() && reduced_exponent(&[1], &[1]).is_none());
    }

    #[test]
    fn lengths_of_every_size_are_written_and_read() {
        for length in [0usize, 1, 127, 128, 255, 256, 70_000] {
            let mut bytes = Vec::new();
            push_header(&mut bytes, SEQUENCE, length);
            bytes.resize(bytes.len() + length, 7);
            let element =
                Reader::new(&bytes).next().map(|element| (element.content.len(), element.whole.len()));
            assert_eq!(element, Some((length, bytes.len())));
            bytes.pop();
            assert!(length == 0 || Reader::new(&bytes).next().is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut total = 0;
            for element in Reader::new(&bytes) {
                total += element.whole.len();
                let _inside: Vec<_> = Reader::new(element.content).collect();
            }
            prop_assert!(total <= bytes.len());
        }
    }
}
