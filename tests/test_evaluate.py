"""The measures against enumeration and dense float64 loops."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from conftest import tiny
from pytest import approx

from data.problems import Problem, first_problems
from evaluate import (
    Sampling,
    drift_and_legibility,
    evaluate,
    handoff_curve,
    pass_at_k,
    solo_accuracy,
)
from model import GPT
from rollout import Rollout, generate, sample, seeded, to_logprobs
from support.reports.display import show_answers
from tandem import Handoff

pytestmark = pytest.mark.fast


def small_pair(tokenizer) -> tuple[GPT, GPT]:
    """A random senior and junior with the vocabulary of the tokenizer."""
    V = tokenizer.vocab_size
    senior = tiny(0, vocab_size=V, max_seq_len=80)
    junior = tiny(1, vocab_size=V, max_seq_len=80)
    return senior, junior


# ---- pass@k, drift, legibility ------------------------------------------------------------------


def test_pass_at_k_is_what_enumeration_says():
    for n in range(1, 8):
        for c in range(n + 1):
            right = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                draws = list(itertools.combinations(right, k))
                successes = sum(any(draw) for draw in draws)
                expected = successes / len(draws)
                assert pass_at_k(n, c, k) == approx(expected, abs=1e-12)


@torch.no_grad()
def test_drift_and_legibility_are_those_of_a_dense_computation():
    """At temperature 1 and over the whole vocabulary, whatever the responses were sampled with."""
    senior = tiny(0)
    junior = tiny(1, n_layers=1)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [4]]
    rollout = generate(
        senior,
        None,
        prompts,
        Handoff("solo"),
        end=35,
        pad=36,
        max_new_tokens=15,
        temperature=0.7,
        top_k=5,
        generator=torch.Generator().manual_seed(0),
    )
    found = drift_and_legibility(senior, junior, rollout).tolist()  # N rows of 3
    senior = senior.double()
    junior = junior.double()
    for row, prompt in enumerate(prompts):
        text = list(prompt)
        kl = 0.0
        acceptance = 0.0
        cross_entropy = 0.0
        tokens = rollout.tokens[row][rollout.mask[row]].tolist()
        for token in tokens:
            context = torch.tensor([text])
            p = senior(context)[0, -1].softmax(dim=0).tolist()
            q = junior(context)[0, -1].softmax(dim=0).tolist()
            for a, b in zip(p, q, strict=True):
                kl += a * math.log(a / b)
                acceptance += min(a, b)
            cross_entropy -= math.log(q[token])
            text.append(token)
        n = len(tokens)
        expected = [kl / n, acceptance / n, cross_entropy / n]
        assert found[row] == approx(expected, rel=1e-4)


# ---- evaluate -----------------------------------------------------------------------------------


def test_evaluation_is_seeded_and_batched_and_leaves_other_generators_alone(tokenizer, monkeypatch):
    senior, junior = small_pair(tokenizer)
    problems = first_problems("test", 5, seed=0)
    compared = []

    def recorded(senior, junior, rollout):
        compared.append(len(rollout.prompts))
        return drift_and_legibility(senior, junior, rollout)

    monkeypatch.setattr("evaluate.drift_and_legibility", recorded)
    sampling = Sampling(samples=3, max_new_tokens=10)
    four_at_a_time = Sampling(samples=3, max_new_tokens=10, batch_size=4)
    state = torch.get_rng_state()
    first, answers = evaluate(senior, junior, tokenizer, problems, sampling)
    again, _ = evaluate(senior, junior, tokenizer, problems, sampling)
    parts, same = evaluate(senior, junior, tokenizer, problems, four_at_a_time)
    assert torch.equal(state, torch.get_rng_state())
    assert compared == [15, 15, 4, 4, 4, 3]
    assert again == first
    assert answers["solo"].problems == [problem for problem in problems for _ in range(3)]
    for name in answers:
        assert answers[name].texts == same[name].texts
        assert answers[name].right == same[name].right
    for name in first:
        assert parts[name] == approx(first[name], rel=1e-5)
    assert list(first) == [*answers, "drift", "legibility", "jargon_rate", "response_length"]
    assert set(first["solo"]) == {"pass@1", "pass@2"}
    assert set(first["handoff"]) == {"pass@1", "pass@2", "junior_fraction"}
    assert set(first["handoff_word"]) == {"pass@1", "pass@2", "junior_fraction"}


def test_what_is_asked_for_is_what_is_sampled(tokenizer, monkeypatch):
    senior, junior = small_pair(tokenizer)
    problems = first_problems("test", 2, 0)
    calls = []

    def recorded(senior, junior, prompts, handoff, **arguments):
        calls.append((handoff, junior, prompts, arguments))
        return generate(senior, junior, prompts, handoff, **arguments)

    monkeypatch.setattr("evaluate.generate", recorded)
    sampling = Sampling(
        samples=1,
        temperature=0.6,
        top_p=0.8,
        top_k=20,
        max_new_tokens=9,
        max_turns=5,
        prompt_template="{question} Go.",
    )
    _, answers = evaluate(senior, junior, tokenizer, problems, sampling)
    assert [handoff.schedule for handoff, *_ in calls] == ["solo", "step", "word"]
    assert list(answers) == ["solo", "handoff", "handoff_word"]
    expected_prompts = [tokenizer.encode(f"{problem.question} Go.\n\n") for problem in problems]
    for handoff, partner, prompts, arguments in calls:
        schedule = handoff.schedule
        assert (partner is None) == (schedule == "solo")
        assert handoff.p_senior == 0.5
        assert handoff.max_gap == 32
        assert prompts == expected_prompts
        assert arguments["temperature"] == 0.6
        assert arguments["top_p"] == 0.8
        assert arguments["top_k"] == 20
        assert arguments["max_new_tokens"] == 9
        assert arguments["max_turns"] == (5 if schedule == "step" else None)


def test_a_large_vocabulary_is_compared_a_few_tokens_at_a_time(tokenizer, monkeypatch):
    senior, junior = small_pair(tokenizer)
    problems = first_problems("test", 4, 0)
    sampling = Sampling(samples=3, max_new_tokens=10)
    whole, answers = evaluate(senior, junior, tokenizer, problems, sampling)
    tokens = int(answers["solo"].rollout.mask.sum())
    compared = []

    minimum = torch.minimum

    def counted(p, q):
        compared.append(len(p))
        return minimum(p, q)

    monkeypatch.setattr(torch, "minimum", counted)  # of the acceptance
    monkeypatch.setattr("rollout.MAX_LOGITS", 20 * tokenizer.vocab_size + 1)
    parts, _ = evaluate(senior, junior, tokenizer, problems, sampling)
    assert parts["drift"] == approx(whole["drift"], abs=1e-5)
    assert parts["legibility"] == approx(whole["legibility"], abs=1e-5)
    assert max(compared) == 20
    assert sum(compared) == tokens


# ---- The handoff curve --------------------------------------------------------------------------


def judged_by_their_text(texts: list[str], answers: list[str]) -> list[bool]:
    """Verdicts on texts of random models, which are never right. Every letter counts."""
    right = []
    for text, answer in zip(texts, answers, strict=True):
        letters = (text + answer).encode()
        right.append(sum(letters) % 3 == 0)
    return right


def end_more_often(model: GPT, tokenizer) -> None:
    model.embedding.weight.data[tokenizer.end] *= 2.5


def record_batches(monkeypatch) -> list[int]:
    """A list to which evaluate's calls of `generate` add their number of prompts."""
    sizes = []

    def recorded(senior, junior, prompts, handoff, **arguments):
        sizes.append(len(prompts))
        return generate(senior, junior, prompts, handoff, **arguments)

    monkeypatch.setattr("evaluate.generate", recorded)
    return sizes


