//! Serializers of single values, as those of the Java client.

use uuid::Uuid;

use super::{AddedHeaders, Serializer, SerializerError};

/// Bytes, as they are: Kafka's `ByteArraySerializer`, `BytesSerializer` and `ByteBufferSerializer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesSerializer;

impl<T: AsRef<[u8]> + ?Sized> Serializer<T> for BytesSerializer {
    fn serialize(&self, _: &str, _: &mut AddedHeaders, value: &T, out: &mut Vec<u8>) -> Result<(), SerializerError> {
        out.extend_from_slice(value.as_ref());
        Ok(())
    }
}

/// Text in UTF-8: Kafka's `StringSerializer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringSerializer;

impl<T: AsRef<str> + ?Sized> Serializer<T> for StringSerializer {
    fn serialize(&self, _: &str, _: &mut AddedHeaders, value: &T, out: &mut Vec<u8>) -> Result<(), SerializerError> {
        out.extend_from_slice(value.as_ref().as_bytes());
        Ok(())
    }
}

/// Numbers, whose bytes are those of an array.
macro_rules! numbers {
    ($($(#[$doc:meta])+ $name:ident, $type:ty, $bytes:expr;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl Serializer<$type> for $name {
            fn serialize(
                &self,
                _: &str,
                _: &mut AddedHeaders,
                value: &$type,
                out: &mut Vec<u8>,
            ) -> Result<(), SerializerError> {
                out.extend_from_slice(&$bytes(*value));
                Ok(())
            }

            fn fixed_len(&self) -> Option<usize> {
                Some(size_of::<$type>())
            }
        }
    )+};
}

numbers! {
    /// An `i16` in 2 bytes, big-endian: Kafka's `ShortSerializer`.
    ShortSerializer, i16, i16::to_be_bytes;
    /// An `i32` in 4 bytes, big-endian: Kafka's `IntegerSerializer`.
    IntegerSerializer, i32, i32::to_be_bytes;
    /// An `i64` in 8 bytes, big-endian: Kafka's `LongSerializer`.
    LongSerializer, i64, i64::to_be_bytes;
    /// An `f32` in 4 bytes, IEEE 754 and big-endian: Kafka's `FloatSerializer`.
    FloatSerializer, f32, f32::to_be_bytes;
    /// An `f64` in 8 bytes, IEEE 754 and big-endian: Kafka's `DoubleSerializer`. All values that are not a number are
    /// written as the same one, as there.
    DoubleSerializer, f64, |value: f64| if value.is_nan() { NAN } else { value.to_be_bytes() };
}

/// The one value that Java's `Double.doubleToLongBits` has for all that are not a number.
const NAN: [u8; 8] = 0x7ff8_0000_0000_0000_u64.to_be_bytes();

/// A `bool` in one byte, 1 or 0: Kafka's `BooleanSerializer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BooleanSerializer;

impl Serializer<bool> for BooleanSerializer {
    fn serialize(&self, _: &str, _: &mut AddedHeaders, value: &bool, out: &mut Vec<u8>) -> Result<(), SerializerError> {
        out.push(u8::from(*value));
        Ok(())
    }
}

/// A UUID as its 36 characters, in lower case: Kafka's `UUIDSerializer` with its default, UTF-8.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidSerializer;

impl Serializer<Uuid> for UuidSerializer {
    fn serialize(&self, _: &str, _: &mut AddedHeaders, value: &Uuid, out: &mut Vec<u8>) -> Result<(), SerializerError> {
        let mut text = Uuid::encode_buffer();
        out.extend_from_slice(value.hyphenated().encode_lower(&mut text).as_bytes());
        Ok(())
    }

    fn fixed_len(&self) -> Option<usize> {
        Some(36)
    }
}

/// Nothing, which is null: Kafka's `VoidSerializer`. For records without keys, or that are keys only.
#[derive(Clone, Copy, Debug, Default)]
pub struct VoidSerializer;

impl Serializer<()> for VoidSerializer {
    fn serialize(&self, _: &str, _: &mut AddedHeaders, (): &(), _: &mut Vec<u8>) -> Result<(), SerializerError> {
        Ok(())
    }

    fn is_null(&self, (): &()) -> bool {
        true
    }
}

