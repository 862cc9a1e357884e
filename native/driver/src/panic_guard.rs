//! What a panic in one connection's step does: it ends that connection, with its text, and
//! nothing else.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a step. A panic comes back as its message and place.
pub fn run<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    let outer = GUARDED.replace(true);
    // The step's state is dropped after a panic and nothing else can see it.
    let result = panic::catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(outer);
    result.map_err(|payload| {
        let text = message(payload.as_ref());
        match LOCATION.take() {
            Some(place) => format!("{text} ({place})"),
            None => text,
        }
    })
}

/// Makes the process's panic hook pass over guarded panics, which are reported through the
/// mailbox and the log; the default hook would write a backtrace into the host's terminal.
pub fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // try_with: a panic while the thread's locals are torn down is not a guarded one.
            if GUARDED.try_with(Cell::get).unwrap_or(false) {
                remember_place(info);
            } else {
                previous(info);
            }
        }));
    });
}

fn remember_place(info: &PanicHookInfo<'_>) {
    let place = info
        .location()
        .map(|place| format!("{}:{}", place.file(), place.line()));
    log::error!(
        "a connection panicked and was dropped: {} ({})",
        message(info.payload()),
        place.as_deref().unwrap_or("unknown place")
    );
    LOCATION.with(|slot| slot.replace(place));
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_as_its_text_and_place() {
        install_hook();
        let text = run(|| -> () { panic!("step {}", 7) }).unwrap_err();
        assert!(text.starts_with("step 7 ("), "{text}");
        assert!(text.contains("panic_guard.rs:"), "{text}");
        assert_eq!(run(|| 5), Ok(5));
        assert!(
            !GUARDED.get(),
            "panics outside of a step are the host's again"
        );
    }

    #[test]
    fn an_inner_guard_leaves_the_outer_one_in_force() {
        install_hook();
        let outer = run(|| {
            assert!(run(|| panic!("inner")).is_err());
            GUARDED.get()
        });
        assert_eq!(outer, Ok(true));
    }
}
