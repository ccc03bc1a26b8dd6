//! Lists.

use super::{AddedHeaders, Serializer, SerializerError};

/// A list of values, which another serializer writes: Kafka's `ListSerializer`.
///
/// | elements | bytes, all numbers big-endian |
/// |---|---|
/// | numbers but `bool`, UUIDs | byte 0; i32 number of nulls; the place of each, i32; i32 number of elements; the elements that are not null |
/// | others | byte 1; i32 number of elements; for each its length, i32, or -1 for null, and its bytes |
///
/// ```
/// use thalweg::serializer::{AddedHeaders, IntegerSerializer, ListSerializer, Serializer};
///
/// let mut bytes = Vec::new();
/// ListSerializer::new(IntegerSerializer).serialize("t", &mut AddedHeaders::new(), &[7, 8][..], &mut bytes)?;
/// assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8]);
/// # Ok::<(), thalweg::serializer::SerializerError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ListSerializer<S>(S);

impl<S> ListSerializer<S> {
    /// Writes elements with `inner`. For lists with nulls in them it is a
    /// [`NullableSerializer`](super::NullableSerializer).
    pub fn new(inner: S) -> Self {
        ListSerializer(inner)
    }
}

impl<T, S: Serializer<T>> Serializer<[T]> for ListSerializer<S> {
    fn serialize(
        &self,
        topic: &str,
        headers: &mut AddedHeaders,
        list: &[T],
        out: &mut Vec<u8>,
    ) -> Result<(), SerializerError> {
        let count = int(list.len())?;
        if Serializer::<T>::fixed_len(&self.0).is_some() {
            out.push(CONSTANT_SIZE);
            self.put_nulls(list, out)?;
            out.extend_from_slice(&count);
            return list
                .iter()
                .filter(|value| !self.0.is_null(value))
                .try_for_each(|value| self.0.serialize(topic, headers, value, out));
        }
        out.push(VARIABLE_SIZE);
        out.extend_from_slice(&count);
        list.iter().try_for_each(|value| self.put_with_len(topic, headers, value, out))
    }
}

impl<T, S: Serializer<T>> Serializer<Vec<T>> for ListSerializer<S> {
    fn serialize(
        &self,
        topic: &str,
        headers: &mut AddedHeaders,
        list: &Vec<T>,
        out: &mut Vec<u8>,
    ) -> Result<(), SerializerError> {
        self.serialize(topic, headers, list.as_slice(), out)
    }
}

impl<S> ListSerializer<S> {
    fn put_nulls<T>(&self, list: &[T], out: &mut Vec<u8>) -> Result<(), SerializerError>
    where
        S: Serializer<T>,
    {
        let nulls = || list.iter().enumerate().filter(|(_, value)| self.0.is_null(value));
        out.extend_from_slice(&int(nulls().count())?);
        nulls().try_for_each(|(place, _)| {
            out.extend_from_slice(&int(place)?);
            Ok(())
        })
    }

    /// The length is known when the bytes are there, so its room is left free before them.
    fn put_with_len<T>(
        &self,
        topic: &str,
        headers: &mut AddedHeaders,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), SerializerError>
    where
        S: Serializer<T>,
    {
        let at = out.len();
        out.extend_from_slice(&NULL_LEN);
        if self.0.is_null(value) {
            return Ok(());
        }
        self.0.serialize(topic, headers, value, out)?;
        let len = out.len().checked_sub(at + NULL_LEN.len()).ok_or("the serializer of an element took bytes away")?;
        if let Some(place) = out.get_mut(at..at + NULL_LEN.len()) {
            place.copy_from_slice(&int(len)?);
        }
        Ok(())
    }
}

/// A number as Kafka writes it.
fn int(number: usize) -> Result<[u8; 4], SerializerError> {
    let number = i32::try_from(number).map_err(|_| "a list or an element has more than 2147483647 of something")?;
    Ok(number.to_be_bytes())
}

/// First byte of a list of elements of one length (Serdes.ListSerde.SerializationStrategy).
const CONSTANT_SIZE: u8 = 0;

/// First byte of other lists.
const VARIABLE_SIZE: u8 = 1;

/// In place of the length of a null (Serdes.ListSerde.NULL_ENTRY_VALUE).
const NULL_LEN: [u8; 4] = (-1_i32).to_be_bytes();

#[cfg(test)]
mod tests {
    use super::super::*;

    fn hex<T>(inner: impl Serializer<T>, list: &[T]) -> String {
        let mut out = vec![9; 3];
        ListSerializer::new(inner).serialize("t", &mut AddedHeaders::new(), list, &mut out).unwrap();
        out[3..].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the `ListSerializer` of Kafka 4.2.1 made of the same lists.
    #[test]
    fn bytes_are_those_of_kafkas_serializer() {
        assert_eq!(hex(IntegerSerializer, &[1, -1]), "00000000000000000200000001ffffffff");
        let with_nulls = [Some(1), None, Some(2), None];
        let expected = "00000000020000000100000003000000040000000100000002";
        assert_eq!(hex(NullableSerializer::new(IntegerSerializer), &with_nulls), expected);
        assert_eq!(hex(IntegerSerializer, &[]), "000000000000000000");
        assert_eq!(hex(ShortSerializer, &[7]), "0000000000000000010007");
        let longs = [Some(7), None];
        assert_eq!(hex(NullableSerializer::new(LongSerializer), &longs), "000000000100000001000000020000000000000007");
        assert_eq!(hex(FloatSerializer, &[1.5]), "0000000000000000013fc00000");
        assert_eq!(hex(DoubleSerializer, &[1.5]), "0000000000000000013ff8000000000000");
        let uuid = uuid::Uuid::from_u128(0x123e_4567_e89b_12d3_a456_4266_1417_4000);
        let text = "31323365343536372d653839622d313264332d613435362d343236363134313734303030";
        assert_eq!(hex(UuidSerializer, &[uuid]), format!("000000000000000001{text}"));
        let strings = [Some("ab"), Some(""), None, Some("c")];
        let expected = "010000000400000002616200000000ffffffff0000000163";
        assert_eq!(hex(NullableSerializer::new(StringSerializer), &strings), expected);
        let bools = [Some(true), None];
        assert_eq!(hex(NullableSerializer::new(BooleanSerializer), &bools), "01000000020000000101ffffffff");
        let bytes = [Some([1_u8, 2, 3]), None];
        assert_eq!(hex(NullableSerializer::new(BytesSerializer), &bytes), "010000000200000003010203ffffffff");
        assert_eq!(hex(StringSerializer, &[] as &[&str]), "0100000000");
    }

    #[test]
    fn lists_of_lists_and_failing_elements() {
        let inner = ListSerializer::new(ShortSerializer);
        assert_eq!(hex(inner, &[vec![7_i16]]), format!("01000000010000000b{}", "0000000000000000010007"));

        struct Failing;
        impl Serializer<i32> for Failing {
            fn serialize(
                &self,
                _: &str,
                _: &mut AddedHeaders,
                value: &i32,
                out: &mut Vec<u8>,
            ) -> Result<(), SerializerError> {
                out.clear();
                if *value == 0 { Ok(()) } else { Err("not that one".into()) }
            }
        }
        let list = ListSerializer::new(Failing);
        let mut out = Vec::new();
        let mut serialize = |value: i32| list.serialize("t", &mut AddedHeaders::new(), &[value][..], &mut out);
        assert_eq!(serialize(1).unwrap_err().to_string(), "not that one");
        assert!(serialize(0).unwrap_err().to_string().contains("took bytes away"));
    }
}
