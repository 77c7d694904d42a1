"""The measures against enumeration and dense float64 loops."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from conftest import tiny

from data.problems import first_problems
from evaluate import (
    Sampling,
    drift_and_legibility,
    evaluate,
    handoff_curve,
    pass_at_k,
    solo_accuracy,
)
from rollout import Rollout, generate, sample, seeded, to_logprobs
from support.reports.display import show_answers
from tandem import Handoff, kl_exact


def test_pass_at_k_is_what_enumeration_says():
    for n in range(1, 8):
        for c in range(n + 1):
            right = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                draws = list(itertools.combinations(right, k))
                assert pass_at_k(n, c, k) == pytest.approx(
                    sum(map(any, draws)) / len(draws), abs=1e-12
                )


def test_drift_and_legibility_are_those_of_a_dense_computation():
    senior, junior = tiny(0), tiny(1, n_layers=1)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [4]]
    generator = torch.Generator().manual_seed(0)
    arguments = dict(
        end=35, pad=36, max_new_tokens=15, temperature=0.7, top_k=5, generator=generator
    )
    rollout = generate(senior, None, prompts, Handoff("solo"), **arguments)
    found = drift_and_legibility(senior, junior, rollout)
    senior, junior = senior.double(), junior.double()
    for row, prompt in enumerate(prompts):
        text, kl, acceptance, cross_entropy = list(prompt), [], [], []
        for token in rollout.tokens[row, : int(rollout.mask[row].sum())].tolist():
            with (
                torch.no_grad()
            ):  # temperature 1 and the whole vocabulary, whatever was sampled with
                p = senior(torch.tensor([text]))[0, -1].softmax(dim=0).tolist()
                q = junior(torch.tensor([text]))[0, -1].softmax(dim=0).tolist()
            kl.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            acceptance.append(sum(map(min, p, q)))
            cross_entropy.append(-math.log(q[token]))
            text.append(token)
        for measured, values in zip(found[row], (kl, acceptance, cross_entropy), strict=True):
            assert measured.item() == pytest.approx(sum(values) / len(values), rel=1e-4)


def small_pair(tokenizer):
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=80)
    return tiny(0, **sizes), tiny(1, **sizes)


def test_evaluation_is_seeded_and_batched_and_leaves_other_generators_alone(tokenizer, monkeypatch):
    pair, problems, compared = small_pair(tokenizer), first_problems("test", 5, seed=0), []
    drift = lambda *words: compared.append(len(words[2].prompts)) or drift_and_legibility(*words)
    monkeypatch.setattr("evaluate.drift_and_legibility", drift)
    state, how = torch.get_rng_state(), dict(samples=3, max_new_tokens=10)
    first, answers = evaluate(*pair, tokenizer, problems, Sampling(**how))
    assert evaluate(*pair, tokenizer, problems, Sampling(**how))[0] == first
    parts, same = evaluate(*pair, tokenizer, problems, Sampling(**how, batch_size=4))
    assert torch.equal(state, torch.get_rng_state()) and compared == [15, 15, 4, 4, 4, 3]
    assert answers["solo"].problems == [p for p in problems for _ in range(3)]
    for name in answers:
        assert answers[name].texts == same[name].texts and answers[name].right == same[name].right
    for name in first:
        assert parts[name] == pytest.approx(first[name], rel=1e-5)
    assert list(first) == [*answers, "drift", "legibility", "jargon_rate", "response_length"]
    assert set(first["solo"]) == {"pass@1", "pass@2"}
    assert (
        set(first["handoff"])
        == set(first["handoff_word"])
        == {"pass@1", "pass@2", "junior_fraction"}
    )


def test_what_is_asked_for_is_what_is_sampled(tokenizer, monkeypatch):
    calls, problems = [], first_problems("test", 2, 0)

    def recorded(senior, junior, prompts, handoff, **arguments):
        calls.append((handoff, junior, prompts, arguments))
        return generate(senior, junior, prompts, handoff, **arguments)

    monkeypatch.setattr("evaluate.generate", recorded)
    template = "{question} Go."
    how = Sampling(
        1,
        temperature=0.6,
        top_p=0.8,
        top_k=20,
        max_new_tokens=9,
        max_turns=5,
        prompt_template=template,
    )
    _, answers = evaluate(*small_pair(tokenizer), tokenizer, problems, how)
    assert [handoff.schedule for handoff, *_ in calls] == ["solo", "step", "word"]
    assert list(answers) == ["solo", "handoff", "handoff_word"]
    for handoff, partner, prompts, arguments in calls:
        assert (partner is None) == (handoff.schedule == "solo") and (
            handoff.p_senior,
            handoff.max_gap,
        ) == (0.5, 32)
        assert [
            arguments[name] for name in ("temperature", "top_p", "top_k", "max_new_tokens")
        ] == [0.6, 0.8, 20, 9]
        assert arguments["max_turns"] == (5 if handoff.schedule == "step" else None)
        assert prompts == [tokenizer.encode(f"{problem.question} Go.\n\n") for problem in problems]


def test_a_large_vocabulary_is_compared_a_few_tokens_at_a_time(tokenizer, monkeypatch):
    pair, read = small_pair(tokenizer), []
    arguments = (
        *pair,
        tokenizer,
        first_problems("test", 4, 0),
        Sampling(samples=3, max_new_tokens=10),
    )
    whole, answers = evaluate(*arguments)
    tokens = int(answers["solo"].rollout.mask.sum())
    counted = lambda logprobs, others: read.append(len(logprobs)) or kl_exact(logprobs, others)
    monkeypatch.setattr("evaluate.kl_exact", counted)
    monkeypatch.setattr("rollout.MAX_LOGITS", 20 * tokenizer.vocab_size + 1)
    parts, _ = evaluate(*arguments)
    for name in ("drift", "legibility"):
        assert parts[name] == pytest.approx(whole[name], abs=1e-5)
    assert max(read) == 20 and sum(read) == tokens


def judged_by_their_text(texts, answers) -> list[bool]:
    """Verdicts on what random models write, which are never right; every letter counts."""
    return [
        sum((text + answer).encode()) % 3 == 0 for text, answer in zip(texts, answers, strict=True)
    ]


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_the_handoff_curve_is_that_of_a_loop_over_single_responses(
    tokenizer, monkeypatch, temperature
):
    """With a number a row and token, of the rows by how much the senior wrote, whatever else is read with them."""
    monkeypatch.setattr("evaluate.verify_batch", judged_by_their_text)
    senior, junior = small_pair(tokenizer)
    for model in (senior, junior):
        model.embedding.weight.data[tokenizer.end] *= 2.5  # so that some responses end
    problems = first_problems("test", 12, 0)
    how = Sampling(samples=1, max_new_tokens=17, temperature=temperature, batch_size=5)
    _, answers = evaluate(senior, junior, tokenizer, problems, how)
    written_at_a_time = []
    recorded = lambda *words, **named: (
        written_at_a_time.append(len(words[2])) or generate(*words, **named)
    )
    monkeypatch.setattr("evaluate.generate", recorded)
    found = handoff_curve(junior, answers["solo"], tokenizer, how)
    assert (
        max(written_at_a_time) == 5 and len(written_at_a_time) == 10 * 3
    )  # not one for each length
    solo = answers["solo"].rollout
    whole = [tokens[mask].tolist() for tokens, mask in zip(solo.tokens, solo.mask, strict=True)]
    lengths, cut_short = set(map(len, whole)), 0
    for tenth in range(11):
        cuts = [math.floor(Fraction(tenth, 10) * len(tokens)) for tokens in whole]
        order = sorted(range(12), key=lambda row: (cuts[row], row))
        generator = seeded(how.seed, "handoff curve", tenth)
        numbers = torch.stack(
            [torch.rand(12, generator=generator) for _ in range(17)]
        )  # (token, row)
        texts = []
        for row, problem in enumerate(problems):
            written = whole[row][: cuts[row]]
            while tenth < 10 and len(written) < 17 and tokenizer.end not in written:
                with torch.no_grad():
                    logits = junior(torch.tensor([tokenizer.prompt(problem.question) + written]))[
                        :, -1
                    ]
                number = numbers[len(written) - cuts[row], order.index(row)]
                written.append(int(sample(to_logprobs(logits, temperature), number[None])))
            cut_short += tokenizer.end not in written and cuts[row] > min(cuts)
            texts.append(tokenizer.decode(written))
        right = judged_by_their_text(texts, [problem.answer for problem in problems])
        assert found[str(tenth / 10)] == sum(right) / 12, tenth
    assert len(lengths) > 2 and max(lengths) == 17 and len(set(found.values())) > 3 and cut_short


def test_the_handoff_curve_begins_a_new_part_where_the_context_ends(tokenizer, monkeypatch):
    """A long prompt of which the senior wrote much, and a short one of which it wrote nothing, don't fit together."""
    monkeypatch.setattr("evaluate.verify_batch", judged_by_their_text)
    senior, _ = small_pair(tokenizer)
    problems, sizes = first_problems("test", 12, 0), []
    longest = max(len(tokenizer.prompt(problem.question)) for problem in problems)
    junior = tiny(1, vocab_size=tokenizer.vocab_size, max_seq_len=longest + 17)
    senior.embedding.weight.data[tokenizer.end] *= 2.5
    how = Sampling(samples=1, max_new_tokens=17)
    _, answers = evaluate(senior, junior, tokenizer, problems, how)
    recorded = lambda *words, **named: sizes.append(len(words[2])) or generate(*words, **named)
    monkeypatch.setattr("evaluate.generate", recorded)
    short = handoff_curve(junior, answers["solo"], tokenizer, how)
    assert sum(sizes) == 120 and 10 < len(sizes) < 60
    wide = tiny(1, vocab_size=tokenizer.vocab_size, max_seq_len=128)
    assert short == handoff_curve(wide, answers["solo"], tokenizer, how)
    assert sizes[-10:] == [12] * 10


