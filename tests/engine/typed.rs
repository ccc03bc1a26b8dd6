//! Producers of types, and what their serializers do to records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg::serializer::{
    AddedHeaders, BytesSerializer, IntegerSerializer, ListSerializer, LongSerializer, Serializer, SerializerError,
    StringSerializer, VoidSerializer,
};
use thalweg::{Broker, Durability, ErrorKind, FetchOptions, typed};

use crate::support::{Store, all_values, fast, producer, tp};

type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

/// Key, value and headers of every record in `t-0`.
fn all_records(broker: &Broker) -> Vec<Parts> {
    let partition = broker.partition(&tp(0)).unwrap();
    let (mut offset, end) = (partition.log_start().unwrap(), partition.high_watermark().unwrap());
    let mut found = Vec::new();
    while offset < end {
        let records = partition.fetch(offset, &FetchOptions::new()).unwrap().decode(true).unwrap();
        found.extend(records.iter().map(|record| {
            let headers =
                record.headers().map(|header| (header.key().into_owned(), header.value().map(<[u8]>::to_vec)));
            (record.key().map(<[u8]>::to_vec), record.value().map(<[u8]>::to_vec), headers.collect())
        }));
        offset = records.next_offset();
    }
    found
}

/// Writes text; refuses `"bad"`; counts its calls; adds the number of the call as a header.
#[derive(Clone, Default)]
struct Picky(Arc<AtomicUsize>);

impl Serializer<str> for Picky {
    fn serialize(
        &self,
        topic: &str,
        headers: &mut AddedHeaders,
        value: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), SerializerError> {
        let call = self.0.fetch_add(1, Ordering::SeqCst);
        assert_eq!(topic, "t");
        out.extend_from_slice(value.as_bytes());
        headers.add("call", Some(call.to_string().as_bytes()));
        if value == "bad" { Err(format!("{value} is refused").into()) } else { Ok(()) }
    }
}

#[test]
fn keys_and_values_are_written_as_kafka_writes_them() {
    let store = Store::new();
    let broker = store.open_with_topic(12, fast());
    let typed: typed::Producer<str, i64> = typed::Producer::new(producer(&broker), StringSerializer, LongSerializer);
    let sent = typed.send(typed::Record::new("t", &1).key("order-42").timestamp(1_700_000_000_000)).unwrap();
    let sent = sent.wait().unwrap();
    assert_eq!(sent.partition, tp(0), "murmur2 of order-42 modulo 12");
    assert_eq!(sent.timestamp, 1_700_000_000_000);
    assert_eq!(all_records(&broker), [(Some(b"order-42".to_vec()), Some(1_i64.to_be_bytes().to_vec()), vec![])]);
    let durable = typed.send(typed::Record::new("t", &2).partition(3).durability(Durability::Fsync)).unwrap();
    let durable = durable.wait().unwrap();
    assert_eq!((durable.partition, durable.durability), (tp(3), Durability::Fsync));
    typed.close().unwrap();
}

#[test]
fn null_is_written_without_asking_the_serializer() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let (keys, values) = (Picky::default(), Picky::default());
    let typed = typed::Producer::<str, str>::new(producer(&broker), keys.clone(), values.clone());
    typed.send(typed::Record::tombstone("t", "k")).unwrap().wait().unwrap();
    assert_eq!((keys.0.load(Ordering::SeqCst), values.0.load(Ordering::SeqCst)), (1, 0));
    typed.send(typed::Record::new("t", "v")).unwrap().wait().unwrap();
    assert_eq!((keys.0.load(Ordering::SeqCst), values.0.load(Ordering::SeqCst)), (1, 1));
    let call = || vec![("call".to_owned(), Some(b"0".to_vec()))];
    let expected = [(Some(b"k".to_vec()), None, call()), (None, Some(b"v".to_vec()), call())];
    assert_eq!(all_records(&broker), expected);
    let void = typed::Producer::new(producer(&broker), VoidSerializer, BytesSerializer);
    void.send(typed::Record::<(), [u8]>::new("t", b"v").key(&())).unwrap().wait().unwrap();
    assert_eq!(all_records(&broker)[2], (None, Some(b"v".to_vec()), vec![]));
}

