//! What a broker has to do after it was opened again: take a record in every partition, and show all of them.

use thalweg::{Broker, FetchOptions, ProducerConfig, ProducerRecord, TopicPartition};

pub(crate) fn to_all(broker: &Broker) -> thalweg::Result<()> {
    let producer = broker.producer(ProducerConfig::new().retries(0))?;
    for topic in broker.topics().iter().filter(|topic| !topic.is_internal()) {
        for number in 0..topic.partitions() {
            let name = TopicPartition::new(topic.name(), number);
            let partition = broker.partition(&name)?;
            let end = partition.log_end()?;
            let sent = producer.send(ProducerRecord::new(topic.name(), "more").partition(number))?.wait()?;
            assert_eq!(sent.offset, end, "{name}");
            let records = partition.fetch(end, &FetchOptions::new())?.decode(true)?;
            assert_eq!(records.iter().next().and_then(|record| record.value()), Some(&b"more"[..]), "{name}");
        }
    }
    Ok(())
}
