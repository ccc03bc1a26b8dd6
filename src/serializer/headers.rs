//! Headers that serializers add.

use std::ops::Range;

/// The headers that the serializers of a record add to it, in their order. Its memory is used again for the next record.
#[derive(Debug, Default)]
pub struct AddedHeaders {
    /// Names and values, one behind the other.
    bytes: Vec<u8>,
    /// Where each name and value is in `bytes`.
    places: Vec<(Range<usize>, Option<Range<usize>>)>,
}

impl AddedHeaders {
    /// None so far.
    pub fn new() -> Self {
        AddedHeaders::default()
    }

    /// Adds a header. Names may repeat, and a header need not have a value.
    ///
    /// ```
    /// let mut headers = thalweg::serializer::AddedHeaders::new();
    /// headers.add("schema", Some(&7_u32.to_be_bytes()));
    /// assert!(headers.iter().eq([("schema", Some(&[0, 0, 0, 7][..]))]));
    /// ```
    pub fn add(&mut self, name: &str, value: Option<&[u8]>) {
        let name = self.put(name.as_bytes());
        let value = value.map(|value| self.put(value));
        self.places.push((name, value));
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    /// Names and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&[u8]>)> {
        let bytes = |place: &Range<usize>| self.bytes.get(place.clone()).unwrap_or_default();
        // Every name was a `str` when it came.
        let name = move |place| str::from_utf8(bytes(place)).unwrap_or_default();
        self.places.iter().map(move |(place, value)| (name(place), value.as_ref().map(bytes)))
    }

    /// Takes all away and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    /// Bytes of memory that it holds.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<(Range<usize>, Option<Range<usize>>)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_in_their_order() {
        let mut headers = AddedHeaders::new();
        assert_eq!(headers.iter().len(), 0);
        for _ in 0..2 {
            headers.clear();
            headers.add("é", Some(b"1"));
            headers.add("", None);
            headers.add("é", Some(b""));
            assert!(headers.iter().eq([("é", Some(&b"1"[..])), ("", None), ("é", Some(&b""[..]))]));
        }
        assert!(headers.capacity() >= 5);
    }
}
