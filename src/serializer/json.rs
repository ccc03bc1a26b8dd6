//! JSON by way of serde.

use serde::Serialize;

use super::{AddedHeaders, Serializer, SerializerError};

/// Anything that is [`serde::Serialize`], as JSON without spaces. With cargo feature `serde`.
///
/// ```
/// use thalweg::serializer::{AddedHeaders, JsonSerializer, Serializer};
///
/// let mut bytes = Vec::new();
/// JsonSerializer.serialize("t", &mut AddedHeaders::new(), &("pears", 2), &mut bytes)?;
/// assert_eq!(bytes, br#"["pears",2]"#);
/// # Ok::<(), thalweg::serializer::SerializerError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSerializer;

impl<T: Serialize + ?Sized> Serializer<T> for JsonSerializer {
    fn serialize(&self, _: &str, _: &mut AddedHeaders, value: &T, out: &mut Vec<u8>) -> Result<(), SerializerError> {
        Ok(serde_json::to_writer(out, value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_json_cannot_say_is_an_error() {
        let mut out = Vec::new();
        let keys_are_lists = BTreeMap::from([(vec![1], 2)]);
        let error = JsonSerializer.serialize("t", &mut AddedHeaders::new(), &keys_are_lists, &mut out).unwrap_err();
        assert!(error.to_string().contains("string"), "{error}");
    }
}
