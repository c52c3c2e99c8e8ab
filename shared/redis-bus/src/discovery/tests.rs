use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Answers what it is told to, and counts how often it is asked.
#[derive(Debug)]
struct Scripted {
    answer: StdMutex<Result<Group, FindError>>,
    asked: AtomicUsize,
}

#[async_trait]
impl FindGroup for Scripted {
    fn name(&self) -> &str {
        "cache"
    }

    async fn find(&self) -> Result<Group, FindError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        lock(&self.answer).clone()
    }
}

fn group(host: &str) -> Group {
    Group {
        status: "available".to_owned(),
        engine: Some("valkey".to_owned()),
        members: 2,
        is_sharded: false,
        primary: Some(Address { host: host.to_owned(), port: 6379 }),
        reader: None,
        tls: true,
        wants_token: true,
        may_take_token: false,
    }
}

fn found(answer: Result<Group, FindError>) -> (Arc<Found>, Arc<Scripted>) {
    let finder = Arc::new(Scripted { answer: StdMutex::new(answer), asked: AtomicUsize::new(0) });
    let access = GroupAccess { token: Some("hunter2/+@:".to_owned()), authorities: None };
    (Arc::new(Found::new(Arc::<Scripted>::clone(&finder), access)), finder)
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_search_and_later_ones_ask_nobody() {
    let (place, finder) = found(Ok(group("a")));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let place = Arc::clone(&place);
            tokio::spawn(async move { place.target().await.unwrap().to_string() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "a:6379");
    }
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let target = place.target().await.unwrap();
    assert!(target.has_tls() && target.has_password());
    assert_eq!(finder.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_replaced_is_found_again_once_connecting_fails_for_long() {
    let (place, finder) = found(Ok(group("a")));
    assert_eq!(place.target().await.unwrap().to_string(), "a:6379");
    *lock(&finder.answer) = Ok(group("b"));
    place.failed();
    // A failover: short, and over with the first write.
    tokio::time::sleep(DOUBTED_AFTER / 2).await;
    assert_eq!(place.target().await.unwrap().to_string(), "a:6379");
    place.took_a_write();
    tokio::time::sleep(DOUBTED_AFTER).await;
    place.failed();
    assert_eq!(place.target().await.unwrap().to_string(), "a:6379");
    assert_eq!(finder.asked.load(Ordering::Relaxed), 1);
    tokio::time::sleep(DOUBTED_AFTER).await;
    assert_eq!(place.target().await.unwrap().to_string(), "b:6379");
    assert_eq!(finder.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_search_that_fails_is_repeated_with_growing_waits_and_loses_nothing_known() {
    let missing = FindError::Missing { group: "cache".to_owned() };
    let (place, finder) = found(Err(missing.clone()));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(300) {
        assert_eq!(place.target().await.err(), Some(missing.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // 1, 2, 4, … 32, 60 s between, each up to halved: never faster than every 30 s at last.
    let asked = finder.asked.load(Ordering::Relaxed);
    assert!((9..=17).contains(&asked), "{asked}");
    *lock(&finder.answer) = Ok(group("a"));
    tokio::time::sleep(SEARCH_WAIT.1).await;
    assert!(place.target().await.is_ok());
    *lock(&finder.answer) = Err(missing);
    place.failed();
    tokio::time::sleep(DOUBTED_AFTER).await;
    assert_eq!(place.target().await.unwrap().to_string(), "a:6379");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_cannot_be_used_is_refused_in_one_line_with_its_cure() {
    let sharded = Group { is_sharded: true, ..group("a") };
    let creating = Group { primary: None, status: "creating".to_owned(), ..group("a") };
    let open = Group { wants_token: false, ..group("a") };
    for (answer, word, trouble) in [
        (sharded, "cluster mode", Trouble::RedisGroup),
        (creating, "is creating", Trouble::RedisGroup),
        (open, "takes no AUTH token", Trouble::RedisAuth),
    ] {
        let (place, _) = found(Ok(answer));
        let refused = place.target().await.err().unwrap();
        let line = refused.to_string();
        assert!(line.contains(word) && line.contains("cure: ") && !line.contains('\n'), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
        assert_eq!(refused.trouble(), trouble);
    }
    let (place, finder) = found(Ok(group("a")));
    let nobody =
        Found::new(Arc::<Scripted>::clone(&finder) as Arc<dyn FindGroup>, GroupAccess::default());
    assert!(matches!(nobody.target().await, Err(FindError::TokenMissing { .. })));
    assert!(!format!("{:?} {place}", place.access).contains("hunter2"));
}
