//! Ending the broker, in order or not, and opening its directory again.

use thalweg::{Durability, Offset};

use super::directory::{self, Files};
use super::loss::Checkpoint;
use super::op::{Loss, PARTITIONS, Sabotage};
use super::record::OpenBatch;
use super::run::{Run, partition_dir};

impl Run {
    pub(super) fn reopen(&mut self) {
        self.end();
        self.logs.iter_mut().for_each(|log| log.synced = log.end());
        let broker = self.setup.open(self.directory.dir());
        let recovery = broker.recovery();
        assert!(recovery.clean && recovery.failed.is_empty(), "{recovery}");
        assert_eq!((recovery.scanned_bytes(), recovery.cut_bytes(), recovery.clamped_offsets), (0, 0, 0), "{recovery}");
        self.broker = Some(broker);
        self.compare_everything();
    }

    pub(super) fn crash(&mut self, loss: &Loss) {
        // What can be seen keeps its promise: in mode fsync it is durable.
        let visible: Vec<_> = (0..PARTITIONS).map(|number| self.visible(number)).collect();
        let mut files = directory::read(self.directory.dir());
        self.end();
        let cut_bytes = self.lose(loss, &mut files, &visible);
        self.directory.write(&files);
        let broker = self.setup.open(self.directory.dir());
        let recovery = broker.recovery();
        assert!(!recovery.clean && recovery.failed.is_empty(), "{recovery}");
        assert_eq!(recovery.cut_bytes(), cut_bytes as u64, "{recovery}");
        assert_eq!(recovery.clamped_offsets, self.clamp(), "{recovery}");
        self.broker = Some(broker);
        self.logs.iter_mut().for_each(|log| log.removed.clear());
        self.files_before.clear();
        self.compare_everything();
    }

    fn visible(&self, number: usize) -> Offset {
        self.partition(number).high_watermark().unwrap()
    }

    /// Ends everything that works with the directory.
    fn end(&mut self) {
        self.acks.clear();
        (self.producer, self.consumer) = (None, None);
        self.broker.take().unwrap().close().unwrap();
        self.positions = Default::default();
    }

    /// Takes from the files, and from the model, what a crash may take. Returns how many bytes recovery has to cut.
    fn lose(&mut self, loss: &Loss, files: &mut Files, visible: &[Offset]) -> usize {
        for (number, log) in self.logs.iter_mut().enumerate() {
            log.open = OpenBatch::new();
            let Checkpoint { recovery_point, log_start } = Checkpoint::of(&partition_dir(number), files);
            assert_eq!(log_start, log.start, "{number}: the log start is durable");
            // What is rolled over is synced, and what a close found; in no mode more than that is called durable.
            let synced = log.segments.last().unwrap().base.max(log.synced);
            assert!(recovery_point <= synced, "{number}: the recovery point is {recovery_point}, {synced} are synced");
            log.synced = recovery_point.max(log.synced);
        }
        match loss {
            Loss::Nothing => 0,
            Loss::Torn { partition, bytes } => self.logs[*partition].tear(&partition_dir(*partition), files, bytes),
            Loss::Unremoved { partition, count } => {
                let log = &mut self.logs[*partition];
                log.bring_back(&partition_dir(*partition), files, &self.files_before, *count);
                0
            }
            Loss::Cut { partition, missing, behind } => {
                let checkpoint = Checkpoint::of(&partition_dir(*partition), files);
                let mut promised = checkpoint.recovery_point.max(checkpoint.log_start);
                if self.setup.durability == Durability::Fsync {
                    promised = promised.max(visible[*partition]);
                }
                self.logs[*partition].lose(&partition_dir(*partition), files, promised, *missing, *behind)
            }
        }
    }

    /// After a crash committed offsets behind the end of a log count records that were lost. Returns how many there are.
    fn clamp(&mut self) -> usize {
        let mut clamped = 0;
        for (committed, log) in self.committed.iter_mut().zip(&self.logs) {
            if let Some(offset) = committed.as_mut().filter(|offset| log.end() < **offset) {
                (*offset, clamped) = (log.end(), clamped + 1);
            }
        }
        clamped
    }

    fn compare_everything(&mut self) {
        if self.sabotage == Sabotage::ForgetCommits {
            self.committed = Default::default();
        }
        for number in 0..PARTITIONS {
            self.compare_files(number, false);
            self.fetch_all(number, 1);
        }
        self.compare_committed();
    }
}