@torch.no_grad()
def finished_alone(
    junior: GPT,
    tokenizer,
    problem: Problem,
    begun: list[int],
    numbers: torch.Tensor,  # (17,)
    temperature: float,
) -> list[int]:
    """The response of up to 17 tokens that the junior makes of its first ones, a number a token."""
    prompt = tokenizer.prompt(problem.question)
    written = list(begun)
    for number in numbers:
        if len(written) == 17 or tokenizer.end in written:
            break
        logits = junior(torch.tensor([prompt + written]))[:, -1]  # (1, V)
        logprobs = to_logprobs(logits, temperature)
        token = sample(logprobs, number[None])  # (1,)
        written.append(token.item())
    return written


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_the_handoff_curve_is_that_of_a_loop_over_single_responses(
    tokenizer, monkeypatch, temperature
):
    """Rows stand in the order of how much the senior wrote, and have a random number a token.

    What is read beside a row changes nothing.
    """
    monkeypatch.setattr("evaluate.verify_batch", judged_by_their_text)
    senior, junior = small_pair(tokenizer)
    end_more_often(senior, tokenizer)
    end_more_often(junior, tokenizer)
    problems = first_problems("test", 12, 0)
    sampling = Sampling(samples=1, max_new_tokens=17, temperature=temperature, batch_size=5)
    _, answers = evaluate(senior, junior, tokenizer, problems, sampling)
    batches = record_batches(monkeypatch)
    found = handoff_curve(junior, answers["solo"], tokenizer, sampling)
    # Not a batch for each length.
    assert max(batches) == 5
    assert len(batches) == 10 * 3

    solo = answers["solo"].rollout
    whole = []
    for tokens, mask in zip(solo.tokens, solo.mask, strict=True):
        whole.append(tokens[mask].tolist())
    cut_short = 0
    for tenth in range(11):
        share = Fraction(tenth, 10)
        cuts = [math.floor(share * len(tokens)) for tokens in whole]
        order = sorted(range(12), key=lambda row: (cuts[row], row))
        generator = seeded(sampling.seed, "handoff curve", tenth)
        drawn = [torch.rand(12, generator=generator) for _ in range(17)]
        numbers = torch.stack(drawn, dim=1)  # (12, 17), the rows in this order
        texts = []
        for row, problem in enumerate(problems):
            begun = whole[row][: cuts[row]]
            own = numbers[order.index(row)]  # (17,)
            written = finished_alone(junior, tokenizer, problem, begun, own, temperature)
            texts.append(tokenizer.decode(written))
            if tokenizer.end not in written and cuts[row] > min(cuts):
                cut_short += 1
        right = judged_by_their_text(texts, [problem.answer for problem in problems])
        assert found[str(tenth / 10)] == sum(right) / 12, tenth

    # The case is worth looking at.
    lengths = {len(tokens) for tokens in whole}
    assert len(lengths) > 2
    assert max(lengths) == 17
    assert len(set(found.values())) > 3
    assert cut_short > 0


