use super::*;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

async fn answers(dns: &Dns, hosts: &[&str]) -> Vec<Answer> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for host in hosts {
        let sender = sender.clone();
        dns.lookup(host, 3478, move |answer| sender.send(answer).unwrap());
    }
    let mut answers = Vec::new();
    for _ in hosts {
        answers.push(receiver.recv().await.unwrap());
    }
    answers
}

#[test]
fn an_address_needs_no_lookup() {
    // Without a runtime: nothing can be spawned.
    let seen = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&seen);
    Dns::new().lookup("2001:db8::1", 3478, move |answer| {
        *slot.borrow_mut() = Some(answer)
    });
    let expected = vec!["[2001:db8::1]:3478".parse().unwrap()];
    assert_eq!(seen.borrow_mut().take(), Some(Ok(expected)));
}

#[tokio::test]
async fn connections_that_ask_for_the_same_name_share_one_lookup() {
    let dns = Dns::new();
    LocalSet::new()
        .run_until(async {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            for _ in 0..3 {
                let sender = sender.clone();
                dns.lookup("localhost", 3478, move |answer| {
                    sender.send(answer).unwrap()
                });
            }
            {
                let entries = dns.entries.borrow();
                let key = ("localhost".to_owned(), 3478);
                assert!(matches!(entries.get(&key), Some(Entry::Asking(who)) if who.len() == 3));
            }
            for _ in 0..3 {
                let addresses = receiver.recv().await.unwrap().unwrap();
                assert!(
                    addresses
                        .iter()
                        .all(|it| it.ip().is_loopback() && it.port() == 3478)
                );
                assert!(!addresses.is_empty());
            }
            let again = answers(&dns, &["localhost"]).await;
            assert!(again[0].is_ok());
            assert_eq!(dns.entries.borrow().len(), 1);
        })
        .await;
}

#[tokio::test]
async fn a_name_that_cannot_exist_is_an_error_that_names_it() {
    let dns = Dns::new();
    LocalSet::new()
        .run_until(async {
            let answer = answers(&dns, &["not a host name"]).await.remove(0);
            assert!(answer.unwrap_err().contains("not a host name"));
        })
        .await;
}
