use super::*;

/// 150, 500 and 2,000 kbit/s, in SDP's order from the best to the least.
const LAYERS: [LayerState; 3] = [alive(2_000_000), alive(500_000), alive(150_000)];
const HIGH: usize = 0;
const MIDDLE: usize = 1;
const LOW: usize = 2;

const fn alive(rate: u64) -> LayerState {
    LayerState { rate, alive: true }
}

struct Run {
    selector: Selector,
    now: Instant,
    layers: [LayerState; 3],
    wanted: Option<usize>,
}

impl Run {
    fn new(layers: [LayerState; 3], wanted: Option<usize>) -> Self {
        Self {
            selector: Selector::new(),
            now: Instant::now(),
            layers,
            wanted,
        }
    }

    /// Chooses every 100 ms for that long; what was chosen, each once.
    fn with(&mut self, budget: Option<u64>, millis: u64) -> Vec<usize> {
        let mut chosen = Vec::new();
        for _ in 0..millis / 100 {
            chosen.extend(
                self.selector
                    .choose(self.now, &self.layers, self.wanted, budget),
            );
            self.now += Duration::from_millis(100);
        }
        chosen.dedup();
        chosen
    }
}

#[test]
fn without_an_estimate_it_is_the_best_layer() {
    assert_eq!(Run::new(LAYERS, None).with(None, 1000), [HIGH]);
}

#[test]
fn it_begins_with_what_fits_and_with_the_least_where_nothing_does() {
    assert_eq!(Run::new(LAYERS, None).with(Some(600_000), 100), [MIDDLE]);
    assert_eq!(Run::new(LAYERS, None).with(Some(10_000), 100), [LOW]);
}

#[test]
fn it_falls_within_a_second_and_climbs_when_there_is_room_to_spare() {
    let mut run = Run::new(LAYERS, None);
    assert_eq!(run.with(Some(3_000_000), 500), [HIGH]);
    assert_eq!(run.with(Some(900_000), 1000), [HIGH, MIDDLE][1..]);
    assert_eq!(run.with(Some(2_100_000), 10_000), [MIDDLE], "no margin");
    assert_eq!(run.with(Some(2_500_000), 3000), [MIDDLE, HIGH]);
}

#[test]
fn a_keyframe_over_the_budget_is_no_reason_to_fall() {
    let mut run = Run::new(LAYERS, None);
    run.with(Some(2_100_000), 500);
    run.layers[HIGH].rate = 2_600_000;
    assert_eq!(run.with(Some(2_100_000), 500), [HIGH]);
    run.layers[HIGH].rate = 2_000_000;
    assert_eq!(run.with(Some(2_100_000), 2000), [HIGH]);
}

#[test]
fn each_failed_climb_makes_the_next_one_wait_longer() {
    let mut run = Run::new(LAYERS, None);
    run.with(Some(600_000), 1000);
    let mut waits = Vec::new();
    for _ in 0..7 {
        let began = run.now;
        while run.with(Some(2_500_000), 100) != [HIGH] {}
        waits.push(run.now.duration_since(began).as_millis());
        run.with(Some(600_000), 1000);
    }
    assert!(waits[1] > waits[0] && waits[2] > waits[1], "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 16_200), "{waits:?}");
}

#[test]
fn a_layer_that_was_asked_for_is_kept_whatever_the_estimate() {
    assert_eq!(
        Run::new(LAYERS, Some(HIGH)).with(Some(10_000), 3000),
        [HIGH]
    );
}

#[test]
fn while_the_layer_that_was_asked_for_is_silent_the_best_one_stands_in() {
    let mut run = Run::new(LAYERS, Some(MIDDLE));
    run.with(None, 500);
    run.layers[MIDDLE].alive = false;
    assert_eq!(run.with(None, 500), [HIGH]);
    run.layers[MIDDLE].alive = true;
    assert_eq!(run.with(None, 500), [MIDDLE]);
}

#[test]
fn a_layer_that_stops_is_left_at_once_and_nothing_is_chosen_of_nothing() {
    let mut run = Run::new(LAYERS, None);
    assert_eq!(run.with(Some(3_000_000), 100), [HIGH]);
    run.layers[HIGH].alive = false;
    assert_eq!(run.with(Some(3_000_000), 100), [MIDDLE]);
    run.layers.iter_mut().for_each(|layer| layer.alive = false);
    assert_eq!(run.with(Some(3_000_000), 100), [MIDDLE], "as it was");
    assert_eq!(Selector::new().choose(run.now, &[], None, None), None);
}

#[test]
fn layers_that_carry_about_the_same_are_not_swapped() {
    let mut run = Run::new([alive(500_000), alive(500_001), alive(0)], None);
    assert_eq!(run.with(None, 100), [MIDDLE]);
    for _ in 0..20 {
        run.layers.swap(HIGH, MIDDLE);
        assert_eq!(run.with(None, 100), [MIDDLE]);
    }
}

proptest::proptest! {
    #[test]
    fn it_rests_on_a_living_layer_that_fits_or_on_the_least(
        rates in proptest::array::uniform3(1u64..5_000_000),
        budgets in proptest::collection::vec(0u64..6_000_000, 1..6),
    ) {
        let layers = rates.map(alive);
        let mut run = Run::new(layers, None);
        for budget in budgets {
            run.with(Some(budget), 40_000);
            let rests = run.selector.chosen.is_some_and(|chosen| {
                let rate = rates[chosen];
                rate <= budget || rates.iter().all(|other| rate <= *other)
            });
            proptest::prop_assert!(rests, "{:?} of {rates:?} for {budget}", run.selector.chosen);
        }
    }
}
