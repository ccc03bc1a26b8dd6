//! Every place where the engine makes something durable, and what would be lost without it.

/// Every sync names its point, so that a test can switch off one of them at a time and see that something is lost.
macro_rules! sync_points {
    ($($(#[doc = $doc:literal])+ $point:ident,)+) => {
        /// A sync of the engine: which one, and why it is needed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[cfg_attr(not(feature = "simulation"), allow(unreachable_pub, reason = "public with the feature"))]
        pub enum SyncPoint {
            $($(#[doc = $doc])+ $point,)+
        }

        impl SyncPoint {
            /// All of them.
            #[cfg(any(test, feature = "simulation"))]
            pub const ALL: &[SyncPoint] = &[$(SyncPoint::$point),+];

            /// What would be lost without it.
            #[cfg(any(test, feature = "simulation"))]
            pub fn reason(self) -> &'static str {
                match self {
                    $(SyncPoint::$point => concat!($($doc),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

sync_points! {
    /// Content of segments before their records are acknowledged: what a topic promises would not be there.
    Commit,
    /// Name of a new segment before anything in it is acknowledged: the file would be there and not be found.
    SegmentName,
    /// Content of a segment that was rolled over or closed, before the recovery point moves past it: nobody looks there again.
    SealedSegment,
    /// Content of the active segment before a checkpoint between two rolls: it would vouch for what is not there.
    CheckpointedSegment,
    /// Content of a segment whose file handle is needed elsewhere: a later handle is not told of a write that failed.
    EvictedSegment,
    /// Content of a checkpoint before it takes the place of the former one: the log would have none.
    Checkpoint,
    /// Name of a checkpoint, before what it no longer vouches for goes, and before what follows it is acknowledged.
    CheckpointName,
    /// A checkpoint that was written over the former one on a full disk: removed records would come back.
    CheckpointInPlace,
    /// Content of the list of leader epochs before it takes the place of the former one.
    LeaderEpochs,
    /// Name of the list of leader epochs before a cut: offsets would be given out twice in one epoch.
    LeaderEpochsName,
    /// Names of a segment that was removed, before the next one goes: of those that come back some would be missing in
    /// between, which looks like damage to those who check and repair.
    RemovedSegment,
    /// Copy of a segment that a backup shares, before it takes the place of the shared one.
    UnsharedSegment,
    /// Name of a copy of a segment that a backup shares, before anything is appended to it.
    UnsharedSegmentName,
    /// Content of the small files of a new partition, before its topic is there.
    PartitionFile,
    /// Names of the directories of new partitions before their topic is there: it would have lost them.
    PartitionName,
    /// Content of a topic's file before it takes the place of the former one: the topic would have no settings.
    TopicFile,
    /// Name of a topic's file before its creation, change or deletion goes on.
    TopicFileName,
    /// Removal of the file of a deleted topic: a topic that somebody puts there later would be taken for the rest of it.
    TopicFileRemoved,
    /// Names of the directories of a deleted topic, out of the way of a new one: they would have the new one's name.
    PartitionRenamed,
    /// Removal of partitions whose creation failed, before their topic's file goes: they would be taken for a topic.
    CreationTakenBack,
    /// Content of segments before recovery reads them back: what only the cache holds is no evidence.
    RecoveredSegment,
    /// The copy of a segment that recovery could not read back from the device, before it takes the segment's place.
    RecoveredCopy,
    /// Names in the directory of a log that was recovered, copies that took the place of segments among them.
    RecoveredNames,
    /// A file that recovery has cut, before anything is appended: what was cut off would come back behind it.
    CutSegment,
    /// The beginning of a segment whose end was cut off, before it takes the segment's place.
    CutCopy,
    /// Bytes that are kept in a side file, before they are cut off from their segment.
    SideFile,
    /// Name of a side file, before the bytes in it are cut off from their segment.
    SideFileName,
    /// Steps of a replacement of segments, before the steps that must not come before them.
    ReplacementStep,
    /// Content of the properties of a new data directory.
    MetaProperties,
    /// Name of the properties of a new data directory: without them it is somebody else's.
    MetaPropertiesName,
    /// Name of a new data directory, and those of its parents that were made with it.
    DataDirectory,
    /// Content of the file that says which ids of producers were given: torn, it would say nothing, and ids would not go on.
    ProducerIds,
    /// Name of the file that says which ids of producers were given, before the next of them is.
    ProducerIdsName,
    /// The mark of a close in order.
    CleanMark,
    /// Name of the mark of a close in order, which the next open trusts.
    CleanMarkName,
    /// Removal of the mark of a close in order, before anything is opened: a crash would be taken for a close.
    CleanMarkRemoved,
    /// Content of a file of a backup.
    Backup,
    /// Content that another process has written, before its records are shown where only durable ones are.
    FollowedSegment,
    /// Name of a segment that another process has made, before its records are shown where only durable ones are.
    FollowedSegmentName,
    /// Content of a file that a repair has written.
    Repair,
    /// Names of files that a repair has written, renamed or removed.
    RepairName,
}

impl std::fmt::Display for SyncPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_has_a_reason_and_a_name() {
        for point in SyncPoint::ALL {
            assert!(point.reason().len() > 20 && !point.reason().starts_with(' '), "{point}: {}", point.reason());
        }
    }
}
