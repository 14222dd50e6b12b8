use super::*;

const PREVIOUS: Option<&str> = Some("previous");

/// Deployments 1 to `count`, each with a content of its own.
fn history(count: u64) -> BTreeMap<u64, Digest> {
    (1..=count).map(|number| (number, content(number))).collect()
}

fn content(number: u64) -> Digest {
    Digest::of(number.to_string().as_bytes())
}

fn key(name: &str) -> StageKey {
    StageKey { namespace: "shop".to_owned(), name: name.to_owned() }
}

fn stage<'a>(key: &'a StageKey) -> StageView<'a> {
    StageView {
        key,
        policy: DeployPolicy::Automatic,
        history_limit: None,
        canary: None,
        rollback_to: None,
        deploy: None,
        promote_canary: None,
        live: None,
        pin: None,
        handled_deploy: None,
    }
}

/// What becomes of Stages while the contract has this content.
fn decided(deployments: &BTreeMap<u64, Digest>, contract: Option<(u64, bool)>, stages: &[StageView<'_>]) -> Decision {
    let digest = contract.map(|(number, _)| content(number));
    let contract = contract.zip(digest.as_ref());
    let contract = contract.map(|((_, sound), digest)| Candidate { digest, description: Some("the API's own"), sound });
    decide(&Situation { contract, deployments, stages: stages.to_vec() })
}

fn number(decision: &Decision) -> Option<u64> {
    decision.take.as_ref().map(|take| take.number)
}

fn kinds(decision: &StageDecision) -> Vec<ProblemKind> {
    decision.problems.iter().map(|problem| problem.kind).collect()
}

#[test]
fn automatic_stages_follow_the_contract() {
    let key = key("prod");
    // Contract's content and soundness, deployments, live before → taken, live after.
    for (contract, deployments, live, taken, after) in [
        (Some((1, true)), 0, None, Some(1), Some(1)),
        (Some((1, true)), 1, None, None, Some(1)),
        (Some((2, true)), 1, Some(1), Some(2), Some(2)),
        (Some((2, true)), 2, Some(1), None, Some(2)),
        // What is broken changes nothing, also after a restart that forgot everything.
        (Some((9, false)), 0, None, None, None),
        (Some((9, false)), 2, Some(2), None, Some(2)),
        (Some((9, false)), 2, None, None, Some(2)),
        // Back to an older content is a deployment of its own.
        (Some((1, true)), 2, Some(2), Some(3), Some(3)),
        // The ApiDefinition was deleted: what is served stays, and the history too.
        (None, 2, Some(2), None, Some(2)),
        (None, 0, None, None, None),
    ] {
        let history = history(deployments);
        let decision = decided(&history, contract, &[StageView { live, ..stage(&key) }]);
        let context = format!("{contract:?} {deployments} {live:?}");
        assert_eq!((number(&decision), decision.stages[0].live), (taken, after), "{context}");
        assert!(decision.stages[0].problems.is_empty(), "{context}");
    }
}

#[test]
fn manual_stages_wait_for_a_word() {
    let key = key("prod");
    let manual = StageView { policy: DeployPolicy::Manual, ..stage(&key) };
    let one = history(1);

    let waits = decided(&one, Some((2, true)), &[StageView { live: Some(1), ..manual.clone() }]);
    assert_eq!((number(&waits), waits.stages[0].live), (None, Some(1)));
    let nothing = decided(&history(0), Some((1, true)), std::slice::from_ref(&manual));
    assert_eq!((number(&nothing), nothing.stages[0].live), (None, None));

    let wish = StageView { live: Some(1), deploy: Some("fix totals @2026-11-24T10:00:00Z"), ..manual.clone() };
    let deployed = decided(&one, Some((2, true)), std::slice::from_ref(&wish));
    assert_eq!(deployed.take, Some(Take { number: 2, description: Some("fix totals".to_owned()) }));
    assert_eq!(deployed.stages[0].live, Some(2));
    assert_eq!(deployed.stages[0].handled_deploy.as_deref(), wish.deploy);

    // Once per distinct value.
    let again = StageView { handled_deploy: wish.deploy, live: Some(2), ..wish.clone() };
    assert_eq!(decided(&history(2), Some((3, true)), &[again]).stages[0].live, Some(2));
    // The newest was taken for another Stage: nothing is taken, the Stage moves.
    let moved = decided(&history(2), Some((2, true)), std::slice::from_ref(&wish));
    assert_eq!((number(&moved), moved.stages[0].live), (None, Some(2)));
    // While the document is broken the word is kept until it is not.
    let broken = decided(&one, Some((9, false)), &[wish]);
    assert_eq!((number(&broken), broken.stages[0].live), (None, Some(1)));
    assert_eq!(broken.stages[0].handled_deploy, None);
    assert_eq!(kinds(&broken.stages[0]), [ProblemKind::NothingToDeploy]);
}

#[test]
fn pins_hold_and_let_go() {
    let key = key("prod");
    // Annotation, what it was before, live before → live after, remembered.
    for (wish, before, live, after, pin) in [
        (Some("1"), None, Some(3), Some(1), Some("1")),
        (Some(" 2 "), None, Some(3), Some(2), Some("2")),
        (Some("4"), None, Some(3), Some(4), Some("4")),
        (PREVIOUS, None, Some(3), Some(2), PREVIOUS),
        // Resolved once.
        (PREVIOUS, PREVIOUS, Some(2), Some(2), PREVIOUS),
        // From a pin to the one before it.
        (PREVIOUS, Some("2"), Some(2), Some(1), PREVIOUS),
        // Unpinned: the newest, which is the one just taken.
        (None, Some("1"), Some(1), Some(4), None),
    ] {
        let view = StageView { rollback_to: wish, pin: before, live, ..stage(&key) };
        // The contract goes on meanwhile: deployment 4 is taken, and waits while there is a pin.
        let decision = decided(&history(3), Some((4, true)), &[view]);
        let stage = &decision.stages[0];
        assert_eq!((stage.live, stage.pin.as_deref()), (after, pin), "{wish:?} {before:?}");
        assert_eq!(number(&decision), Some(4));
        assert_eq!(stage.waiting, after < Some(4), "{wish:?}");
        assert!(stage.problems.is_empty());
    }
}

#[test]
fn a_pin_that_leads_nowhere_changes_nothing() {
    let key = key("prod");
    let mut pruned = history(6);
    pruned.retain(|number, _| *number > 3);
    for (wish, live, text) in [
        ("9", 6, "there is no deployment 9; there are 4 to 6"),
        ("2", 6, "there is no deployment 2; there are 4 to 6"),
        ("latest", 6, "`latest` is neither a deployment's number nor `previous`; there are 4 to 6"),
        ("previous", 4, "there is no deployment before the live one; there are 4 to 6"),
    ] {
        let view = StageView { rollback_to: Some(wish), pin: Some("5"), live: Some(live), ..stage(&key) };
        let decision = decided(&pruned, Some((6, true)), &[view]);
        let stage = &decision.stages[0];
        assert_eq!((stage.live, stage.pin.as_deref()), (Some(live), Some("5")), "{wish}");
        assert_eq!(stage.problems[0].message, text);
        assert_eq!(stage.problems[0].pointer, "/metadata/annotations/stagegate.dev~1rollback-to");
        assert_eq!(kinds(stage), [ProblemKind::UnknownDeployment]);
    }
}

#[test]
fn a_pin_holds_while_the_document_is_broken() {
    let key = key("prod");
    let view = StageView { rollback_to: Some("1"), live: Some(2), ..stage(&key) };
    let decision = decided(&history(2), Some((9, false)), &[view]);
    assert_eq!((decision.stages[0].live, number(&decision)), (Some(1), None));
}

#[test]
fn a_canary_keeps_the_base_until_it_is_promoted_or_gone() {
    let key = key("prod");
    let base = StageView { canary: Some(2), live: Some(1), ..stage(&key) };
    let decide_one = |view: StageView<'_>| {
        let decision = decided(&history(2), Some((3, true)), &[view]);
        assert_eq!(number(&decision), Some(3), "newer ones are taken, and wait");
        decision.stages[0].clone()
    };

    let shared = decide_one(base.clone());
    assert_eq!((shared.live, shared.canary, shared.promoted, shared.waiting), (Some(1), Some(2), false, true));
    let promoted = decide_one(StageView { promote_canary: Some("2"), ..base.clone() });
    assert_eq!((promoted.live, promoted.canary, promoted.promoted), (Some(2), None, true));
    let other = decide_one(StageView { promote_canary: Some("1"), ..base.clone() });
    assert_eq!((other.live, other.canary, kinds(&other)), (Some(1), Some(2), vec![ProblemKind::Contradiction]));
    let unknown = decide_one(StageView { canary: Some(9), ..base.clone() });
    assert_eq!((unknown.live, unknown.canary, kinds(&unknown)), (Some(1), None, vec![ProblemKind::UnknownDeployment]));
    // What is left of a promotion means nothing once the canary is gone.
    let gone = decide_one(StageView { canary: None, promote_canary: Some("2"), live: Some(2), ..base.clone() });
    assert_eq!((gone.live, gone.promoted), (Some(3), false));
    // The base of a canary can be pinned; then it cannot be promoted.
    let pinned = StageView { rollback_to: Some("1"), promote_canary: Some("2"), ..base };
    let pinned = decide_one(pinned);
    assert_eq!((pinned.live, pinned.canary, kinds(&pinned)), (Some(1), Some(2), vec![ProblemKind::Contradiction]));
}