def test_the_handoff_curve_begins_a_new_part_where_the_context_ends(tokenizer, monkeypatch):
    """Two responses don't always fit together.

    One has a long prompt, of which the senior wrote much, the other a short one, of which it wrote
    nothing.
    """
    monkeypatch.setattr("evaluate.verify_batch", judged_by_their_text)
    senior, _ = small_pair(tokenizer)
    end_more_often(senior, tokenizer)
    problems = first_problems("test", 12, 0)
    longest = max(len(tokenizer.prompt(problem.question)) for problem in problems)
    narrow = tiny(1, vocab_size=tokenizer.vocab_size, max_seq_len=longest + 17)
    wide = tiny(1, vocab_size=tokenizer.vocab_size, max_seq_len=128)
    sampling = Sampling(samples=1, max_new_tokens=17)
    _, answers = evaluate(senior, narrow, tokenizer, problems, sampling)
    batches = record_batches(monkeypatch)
    found = handoff_curve(narrow, answers["solo"], tokenizer, sampling)
    assert sum(batches) == 120
    assert 10 < len(batches) < 60
    batches.clear()
    assert found == handoff_curve(wide, answers["solo"], tokenizer, sampling)
    assert batches == [12] * 10


def test_the_handoff_curve_begins_with_the_junior_alone_and_ends_with_the_senior_alone(
    tokenizer, monkeypatch
):
    monkeypatch.setattr("evaluate.verify_batch", judged_by_their_text)
    senior, junior = small_pair(tokenizer)
    problems = first_problems("test", 8, 0)
    sampling = Sampling(samples=4, max_new_tokens=8)
    measures, answers = evaluate(senior, junior, tokenizer, problems, sampling)
    found = handoff_curve(junior, answers["solo"], tokenizer, sampling)
    assert list(found) == [str(i / 10) for i in range(11)]
    assert found["1.0"] == measures["solo"]["pass@1"]

    # The junior's solo responses, with the curve's random numbers.
    def numbers_of_the_curve(seed, *_):
        return seeded(seed, "handoff curve", 0)

    monkeypatch.setattr("evaluate.seeded", numbers_of_the_curve)
    alone, _ = solo_accuracy(junior, tokenizer, problems, sampling)
    assert found["0.0"] == alone
    assert alone != found["1.0"]


