//! What the checker has to notice.

use crate::checker::{Mark, Said, Sent, check, check_callbacks};

/// Two threads that send six records each to two partitions, and what came of them: all is well.
fn fine() -> (Vec<Sent>, Vec<Vec<Mark>>) {
    let (mut sent, mut logs) = (Vec::new(), vec![Vec::new(), Vec::new()]);
    for number in 0..3 {
        for (thread, partition) in [(0, 0), (1, 1), (1, 0), (0, 1)] {
            let mark = Mark { thread, partition, number };
            let log = &mut logs[partition as usize];
            sent.push(Sent { mark, said: Said::At(log.len() as i64) });
            log.push(mark);
        }
    }
    (sent, logs)
}

/// What is wrong with it after `change`.
fn wrong(change: impl FnOnce(&mut Vec<Sent>, &mut Vec<Vec<Mark>>)) -> String {
    let (mut sent, mut logs) = fine();
    change(&mut sent, &mut logs);
    check(&sent, &logs, false).unwrap_err()
}

#[test]
fn nothing_is_wrong_with_what_is_fine() {
    let (sent, logs) = fine();
    check(&sent, &logs, false).unwrap();
}

#[test]
fn control_a_swap_is_noticed_also_without_acknowledgements() {
    let swapped = wrong(|_, logs| logs[0].swap(0, 2));
    assert!(swapped.contains("comes behind"), "{swapped}");
    let swapped = wrong(|sent, logs| {
        sent.iter_mut().for_each(|sent| sent.said = Said::Nothing);
        logs[0].swap(2, 4);
    });
    assert!(swapped.contains("comes behind"), "{swapped}");
    let swapped = wrong(|_, logs| logs[0].swap(0, 1)); // of two threads
    assert!(swapped.contains("was acknowledged at"), "{swapped}");
}

#[test]
fn control_a_loss_is_noticed_in_the_middle_and_at_the_end() {
    for at in [1, 5] {
        let lost = wrong(|_, logs| _ = logs[1].remove(at));
        assert!(lost.contains("was acknowledged at"), "{lost}");
    }
}

#[test]
fn a_log_that_may_be_shorter_is_and_has_no_gaps() {
    let (sent, mut logs) = fine();
    logs[1].truncate(4);
    check(&sent, &logs, true).unwrap();
    logs[1].remove(2);
    let gap = check(&sent, &logs, true).unwrap_err();
    assert!(gap.contains("was acknowledged at"), "{gap}");
}

#[test]
fn control_a_duplicate_is_noticed() {
    for said in [None, Some(Said::Nothing), Some(Said::Perhaps)] {
        let twice = wrong(|sent, logs| {
            if let Some(said) = said {
                sent.iter_mut().for_each(|sent| sent.said = said.clone());
            }
            let last = logs[1][5];
            logs[1].push(last);
        });
        assert!(twice.contains("is there twice"), "{twice}");
    }
}

#[test]
fn control_what_failed_and_what_was_never_sent_is_noticed() {
    let failed = wrong(|sent, _| sent[3].said = Said::Absent("no".to_owned()));
    assert!(failed.contains("and failed: no"), "{failed}");
    let foreign = wrong(|_, logs| logs[0].push(Mark { thread: 7, partition: 0, number: 0 }));
    assert!(foreign.contains("was never sent"), "{foreign}");
    let astray = wrong(|_, logs| logs[0].push(Mark { thread: 7, partition: 1, number: 0 }));
    assert!(astray.contains("is in partition 0"), "{astray}");
}

#[test]
fn control_callbacks_out_of_order_missing_or_called_twice_are_noticed() {
    let calls: Vec<_> = fine().1.concat();
    check_callbacks(&calls, calls.len()).unwrap();
    let mut swapped = calls.clone();
    swapped.swap(0, 2);
    check_callbacks(&swapped, calls.len()).unwrap_err();
    check_callbacks(&calls[..5], calls.len()).unwrap_err();
    let twice = [&calls[..], &calls[11..]].concat();
    check_callbacks(&twice, twice.len()).unwrap_err();
}