/// `None` is null, and what is in a `Some` is written by another serializer. For elements of a [`ListSerializer`] above
/// all: a record that has no value is a [`tombstone`](crate::typed::Record::tombstone).
///
/// [`ListSerializer`]: super::ListSerializer
#[derive(Clone, Copy, Debug, Default)]
pub struct NullableSerializer<S>(S);

impl<S> NullableSerializer<S> {
    /// Writes what is there with `inner`.
    pub fn new(inner: S) -> Self {
        NullableSerializer(inner)
    }
}

impl<T, S: Serializer<T>> Serializer<Option<T>> for NullableSerializer<S> {
    fn serialize(
        &self,
        topic: &str,
        headers: &mut AddedHeaders,
        value: &Option<T>,
        out: &mut Vec<u8>,
    ) -> Result<(), SerializerError> {
        value.as_ref().map_or(Ok(()), |value| self.0.serialize(topic, headers, value, out))
    }

    fn is_null(&self, value: &Option<T>) -> bool {
        value.as_ref().is_none_or(|value| self.0.is_null(value))
    }

    fn fixed_len(&self) -> Option<usize> {
        self.0.fixed_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes in hexadecimal, as the program that printed Kafka's shows them.
    fn hex<T: ?Sized>(serializer: impl Serializer<T>, value: &T) -> String {
        let mut out = b"before".to_vec();
        let mut headers = AddedHeaders::new();
        if serializer.is_null(value) {
            return "null".to_owned();
        }
        serializer.serialize("t", &mut headers, value, &mut out).unwrap();
        assert_eq!(headers.iter().len(), 0);
        let bytes = out.strip_prefix(b"before").unwrap();
        assert!(serializer.fixed_len().is_none_or(|len| len == bytes.len()));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the serializers of Kafka 4.2.1 made of the same values.
    #[test]
    fn bytes_are_those_of_kafkas_serializers() {
        assert_eq!(hex(ShortSerializer, &-2), "fffe");
        assert_eq!(hex(ShortSerializer, &0x1234), "1234");
        assert_eq!(hex(IntegerSerializer, &0x1234_5678), "12345678");
        assert_eq!(hex(IntegerSerializer, &-1), "ffffffff");
        assert_eq!(hex(LongSerializer, &0x1234_5678_9abc_def0), "123456789abcdef0");
        assert_eq!(hex(LongSerializer, &i64::MIN), "8000000000000000");
        assert_eq!(hex(FloatSerializer, &1.5), "3fc00000");
        assert_eq!(hex(FloatSerializer, &-0.0), "80000000");
        assert_eq!(hex(FloatSerializer, &f32::from_bits(0xffc0_0001)), "ffc00001");
        assert_eq!(hex(DoubleSerializer, &std::f64::consts::PI), "400921fb54442d18");
        assert_eq!(hex(DoubleSerializer, &f64::NEG_INFINITY), "fff0000000000000");
        assert_eq!(hex(DoubleSerializer, &f64::from_bits(0xfff8_0000_0000_0001)), "7ff8000000000000");
        assert_eq!((hex(BooleanSerializer, &true), hex(BooleanSerializer, &false)), ("01".into(), "00".into()));
        assert_eq!(hex(StringSerializer, "카f"), "ecb9b466");
        assert_eq!(hex(StringSerializer, ""), "");
        assert_eq!(hex(StringSerializer, &"ab".to_owned()), "6162");
        assert_eq!(hex(VoidSerializer, &()), "null");
        let uuid = Uuid::from_u128(0x123e_4567_e89b_12d3_a456_4266_1417_4000);
        let text = "31323365343536372d653839622d313264332d613435362d343236363134313734303030";
        assert_eq!(hex(UuidSerializer, &uuid), text);
        assert_eq!(hex(BytesSerializer, &[0_u8, 255][..]), "00ff");
        assert_eq!(hex(BytesSerializer, &vec![1_u8]), "01");
    }

    #[test]
    fn none_is_null() {
        let nullable = NullableSerializer::new(IntegerSerializer);
        assert_eq!(hex(nullable, &None), "null");
        assert_eq!(hex(nullable, &Some(1)), "00000001");
        assert_eq!(hex(NullableSerializer::new(VoidSerializer), &Some(())), "null");
    }
}
