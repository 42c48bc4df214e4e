//! Decides whether a token found after an unconfirmed creation belongs to this run.
//!
//! The list shows a token's user, type, scopes, `created` and `expires`, and nothing that identifies the run that
//! created it. Deleting another run's token would break that run, whereas a token that is left expires by itself. So a
//! token is deleted only if it must be this run's; otherwise the run warns.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::TokenInfo;
use crate::issuer::{Found, PlannedCreation};

/// The expiry is extended by a random part of four hours. Of 300 runs that start in the same second, two in a hundred
/// share their expiry with another.
pub(super) const EXPIRY_SPREAD_SECONDS: u64 = 4 * 3600;
/// `Date` and `created` are whole seconds.
pub(super) const CREATED_SLACK_SECONDS: u64 = 2;
/// With a smaller spread, another token could have the same expiry by chance.
const MIN_PROVING_SPREAD_SECONDS: u64 = 1000;
/// How many times an expiry is drawn again if it is in use.
const DRAWS: usize = 20;

/// Draws an expiry, if possible one that is not taken.
pub(super) fn draw_free(taken: &HashSet<u64>, mut draw: impl FnMut() -> u64) -> u64 {
    let first_free = (0..DRAWS).map(|_| draw()).find(|expires| !taken.contains(expires));
    first_free.unwrap_or_else(draw)
}