def test_the_handoff_curve_begins_with_the_junior_alone_and_ends_with_the_senior_alone(
    tokenizer, monkeypatch
):
    monkeypatch.setattr("evaluate.verify_batch", judged_by_their_text)
    senior, junior = small_pair(tokenizer)
    problems, how = first_problems("test", 8, 0), Sampling(samples=4, max_new_tokens=8)
    measures, answers = evaluate(senior, junior, tokenizer, problems, how)
    found = handoff_curve(junior, answers["solo"], tokenizer, how)
    assert (
        list(found) == [str(i / 10) for i in range(11)]
        and found["1.0"] == measures["solo"]["pass@1"]
    )
    monkeypatch.setattr("evaluate.seeded", lambda seed, *_: seeded(seed, "handoff curve", 0))
    assert found["0.0"] == solo_accuracy(junior, tokenizer, problems, how)[0] != found["1.0"]


def written_by_hand(prompts, texts, tokenizer, authors) -> Rollout:
    ids = [[*tokenizer.encode(text), tokenizer.end] for text in texts]
    T = max(map(len, ids))
    tokens = torch.tensor([row + [tokenizer.pad] * (T - len(row)) for row in ids])  # (N, T)
    mask = torch.tensor([[t < len(row) for t in range(T)] for row in ids])  # (N, T)
    nothing = torch.zeros(tokens.shape)
    return Rollout(prompts, tokens, mask & (torch.arange(T) % authors == 0), mask, nothing, nothing)