# ---- Responses written by hand ------------------------------------------------------------------


def written_by_hand(prompts, texts: list[str], tokenizer, senior_every: int) -> Rollout:
    """A Rollout of these texts. The senior wrote every `senior_every`-th token, from the first."""
    ids = [[*tokenizer.encode(text), tokenizer.end] for text in texts]
    lengths = torch.tensor([len(row) for row in ids])  # (N,)
    T = int(lengths.max())
    padded = [row + [tokenizer.pad] * (T - len(row)) for row in ids]
    places = torch.arange(T)
    mask = places < lengths[:, None]  # (N, T)
    return Rollout(
        prompts=prompts,
        tokens=torch.tensor(padded),
        authorship=mask & (places % senior_every == 0),
        mask=mask,
        senior_logprobs=torch.zeros(mask.shape),
        junior_logprobs=torch.zeros(mask.shape),
    )


@pytest.mark.parametrize(
    "text, alone, said", [("a\nb", 10, 1), ("a\n\nb", 2, 1), ("a\n\nb", 1, 0), ("a\n", 10, 0)]
)
def test_a_handoff_without_the_junior_is_named(tokenizer, monkeypatch, capsys, text, alone, said):
    """It measures the senior alone.

    A model that writes its steps as lines never hands over. One line is one step.
    """

    def answering(senior, junior, prompts, *_, **__):
        rollout = written_by_hand(prompts, [text] * 10, tokenizer, senior_every=2)
        rollout.authorship[:alone] = rollout.mask[:alone]
        return rollout

    monkeypatch.setattr("evaluate.generate", answering)
    senior, junior = small_pair(tokenizer)
    problems = first_problems("test", 10, 0)
    evaluate(senior, junior, tokenizer, problems, Sampling(samples=1))
    shown = capsys.readouterr().err
    assert shown.count("warning") == said
    assert shown.count(f"alone in {alone} of 10 responses of several lines") == said


def test_right_answers_and_the_juniors_tokens_are_counted(tokenizer, monkeypatch):
    """No model can be made right by hand, but responses can: half of each problem's samples are."""
    problems = first_problems("test", 4, 0)

    def answering(senior, junior, prompts, handoff, **_):
        solo = handoff.schedule == "solo"
        wrong = "no" if solo else "zub 1 2 ~ 3;"
        texts = []
        for problem in problems:
            texts.append(rf"\boxed{{{problem.answer}}}")
            texts.append(wrong)
        return written_by_hand(prompts, texts, tokenizer, senior_every=1 if solo else 3)

    monkeypatch.setattr("evaluate.generate", answering)
    senior, junior = small_pair(tokenizer)
    measures, answers = evaluate(senior, junior, tokenizer, problems, Sampling(samples=2))
    by_junior = 0
    total = 0
    for text in answers["handoff"].texts:
        length = len(tokenizer.encode(text)) + 1  # with the end token
        by_junior += sum(t % 3 != 0 for t in range(length))
        total += length
    assert measures["solo"] == {"pass@1": 0.5, "pass@2": 1.0}
    assert measures["handoff"] == {
        "pass@1": 0.5,
        "pass@2": 1.0,
        "junior_fraction": approx(by_junior / total),
    }
    # The jargon is in the handoff's responses. The senior's solo responses are counted.
    assert measures["jargon_rate"] == 0

    shown = show_answers(answers, tokenizer, color=False)
    named = f"wrong, the answer is {problems[0].answer}\n    {problems[0].question}\n"
    assert shown.count("  solo, right\n") == 1
    assert shown.count("  handoff, right\n") == 1
    assert shown.count(named) == 2
    _, _, wrong_handoff = shown.partition("handoff, wrong")
    assert "⟦" in wrong_handoff
