//! Topics come, change and go.

use thalweg::TopicConfig;
use thalweg::simulation::Background;

use crate::model::{Presence, Topic};
use crate::session::Session;

impl Session<'_> {
    pub(crate) fn create_offsets_topic(&mut self) {
        self.step(|session| {
            session.twice("create the offsets topic", |broker| Background::of(broker).create_offsets_topic(1));
        });
    }

    pub(crate) fn create(&mut self, name: &str, partitions: i32, config: TopicConfig, shows_durable_only: bool) {
        self.step(|session| {
            if session.open.is_none() {
                return;
            }
            let topic = Topic {
                presence: Presence::Maybe,
                counts: vec![partitions],
                configs: vec![config.clone()],
                shows_durable_only,
                logs: vec![Default::default(); partitions as usize],
            };
            session.model.topics.insert(name.to_owned(), topic);
            if session.twice("create a topic", |broker| broker.create_topic(name, partitions, config.clone())).is_some()
            {
                session.topic(name).presence = Presence::Yes;
            }
        });
    }

    pub(crate) fn alter(&mut self, name: &str, config: TopicConfig) {
        self.step(|session| {
            if !session.has(name) {
                return;
            }
            let before = session.broker().unwrap().topic(name).unwrap().config().clone();
            let topic = session.topic(name);
            topic.shows_durable_only = false;
            topic.configs.push(config.clone());
            if session.twice("alter a topic", |broker| broker.alter_topic(name, config.clone())).is_some() {
                session.topic(name).configs = vec![config];
            } else if *session.broker().unwrap().topic(name).unwrap().config() != before {
                session.wrong.push("altering failed, and the old settings do not hold".to_owned());
            }
        });
    }

    pub(crate) fn create_partitions(&mut self, name: &str, count: i32) {
        self.step(|session| {
            if !session.has(name) {
                return;
            }
            let before = session.broker().unwrap().topic(name).unwrap().partitions();
            session.topic(name).counts.push(count);
            if session.twice("create partitions", |broker| broker.create_partitions(name, count)).is_some() {
                let topic = session.topic(name);
                topic.counts = vec![count];
                topic.logs.resize_with(count as usize, Default::default);
            } else if session.broker().unwrap().topic(name).unwrap().partitions() != before {
                session.wrong.push("creating partitions failed, and some are there".to_owned());
            }
        });
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.step(|session| {
            if !session.has(name) {
                return;
            }
            session.settle_now();
            session.topic(name).presence = Presence::Maybe;
            if session.twice("delete a topic", |broker| broker.delete_topic(name)).is_some() {
                session.topic(name).presence = Presence::No;
            }
        });
    }
}