#[test]
fn headers_of_serializers_come_behind_those_of_the_record() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let typed = typed::Producer::<str, str>::new(producer(&broker), Picky::default(), Picky::default());
    let record = typed::Record::new("t", "v").key("k").header("own", Some("1")).header("call", None::<&str>);
    for _ in 0..2 {
        typed.send(record.clone()).unwrap().wait().unwrap();
    }
    let headers = |call: &[u8]| {
        let call = ("call".to_owned(), Some(call.to_vec()));
        vec![("own".to_owned(), Some(b"1".to_vec())), ("call".to_owned(), None), call.clone(), call]
    };
    let found: Vec<_> = all_records(&broker).into_iter().map(|(_, _, headers)| headers).collect();
    assert_eq!(found, [headers(b"0"), headers(b"1")]);
}

#[test]
fn what_cannot_be_serialized_is_not_sent_and_harms_no_other() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let typed = typed::Producer::<str, str>::new(producer(&broker), Picky::default(), Picky::default());
    let good = || typed.send(typed::Record::new("t", "v").key("k")).unwrap();
    let before = good();
    for (record, origin) in [
        (typed::Record::new("t", "v").key("bad"), "key"),
        (typed::Record::new("t", "bad").key("k"), "value"),
        (typed::Record::new("t", "bad").key("bad"), "key"),
    ] {
        let error = typed.send(record).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Serialization { .. }), "{error}");
        let expected = format!("not serialized: the {origin} of a record for topic t: bad is refused");
        assert_eq!(error.to_string(), expected);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "bad is refused");
        assert!(!error.is_retriable());
    }
    assert_eq!((before.wait().unwrap().offset, good().wait().unwrap().offset), (0, 1));
    assert_eq!(all_values(&broker), [b"v", b"v"]);
    assert!(all_records(&broker).iter().all(|(key, _, headers)| key.as_deref() == Some(b"k") && headers.len() == 2));
}

#[test]
fn producers_of_several_types_share_one_below() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let shared = Arc::new(producer(&broker));
    let texts = typed::Producer::<str, str>::new(Arc::clone(&shared), StringSerializer, StringSerializer);
    let lists: typed::Producer<i32, Vec<i32>> =
        typed::Producer::new(Arc::clone(&shared), IntegerSerializer, ListSerializer::new(IntegerSerializer));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                (0..100).for_each(|_| texts.send(typed::Record::new("t", "text").key("k")).unwrap().detach())
            });
            scope.spawn(|| {
                (0..100).for_each(|_| lists.send(typed::Record::new("t", &vec![7]).key(&1)).unwrap().detach());
            });
        }
    });
    lists.flush().unwrap();
    let list = [&[0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0, 0, 0, 7]].concat();
    let records = all_records(&broker);
    assert_eq!(records.iter().filter(|(_, value, _)| value.as_deref() == Some(b"text")).count(), 200);
    let is_list = |(key, value, _): &&Parts| key.as_deref() == Some(&[0, 0, 0, 1]) && value.as_ref() == Some(&list);
    assert_eq!(records.iter().filter(is_list).count(), 200);
    // Closing one of several only flushes.
    texts.send(typed::Record::new("t", "last")).unwrap().detach();
    texts.close().unwrap();
    assert_eq!(all_values(&broker).last().unwrap(), b"last");
    lists.send(typed::Record::new("t", &vec![])).unwrap().wait().unwrap();
    assert!(Arc::ptr_eq(lists.raw(), &shared));
}

#[test]
fn a_serializer_may_itself_send() {
    /// Sends a note of what it serializes.
    struct Noting(Arc<typed::Producer<str, str>>);
    impl Serializer<str> for Noting {
        fn serialize(
            &self,
            topic: &str,
            _: &mut AddedHeaders,
            value: &str,
            out: &mut Vec<u8>,
        ) -> Result<(), SerializerError> {
            out.extend_from_slice(b"half ");
            self.0.send(typed::Record::new(topic, "note").key("n"))?.wait()?;
            out.extend_from_slice(value.as_bytes());
            Ok(())
        }
    }
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let shared = Arc::new(producer(&broker));
    let notes = Arc::new(typed::Producer::new(Arc::clone(&shared), StringSerializer, StringSerializer));
    let typed = typed::Producer::<str, str>::new(shared, StringSerializer, Noting(notes));
    typed.send(typed::Record::new("t", "done").key("k")).unwrap().wait().unwrap();
    assert_eq!(all_values(&broker), [&b"note"[..], b"half done"]);
}

#[test]
fn a_closed_broker_is_reported() {
    let store = Store::new();
    let broker = store.open_with_topic(1, fast());
    let typed = typed::Producer::<str, str>::new(producer(&broker), StringSerializer, StringSerializer);
    broker.close().unwrap();
    assert_eq!(typed.send(typed::Record::new("t", "v")).unwrap_err().kind(), &ErrorKind::Closed);
}