@pytest.mark.parametrize(
    "text, alone, said", [("a\nb", 10, 1), ("a\n\nb", 2, 1), ("a\n\nb", 1, 0), ("a\n", 10, 0)]
)
def test_a_handoff_without_the_junior_is_named(tokenizer, monkeypatch, capsys, text, alone, said):
    """It measures the senior alone: a model that writes its steps as lines never hands over. One line is one step."""

    def answering(senior, junior, prompts, *_, **__):
        rollout = written_by_hand(prompts, [text] * 10, tokenizer, authors=2)
        rollout.authorship[:alone] = rollout.mask[:alone]
        return rollout

    monkeypatch.setattr("evaluate.generate", answering)
    evaluate(*small_pair(tokenizer), tokenizer, first_problems("test", 10, 0), Sampling(samples=1))
    shown = capsys.readouterr().err
    assert (
        shown.count("warning")
        == shown.count(f"alone in {alone} of 10 responses of several lines")
        == said
    )


def test_right_answers_and_the_juniors_tokens_are_counted(tokenizer, monkeypatch):
    """A model can't be made right by hand, but responses can: half of the samples of each problem are."""
    problems = first_problems("test", 4, 0)

    def answering(senior, junior, prompts, handoff, **_):
        wrong = "no" if handoff.schedule == "solo" else "zub 1 2 ~ 3;"
        texts = [
            rf"\boxed{{{p.answer}}}" if i % 2 == 0 else wrong for p in problems for i in range(2)
        ]
        return written_by_hand(
            prompts, texts, tokenizer, authors=1 if handoff.schedule == "solo" else 3
        )

    monkeypatch.setattr("evaluate.generate", answering)
    measures, answers = evaluate(*small_pair(tokenizer), tokenizer, problems, Sampling(samples=2))
    assert measures["solo"] == {"pass@1": 0.5, "pass@2": 1.0}
    lengths = [len(tokenizer.encode(text)) + 1 for text in answers["handoff"].texts]
    by_junior = sum(t % 3 != 0 for length in lengths for t in range(length)) / sum(lengths)
    assert measures["handoff"] == measures["solo"] | {"junior_fraction": pytest.approx(by_junior)}
    assert measures["jargon_rate"] == 0  # of the senior's solo responses
    shown = show_answers(answers, tokenizer, color=False)
    assert shown.count("  solo, right\n") == shown.count("  handoff, right\n") == 1
    assert (
        shown.count(f"wrong, the answer is {problems[0].answer}\n    {problems[0].question}\n") == 2
    )
    assert "⟦ub⟧" in shown or "⟦" in shown.partition("handoff, wrong")[2]
