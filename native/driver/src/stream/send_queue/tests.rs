use super::*;
use proptest::prelude::*;

fn drain(queue: &mut SendQueue) -> Vec<u8> {
    let all = queue.front().to_vec();
    queue.advance(all.len());
    all
}

#[test]
fn messages_leave_in_order_however_few_bytes_are_taken() {
    let now = Instant::now();
    let mut queue = SendQueue::default();
    assert!(queue.push(now, &[b"ab", b"c"], Worth::Fresh));
    assert!(queue.push(now, &[b"def"], Worth::Kept));
    let mut left = Vec::new();
    while let Some(byte) = queue.front().first() {
        left.push(*byte);
        queue.advance(1);
    }
    assert_eq!(left, b"abcdef");
    assert_eq!(queue.take_given_up(), GivenUp::default());
}

#[test]
fn the_oldest_media_is_given_up_for_the_newest() {
    let now = Instant::now();
    let mut queue = SendQueue::default();
    let message = |number: u8| vec![number; 64 << 10];
    assert!(queue.push(now, &[b"check"], Worth::Kept));
    for number in 0..40 {
        assert!(queue.push(now, &[&message(number)], Worth::Fresh));
    }
    let GivenUp { messages, bytes } = queue.take_given_up();
    assert_eq!(bytes, messages * (64 << 10));
    let left = drain(&mut queue);
    assert!(left.len() <= MAX_WAITING);
    assert!(left.starts_with(b"check"), "checks are kept");
    assert!(left.ends_with(&message(39)));
    assert_eq!(left.len() as u64 + bytes, 5 + 40 * (64 << 10));
    // What is left is the last of them, none missing.
    let first = u8::try_from(messages).unwrap();
    for (index, chunk) in left[5..].chunks(64 << 10).enumerate() {
        assert_eq!(chunk[0], first + u8::try_from(index).unwrap());
    }
}

#[test]
fn media_that_has_waited_too_long_is_given_up_but_for_what_has_begun_to_leave() {
    let now = Instant::now();
    let mut queue = SendQueue::default();
    for text in [b"first", b"secnd", b"third"] {
        assert!(queue.push(now, &[text], Worth::Fresh));
    }
    queue.advance(2);
    let later = now + MAX_AGE + Duration::from_millis(1);
    assert!(queue.push(later, &[b"fresh"], Worth::Fresh));
    assert_eq!(
        queue.take_given_up(),
        GivenUp {
            messages: 2,
            bytes: 10
        }
    );
    assert_eq!(drain(&mut queue), b"rstfresh");
}

#[test]
fn what_is_kept_is_refused_where_there_is_no_room() {
    let now = Instant::now();
    let mut queue = SendQueue::default();
    let message = vec![1; MAX_WAITING / 2];
    assert!(queue.push(now, &[&message], Worth::Kept));
    assert!(queue.push(now, &[&message], Worth::Kept));
    assert!(!queue.push(now, &[b"x"], Worth::Kept));
    assert_eq!(queue.take_given_up(), GivenUp::default());
    assert!(!queue.push(now, &[b"x"], Worth::Fresh));
    assert_eq!(
        queue.take_given_up(),
        GivenUp {
            messages: 1,
            bytes: 1
        }
    );
}

#[test]
fn a_queue_that_is_cleared_counts_the_media_in_it() {
    let now = Instant::now();
    let mut queue = SendQueue::default();
    queue.push(now, &[b"check"], Worth::Kept);
    queue.push(now, &[b"media"], Worth::Fresh);
    queue.clear();
    assert_eq!(queue.front(), b"");
    assert_eq!(
        queue.take_given_up(),
        GivenUp {
            messages: 1,
            bytes: 5
        }
    );
}

proptest! {
    /// Each message is its length and that many bytes of its number: whatever is given up, what
    /// leaves can be cut into messages again, whose numbers rise.
    #[test]
    fn what_leaves_is_whole_messages_in_order(
        steps in prop::collection::vec(
            (any::<bool>(), 0..60_000_usize, 0..120_000_usize, 0..100_u64), 1..80),
    ) {
        let mut now = Instant::now();
        let mut queue = SendQueue::default();
        let mut left = Vec::new();
        for (number, (fresh, length, taken, pause)) in steps.into_iter().enumerate() {
            now += Duration::from_millis(pause);
            let number = u8::try_from(number).unwrap();
            let header = u32::try_from(length).unwrap().to_be_bytes();
            let worth = if fresh { Worth::Fresh } else { Worth::Kept };
            queue.push(now, &[&header, &vec![number; length]], worth);
            prop_assert!(queue.len() <= MAX_WAITING);
            let taken = taken.min(queue.front().len());
            left.extend_from_slice(&queue.front()[..taken]);
            queue.advance(taken);
        }
        left.extend(drain(&mut queue));
        let mut rest = left.as_slice();
        let mut last = None;
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let body = &rest[4..4 + length];
            if let Some(number) = body.first() {
                prop_assert!(body.iter().all(|byte| byte == number));
                prop_assert!(last < Some(*number));
                last = Some(*number);
            }
            rest = &rest[4 + length..];
        }
    }
}
