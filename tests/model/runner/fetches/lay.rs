//! Logs that are there before the broker is.

use std::fs;
use std::path::Path;

use thalweg::{Broker, BrokerConfig};

use super::batch::value;
use super::model::Model;
use super::run::topic_config;
use super::script::Sabotage;

/// Makes the first partition hold what the setup says, as one that another broker wrote.
pub fn lay(dir: &Path, model: &mut Model) {
    if model.setup.laid.is_empty() {
        return;
    }
    let broker = Broker::open_with(dir, BrokerConfig::new().store_reserve_bytes(0)).unwrap();
    broker.create_topic("t", super::script::PARTITIONS as i32, topic_config(&model.setup)).unwrap();
    broker.close().unwrap();
    let mut names: Vec<(i64, Vec<u8>)> = Vec::new();
    for (number, laid) in model.setup.laid.clone().into_iter().enumerate() {
        let before = model.logs[0].end();
        let base = before + laid.gap;
        let end = base + laid.count as i64 + laid.tail;
        let values: Vec<_> = (0..laid.count).map(|at| value(number * 100 + at, laid.value)).collect();
        let new_segment = number == 0 || laid.new_segment;
        let epoch = 0;
        let bytes = super::batch::encode(base, end, epoch, &values);
        match names.last_mut() {
            Some((_, log)) if !new_segment => log.extend(bytes),
            _ => names.push((before, bytes)),
        }
        let shift = if model.sabotage == Sabotage::NoGaps { laid.gap } else { 0 };
        model.push(0, (base - shift, end - shift), values, new_segment);
    }
    model.sync(0);
    let partition = dir.join("t-0");
    for entry in fs::read_dir(&partition).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with("log") || name.ends_with("index") || name == super::super::directory::CHECKPOINT {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for (base, log) in names {
        fs::write(partition.join(format!("{base:020}.log")), log).unwrap();
    }
}
