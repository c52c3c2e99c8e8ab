use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Gives a scripted answer, and counts the lookups.
#[derive(Debug)]
struct Scripted {
    answer: Mutex<Result<Group, FindError>>,
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
        self.answer.lock().clone()
    }
}

fn group(host: &str) -> Group {
    Group {
        status: "available".to_owned(),
        engine: Some("valkey".to_owned()),
        members: 2,
        is_sharded: false,
        primary: Some(HostPort { host: host.to_owned(), port: 6379 }),
        reader: None,
        tls: true,
        wants_token: true,
        may_take_token: false,
    }
}

fn found(answer: Result<Group, FindError>) -> (Arc<GroupLookup>, Arc<Scripted>) {
    let finder = Arc::new(Scripted { answer: Mutex::new(answer), asked: AtomicUsize::new(0) });
    let access = GroupAccess { token: Some("hunter2/+@:".to_owned()), authorities: None };
    (Arc::new(GroupLookup::new(Arc::<Scripted>::clone(&finder), access)), finder)
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_one_lookup_and_later_ones_need_none() {
    let (lookup, finder) = found(Ok(group("a")));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let lookup = Arc::clone(&lookup);
            tokio::spawn(async move { lookup.address().await.unwrap().to_string() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "a:6379");
    }
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let address = lookup.address().await.unwrap();
    assert!(address.has_tls() && address.has_password());
    assert_eq!(finder.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_group_is_looked_up_after_connecting_failed_for_ten_seconds() {
    let (lookup, finder) = found(Ok(group("a")));
    assert_eq!(lookup.address().await.unwrap().to_string(), "a:6379");
    *finder.answer.lock() = Ok(group("b"));
    lookup.record_failure();
    // A failover is short and ends with the first write.
    tokio::time::sleep(DOUBTED_AFTER / 2).await;
    assert_eq!(lookup.address().await.unwrap().to_string(), "a:6379");
    lookup.record_write();
    tokio::time::sleep(DOUBTED_AFTER).await;
    lookup.record_failure();
    assert_eq!(lookup.address().await.unwrap().to_string(), "a:6379");
    assert_eq!(finder.asked.load(Ordering::Relaxed), 1);
    tokio::time::sleep(DOUBTED_AFTER).await;
    assert_eq!(lookup.address().await.unwrap().to_string(), "b:6379");
    assert_eq!(finder.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_lookup_is_repeated_with_growing_waits_and_keeps_the_known_address() {
    let missing = FindError::Missing { group: "cache".to_owned() };
    let (lookup, finder) = found(Err(missing.clone()));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(300) {
        assert_eq!(lookup.address().await.err(), Some(missing.clone()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Waits of 1, 2, 4, … 32, 60 s, each shortened by up to half: in the end at most one in 30 s.
    let asked = finder.asked.load(Ordering::Relaxed);
    assert!((9..=17).contains(&asked), "{asked}");
    *finder.answer.lock() = Ok(group("a"));
    tokio::time::sleep(SEARCH_WAIT.1).await;
    assert!(lookup.address().await.is_ok());
    *finder.answer.lock() = Err(missing);
    lookup.record_failure();
    tokio::time::sleep(DOUBTED_AFTER).await;
    assert_eq!(lookup.address().await.unwrap().to_string(), "a:6379");
}

#[tokio::test(start_paused = true)]
async fn an_unusable_group_is_refused_in_one_line_with_the_cure() {
    let sharded = Group { is_sharded: true, ..group("a") };
    let creating = Group { primary: None, status: "creating".to_owned(), ..group("a") };
    let open = Group { wants_token: false, ..group("a") };
    for (answer, word, issue) in [
        (sharded, "cluster mode", Issue::RedisGroup),
        (creating, "is creating", Issue::RedisGroup),
        (open, "takes no AUTH token", Issue::RedisAuth),
    ] {
        let (lookup, _) = found(Ok(answer));
        let refused = lookup.address().await.err().unwrap();
        let line = refused.to_string();
        assert!(line.contains(word) && line.contains("fix: ") && !line.contains('\n'), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
        assert_eq!(refused.issue(), issue);
    }
    let (lookup, finder) = found(Ok(group("a")));
    let without_token = GroupLookup::new(
        Arc::<Scripted>::clone(&finder) as Arc<dyn FindGroup>,
        GroupAccess::default(),
    );
    assert!(matches!(without_token.address().await, Err(FindError::TokenMissing { .. })));
    assert!(!format!("{:?} {lookup}", lookup.access).contains("hunter2"));
}