/// Judges which of the `listed` tokens of this user was made by a creation without a token in its response. The `window`
/// is when the server can have created it, by its own clock; `None` if that clock is unknown.
///
/// The user's only new token is taken for this run's if it matches in everything that the list shows and something shows
/// that the request arrived.
pub(super) fn judge<'a>(
    planned: &PlannedCreation,
    username: &str,
    window: Option<&RangeInclusive<u64>>,
    listed: impl IntoIterator<Item = &'a TokenInfo>,
) -> Found {
    let before: HashSet<&str> = planned.listed_before.iter().map(String::as_str).collect();
    let is_new = |token: &&TokenInfo| {
        token.token_type == "service" && token.username == username && !before.contains(token.token.as_str())
    };
    let new: Vec<&TokenInfo> = listed.into_iter().filter(is_new).collect();
    // Both are sorted: one here, the other by the server.
    let can_be =
        |token: &&&TokenInfo| token.expires == Some(planned.expires) && token.scopes == planned.scopes;
    let candidates: Vec<&TokenInfo> = new.iter().filter(can_be).copied().collect();
    // The expiry was drawn before the request, and no other token had it: for `rotate`, a new token with that expiry
    // shows that the request arrived. A response does not, because a gateway may have refused the request while another
    // host's, of the same second, was carried out; but the expiry of `exec` is drawn from hours.
    let has_arrived = planned.answered || planned.spread >= MIN_PROVING_SPREAD_SECONDS;
    let is_in_time = |token: &TokenInfo| window.zip(token.created).is_some_and(|(w, at)| w.contains(&at));
    match (new.as_slice(), candidates.as_slice()) {
        (_, []) => Found::NotListed,
        ([_], [one]) if has_arrived && is_in_time(one) => Found::Created(one.token.clone()),
        _ => Found::Unproven(candidates.iter().map(|token| token.token.clone()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    fn planned(expires: u64, listed_before: Vec<String>, answered: bool) -> PlannedCreation {
        let scopes = vec!["read:all".to_owned()];
        PlannedCreation { expires, scopes, listed_before, answered, ..PlannedCreation::default() }
    }

    fn listed(key: &str, created: u64, expires: u64) -> TokenInfo {
        TokenInfo {
            username: "bot-x".to_owned(),
            token_type: "service".to_owned(),
            scopes: vec!["read:all".to_owned()],
            created: Some(created),
            expires: Some(expires),
            token: key.to_owned(),
            token_name: None,
        }
    }

    #[test]
    fn only_a_single_new_token_that_matches_in_everything_is_proven() {
        let creation = planned(9000, vec!["old".to_owned()], true);
        let judged =
            |listed: &[&TokenInfo]| judge(&creation, "bot-x", Some(&(100..=110)), listed.iter().copied());
        let unproven =
            |tokens: &[&TokenInfo]| Found::Unproven(tokens.iter().map(|token| token.token.clone()).collect());
        let proven = Found::Created("ours".to_owned());
        let ours = listed("ours", 105, 9000);
        let old = listed("old", 105, 9000);
        assert_eq!(judged(&[&old, &ours]), proven);
        // Runs never create session or internal tokens.
        let internal = TokenInfo { token_type: "internal".to_owned(), ..listed("internal", 105, 9000) };
        assert_eq!(judged(&[&internal, &ours]), proven);

        let other_scopes = TokenInfo { scopes: vec!["write:all".to_owned()], ..ours.clone() };
        for other in [old, other_scopes, listed("ours", 105, 9001)] {
            assert_eq!(judged(&[&other]), Found::NotListed);
        }
        let twin = listed("twin", 105, 9000);
        assert_eq!(judged(&[&ours, &twin]), unproven(&[&ours, &twin]));
        // A token of another run makes it impossible to prove anything.
        assert_eq!(judged(&[&ours, &listed("other", 90, 8000)]), unproven(&[&ours]));
        for created in [99, 111] {
            assert_eq!(judged(&[&listed("ours", created, 9000)]), unproven(&[&ours]));
        }
        let unknown_time = TokenInfo { created: None, ..ours.clone() };
        assert_eq!(judged(&[&unknown_time]), unproven(&[&ours]));
        let unanswered = PlannedCreation { answered: false, ..creation.clone() };
        assert_eq!(judge(&unanswered, "bot-x", Some(&(100..=110)), [&ours]), unproven(&[&ours]));
        let by_expiry = PlannedCreation { spread: MIN_PROVING_SPREAD_SECONDS, ..unanswered };
        assert_eq!(judge(&by_expiry, "bot-x", Some(&(100..=110)), [&ours]), proven);
        assert_eq!(judge(&creation, "bot-x", None, [&ours]), unproven(&[&ours]));
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Fate {
        Answered,
        /// The token is created, but the response is a gateway's error.
        GatewayError,
        /// The token is created, but the response is lost.
        AnswerLost,
        /// No token is created, and there is no response.
        RequestLost,
        /// No token is created, and a gateway's error looks as if the request had arrived.
        GatewayRefused,
    }

    impl Fate {
        fn creates(self) -> bool {
            !matches!(self, Fate::RequestLost | Fate::GatewayRefused)
        }
    }

    const LOST: [Fate; 4] = [Fate::Answered, Fate::GatewayError, Fate::AnswerLost, Fate::RequestLost];

    struct SimulatedRun {
        fate: Fate,
        token: TokenInfo,
        lists_at: u64,
        creates_at: u64,
        looks_at: u64,
        ends_at: u64,
        expires: u64,
    }

    /// The time in which the runs of a round start, in milliseconds.
    const ROUND: u64 = 1_000_000;
    const RUNS: usize = 50;
    const LEAST_LIFETIME_SECONDS: u64 = 330;

    fn runs(rng: &mut Rng, fates: &[Fate], within: u64, spread: u64) -> Vec<SimulatedRun> {
        let run = |index: usize, rng: &mut Rng| {
            let lists_at = ROUND + rng.u64(0..within);
            let creates_at = lists_at + rng.u64(1..200);
            let expires = (lists_at / 1000) + LEAST_LIFETIME_SECONDS + rng.u64(0..spread);
            SimulatedRun {
                fate: fates[rng.usize(0..fates.len())],
                token: listed(&format!("key-{index:02}"), creates_at / 1000, expires),
                lists_at,
                creates_at,
                looks_at: creates_at + rng.u64(1..2000),
                ends_at: creates_at + rng.u64(1..60_000),
                expires,
            }
        };
        (0..RUNS).map(|index| run(index, rng)).collect()
    }

    /// The user's list at a point in time: tokens created and not yet deleted.
    fn list<'a>(
        runs: &'a [SimulatedRun],
        deleted_at: &[Option<u64>],
        at: u64,
    ) -> impl Iterator<Item = &'a TokenInfo> {
        let is_listed = move |(run, deleted): &(&SimulatedRun, &Option<u64>)| {
            run.creates_at <= at && run.fate.creates() && deleted.is_none_or(|deleted| deleted > at)
        };
        runs.iter().zip(deleted_at).filter(is_listed).map(|(run, _)| &run.token)
    }

    /// Plays one round; returns how many tokens of other runs were deleted, and the expiry of each orphan.
    fn play(runs: &[SimulatedRun]) -> (usize, Vec<u64>) {
        let mut deleted_at: Vec<Option<u64>> =
            runs.iter().map(|run| (run.fate == Fate::Answered).then_some(run.ends_at)).collect();
        let mut foreign = 0;
        let mut order: Vec<usize> = (0..runs.len()).filter(|&i| runs[i].fate != Fate::Answered).collect();
        order.sort_by_key(|&index| runs[index].looks_at);
        for index in order {
            let run = &runs[index];
            let before = list(runs, &deleted_at, run.lists_at).map(|token| token.token.clone()).collect();
            let answered = matches!(run.fate, Fate::GatewayError | Fate::GatewayRefused);
            let creation = planned(run.expires, before, answered);
            let window = run.creates_at / 1000 - 2..=run.looks_at / 1000 + 2;
            let found = judge(&creation, "bot-x", Some(&window), list(runs, &deleted_at, run.looks_at));
            if let Found::Created(key) = found {
                let owner = runs.iter().position(|owner| owner.token.token == key).unwrap();
                foreign += usize::from(owner != index);
                deleted_at[owner] = Some(run.looks_at);
            }
        }
        let is_orphan = |index: &usize| deleted_at[*index].is_none() && runs[*index].fate.creates();
        (foreign, (0..runs.len()).filter(is_orphan).map(|index| runs[index].expires).collect())
    }

    /// With a spread of 180 s, and one match as proof, twenty good and twenty lost runs of one user once lost one or
    /// two good tokens in each round. Here, 10,000 rounds of 50 runs are played, a tenth of them with a spread so small
    /// that the same expiry is drawn all the time.
    #[test]
    fn no_run_deletes_the_token_of_another() {
        let mut rng = Rng::with_seed(12);
        let (mut deleted, mut created) = (0, 0);
        for round in 0..10_000_u64 {
            // All at once, or so far apart that a run is often alone.
            let within = [100, 5_000, 60_000, 600_000][usize::try_from(round % 4).unwrap()];
            let spread = if round % 10 == 0 { 2 } else { EXPIRY_SPREAD_SECONDS };
            let runs = runs(&mut rng, &LOST, within, spread);
            let (foreign, orphans) = play(&runs);
            assert_eq!(foreign, 0, "round {round}");
            let unanswered =
                runs.iter().filter(|run| matches!(run.fate, Fate::GatewayError | Fate::AnswerLost)).count();
            assert!(orphans.len() <= unanswered, "round {round}");
            for expires in &orphans {
                let latest = (ROUND + within) / 1000 + LEAST_LIFETIME_SECONDS + EXPIRY_SPREAD_SECONDS;
                assert!(*expires <= latest, "round {round}");
            }
            created += unanswered;
            deleted += unanswered - orphans.len();
        }
        // The rule must not prevent deletions: a run without others at the same time cleans up.
        assert!(deleted * 10 > created, "{deleted} of {created}");
    }

    /// A gateway's error is taken as a sign that the request arrived. If it did not, only a single other run can be
    /// mistaken for this one, if it began in the same seconds and drew the same expiry.
    #[test]
    fn a_gateway_that_creates_nothing_hardly_ever_costs_a_token() {
        let mut rng = Rng::with_seed(502);
        let fates = [Fate::Answered, Fate::GatewayRefused];
        let foreign: usize = (0..2_000_u64)
            .map(|round| {
                let within = [5_000, 60_000, 600_000][usize::try_from(round % 3).unwrap()];
                play(&runs(&mut rng, &fates, within, EXPIRY_SPREAD_SECONDS)).0
            })
            .sum();
        assert!(foreign <= 2, "{foreign} of 100,000 runs");
    }

    #[test]
    fn hundreds_of_runs_rarely_draw_the_same_expiry() {
        let mut rng = Rng::with_seed(300);
        let mut drawn: Vec<u64> = (0..300).map(|_| rng.u64(..EXPIRY_SPREAD_SECONDS)).collect();
        drawn.sort_unstable();
        let shared = drawn.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(shared <= 10, "{shared} of 300");
        // One that is in use is drawn again.
        let mut next = [7, 7, 8].into_iter();
        let taken = HashSet::from([7]);
        assert_eq!(draw_free(&taken, || next.next().unwrap()), 8);
        assert_eq!(draw_free(&taken, || 7), 7);
    }
}