#[test]
fn two_stages_of_one_api_share_its_numbers() {
    let (prod, beta) = (key("prod"), key("beta"));
    let manual = StageView { policy: DeployPolicy::Manual, live: Some(1), ..stage(&prod) };
    let automatic = StageView { live: Some(2), ..stage(&beta) };
    let decision = decided(&history(2), Some((3, true)), &[manual, automatic]);
    assert_eq!(number(&decision), Some(3));
    assert_eq!((decision.stages[0].live, decision.stages[1].live), (Some(1), Some(3)));
    assert!(decision.stages[0].waiting && !decision.stages[1].waiting);
}

#[test]
fn the_oldest_are_swept_except_those_in_use() {
    let (prod, beta) = (key("prod"), key("beta"));
    let prod = StageView { history_limit: Some(2), rollback_to: Some("1"), live: Some(3), ..stage(&prod) };
    let beta = StageView { history_limit: Some(3), canary: Some(2), live: Some(6), ..stage(&beta) };
    let decision = decided(&history(7), Some((8, true)), &[prod.clone(), beta]);
    // The larger limit of three counts; 1 is pinned, 2 a canary, 3 was live until now.
    assert_eq!(decision.sweep, BTreeSet::from([4, 5]));
    let zero = StageView { history_limit: Some(0), rollback_to: None, live: Some(7), ..prod };
    assert_eq!(decided(&history(7), Some((7, true)), &[zero]).sweep, (1..=6).collect());
}

#[test]
fn an_api_without_stages_takes_none() {
    assert_eq!(decided(&history(0), Some((1, true)), &[]), Decision::default());
}

#[test]
fn a_word_to_deploy_is_kept_while_something_holds_the_stage() {
    let key = key("prod");
    let manual = StageView { policy: DeployPolicy::Manual, deploy: Some("fix"), live: Some(2), ..stage(&key) };
    let pinned = StageView { rollback_to: Some("1"), ..manual.clone() };
    let canary = StageView { canary: Some(1), ..manual.clone() };
    for (held, live, text) in [
        (pinned, 1, "the stage is pinned: remove `stagegate.dev/rollback-to` first"),
        (canary, 2, "the stage has a canary: promote it or remove `spec.canary` first"),
    ] {
        let decision = decided(&history(2), Some((3, true)), std::slice::from_ref(&held));
        let decided_stage = &decision.stages[0];
        assert_eq!((number(&decision), decided_stage.live), (None, Some(live)), "{text}");
        assert_eq!(decided_stage.handled_deploy, None, "{text}");
        let problem = &decided_stage.problems[0];
        assert_eq!((problem.kind, problem.message.as_str()), (ProblemKind::Contradiction, text));
        assert_eq!(problem.pointer, "/metadata/annotations/stagegate.dev~1deploy");
        // Nothing holds it any more: the word is acted upon.
        let free = StageView { rollback_to: None, canary: None, live: Some(live), ..held.clone() };
        let then = decided(&history(2), Some((3, true)), &[free]);
        assert_eq!((number(&then), then.stages[0].live), (Some(3), Some(3)), "{text}");
        assert_eq!(then.stages[0].handled_deploy.as_deref(), Some("fix"), "{text}");
        // An automatic Stage needs no word, so there is none to keep.
        let automatic = StageView { policy: DeployPolicy::Automatic, ..held };
        assert!(decided(&history(2), Some((3, true)), &[automatic]).stages[0].problems.is_empty(), "{text}");
    }
    // What was never deployed has nothing that a canary could stand beside.
    let first = StageView { live: None, canary: Some(1), ..manual };
    assert_eq!(decided(&history(2), Some((3, true)), &[first]).stages[0].live, Some(3));
}
