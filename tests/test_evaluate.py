"""The measures against enumeration and dense float64 loops."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from conftest import tiny

from compare import table
from data.problems import take
from evaluate import Sampling, drift_and_legibility, evaluate, handoff_curve, pass_at_k, seeded, solo_accuracy
from rollout import Rollout, draw, generate, log_probs, response_logits
from tandem import Handoff


def test_pass_at_k_is_what_enumeration_says():
    for n in range(1, 8):
        for c in range(n + 1):
            right = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                draws = list(itertools.combinations(right, k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_drift_and_legibility_are_those_of_a_dense_computation():
    senior, junior = tiny(0), tiny(1, n_layers=1)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [4]]
    generator = torch.Generator().manual_seed(0)
    arguments = dict(end=35, pad=36, max_new_tokens=15, temperature=0.7, top_k=5, generator=generator)
    rollout = generate(senior, None, prompts, Handoff("solo"), **arguments)
    found = drift_and_legibility(senior, junior, rollout)
    senior, junior = senior.double(), junior.double()
    for row, prompt in enumerate(prompts):
        text, kl, acceptance, cross_entropy = list(prompt), [], [], []
        for token in rollout.tokens[row, : int(rollout.mask[row].sum())].tolist():
            with torch.no_grad():  # temperature 1 and the whole vocabulary, whatever was sampled with
                p = senior(torch.tensor([text]))[0, -1].softmax(dim=0).tolist()
                q = junior(torch.tensor([text]))[0, -1].softmax(dim=0).tolist()
            kl.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            acceptance.append(sum(map(min, p, q)))
            cross_entropy.append(-math.log(q[token]))
            text.append(token)
        for name, values in (("kl", kl), ("acceptance", acceptance), ("cross_entropy", cross_entropy)):
            assert found[name][row].item() == pytest.approx(sum(values) / len(values), rel=1e-4)


def small_pair(tokenizer):
    sizes = dict(vocab_size=tokenizer.vocab_size, max_seq_len=80)
    return tiny(0, **sizes), tiny(1, **sizes)


def test_evaluation_is_seeded_batched_and_leaves_other_generators_alone(tokenizer):
    senior, junior = small_pair(tokenizer)
    problems = take("test", 5, seed=0)
    state = torch.get_rng_state()
    how = Sampling(samples=3, max_new_tokens=10)
    first, responses = evaluate(senior, junior, problems, tokenizer, how)
    again, _ = evaluate(senior, junior, problems, tokenizer, how)
    assert first == again and torch.equal(state, torch.get_rng_state())
    assert [r.problem for r in responses["solo"]] == [p for p in problems for _ in range(3)]
    assert set(first) == {"solo", "handoff", "handoff_word", "drift", "legibility", "jargon_rate", "response_length"}
    assert set(first["solo"]) == {"pass@1", "pass@2"}


def test_batches_of_any_size_measure_the_same(tokenizer, monkeypatch):
    written, compared = [], []
    generated = lambda *words, **named: written.append(len(words[2])) or generate(*words, **named)
    drift = lambda *words: compared.append(len(words[2].prompts)) or drift_and_legibility(*words)
    monkeypatch.setattr("rollout.generate", generated)
    monkeypatch.setattr("evaluate.drift_and_legibility", drift)
    senior, junior = small_pair(tokenizer)
    how = dict(samples=2, max_new_tokens=10)
    whole, responses = evaluate(senior, junior, take("test", 5, seed=0), tokenizer, Sampling(**how))
    parts, same = evaluate(senior, junior, take("test", 5, seed=0), tokenizer, Sampling(**how, batch_size=3))
    assert written == [10] * 3 + [3, 3, 3, 1] * 3 and compared == [10, 3, 3, 3, 1]
    for name in responses:
        assert [(r.problem, r.row, r.text) for r in responses[name]] == [(r.problem, r.row, r.text) for r in same[name]]
    assert whole["drift"] == pytest.approx(parts["drift"], rel=1e-5)
    assert whole["response_length"] == parts["response_length"]


def test_what_is_asked_for_is_what_is_sampled(tokenizer, monkeypatch):
    calls = []

    def recorded(senior, junior, prompts, handoff, **arguments):
        calls.append((handoff, junior, arguments))
        return generate(senior, junior, prompts, handoff, **arguments)

    monkeypatch.setattr("rollout.generate", recorded)
    senior, junior = small_pair(tokenizer)
    how = Sampling(samples=1, temperature=0.6, top_p=0.8, top_k=20, max_new_tokens=9, max_turns=5)
    _, responses = evaluate(senior, junior, take("test", 2, 0), tokenizer, how)
    assert [handoff.schedule for handoff, _, _ in calls] == ["solo", "step", "word"]
    assert list(responses) == ["solo", "handoff", "handoff_word"]
    for handoff, partner, arguments in calls:
        assert (partner is None) == (handoff.schedule == "solo") and (handoff.p_senior, handoff.max_gap) == (0.5, 32)
        assert [arguments[name] for name in ("temperature", "top_p", "top_k", "max_new_tokens")] == [0.6, 0.8, 20, 9]
        assert arguments["max_turns"] == (5 if handoff.schedule == "step" else None)


def test_models_are_compared_on_as_many_rows_at_a_time_as_fit(tokenizer, monkeypatch):
    pair, read = small_pair(tokenizer), []
    arguments = (*pair, take("test", 4, 0), tokenizer, Sampling(samples=3, max_new_tokens=10))
    whole, responses = evaluate(*arguments)
    T = responses["solo"][0].rollout.mask.shape[1]
    monkeypatch.setattr("evaluate.response_logits", lambda m, r, s: read.append(len(s)) or response_logits(m, r, s))
    for most in (1, 5 * T * tokenizer.vocab_size + 1):
        monkeypatch.setattr("evaluate.LOGITS", most)
        parts, _ = evaluate(*arguments)
        for name in ("drift", "legibility"):
            assert parts[name] == pytest.approx(whole[name], abs=1e-5)
    assert read == [1] * 24 + [5, 5, 5, 5, 2, 2]


def test_a_model_measured_against_itself_has_not_drifted(tokenizer):
    senior, _ = small_pair(tokenizer)
    measures, _ = evaluate(senior, senior, take("test", 4, 0), tokenizer, Sampling(samples=1, max_new_tokens=10))
    assert measures["drift"]["kl"] == pytest.approx(0, abs=1e-6)
    assert measures["drift"]["acceptance"] == pytest.approx(1, abs=1e-5)


def judged_by_their_text(texts, answers) -> list[bool]:
    """Verdicts on what random models write, which are never right; every letter counts."""
    return [sum((text + answer).encode()) % 3 == 0 for text, answer in zip(texts, answers, strict=True)]


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_the_handoff_curve_is_that_of_a_loop_over_single_responses(tokenizer, monkeypatch, temperature):
    """With a number a row and token, of the rows by how much the senior wrote, whatever else is read with them."""
    monkeypatch.setattr("evaluate.reward.verify_batch", judged_by_their_text)
    written_at_a_time = []
    recorded = lambda *words, **named: written_at_a_time.append(len(words[2])) or generate(*words, **named)
    monkeypatch.setattr("evaluate.generate", recorded)
    senior, junior = small_pair(tokenizer)
    for model in (senior, junior):
        model.embedding.weight.data[tokenizer.end] *= 2.5  # so that some responses end
    problems = take("test", 12, 0)
    how = Sampling(samples=1, max_new_tokens=17, temperature=temperature, batch_size=5)
    _, responses = evaluate(senior, junior, problems, tokenizer, how)
    found = handoff_curve(junior, responses["solo"], tokenizer, how)
    assert max(written_at_a_time) == 5 and len(written_at_a_time) == 10 * 3  # not one for each length
    whole = [r.rollout.tokens[r.row][r.rollout.mask[r.row]].tolist() for r in responses["solo"]]
    lengths, cut_short = set(map(len, whole)), 0
    for tenth in range(11):
        cuts = [math.floor(Fraction(tenth, 10) * len(tokens)) for tokens in whole]
        order = sorted(range(12), key=lambda row: (cuts[row], row))
        generator = seeded(how.seed, "handoff curve", tenth)
        numbers = torch.stack([torch.rand(12, generator=generator) for _ in range(17)])  # (token, row)
        texts = []
        for row, problem in enumerate(problems):
            written = whole[row][: cuts[row]]
            while tenth < 10 and len(written) < 17 and tokenizer.end not in written:
                with torch.no_grad():
                    logits = junior(torch.tensor([tokenizer.prompt(problem.question) + written]))[:, -1]
                number = numbers[len(written) - cuts[row], order.index(row)]
                written.append(int(draw(log_probs(logits, temperature), number[None])))
            cut_short += tokenizer.end not in written and cuts[row] > min(cuts)
            texts.append(tokenizer.decode(written))
        right = judged_by_their_text(texts, [problem.answer for problem in problems])
        assert found[str(tenth / 10)] == sum(right) / 12, tenth
    assert len(lengths) > 2 and max(lengths) == 17 and len(set(found.values())) > 3 and cut_short


def test_the_handoff_curve_begins_a_new_part_where_the_context_ends(tokenizer, monkeypatch):
    """A long prompt of which the senior wrote much, and a short one of which it wrote nothing, don't fit together."""
    monkeypatch.setattr("evaluate.reward.verify_batch", judged_by_their_text)
    senior, _ = small_pair(tokenizer)
    problems, sizes = take("test", 12, 0), []
    longest = max(len(tokenizer.prompt(problem.question)) for problem in problems)
    junior = tiny(1, vocab_size=tokenizer.vocab_size, max_seq_len=longest + 17)
    senior.embedding.weight.data[tokenizer.end] *= 2.5
    how = Sampling(samples=1, max_new_tokens=17)
    _, responses = evaluate(senior, junior, problems, tokenizer, how)
    recorded = lambda *words, **named: sizes.append(len(words[2])) or generate(*words, **named)
    monkeypatch.setattr("evaluate.generate", recorded)
    short = handoff_curve(junior, responses["solo"], tokenizer, how)
    assert sum(sizes) == 120 and 10 < len(sizes) < 60
    wide = tiny(1, vocab_size=tokenizer.vocab_size, max_seq_len=128)
    assert short == handoff_curve(wide, responses["solo"], tokenizer, how) and len(sizes[:]) > 10
    assert sizes[-10:] == [12] * 10


def test_the_handoff_curve_begins_with_the_junior_alone_and_ends_with_the_senior_alone(tokenizer, monkeypatch):
    monkeypatch.setattr("evaluate.reward.verify_batch", judged_by_their_text)
    senior, junior = small_pair(tokenizer)
    problems, how = take("test", 8, 0), Sampling(samples=4, max_new_tokens=8)
    measures, responses = evaluate(senior, junior, problems, tokenizer, how)
    found = handoff_curve(junior, responses["solo"], tokenizer, how)
    assert list(found) == [str(i / 10) for i in range(11)] and found["1.0"] == measures["solo"]["pass@1"]
    monkeypatch.setattr("evaluate.seeded", lambda seed, *_: seeded(seed, "handoff curve", 0))
    assert found["0.0"] == solo_accuracy(junior, problems, tokenizer, how)[0] != found["1.0"]


def test_right_answers_are_counted(tokenizer, monkeypatch):
    """A model can't be made right by hand, but responses can: half of the samples of each problem are."""
    problems = take("test", 4, 0)
    senior, junior = small_pair(tokenizer)

    def answering(senior, junior, prompts, handoff, **_):
        wrong = "no" if handoff.schedule == "solo" else "zub 1 2 ~ 3;"
        texts = [rf"\boxed{{{p.answer}}}" if i % 2 == 0 else wrong for p in problems for i in range(2)]
        ids = [[*tokenizer.encode(text), tokenizer.end] for text in texts]
        longest = max(map(len, ids))
        tokens = torch.tensor([row + [tokenizer.pad] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[i < len(row) for i in range(longest)] for row in ids])
        return Rollout(prompts, tokens, mask, mask, torch.zeros(tokens.shape), torch.zeros(tokens.shape))

    monkeypatch.setattr("rollout.generate", answering)
    measures, _ = evaluate(senior, junior, problems, tokenizer, Sampling(samples=2))
    assert measures["solo"] == measures["handoff"] == {"pass@1": 0.5, "pass@2": 1.0}
    assert measures["jargon_rate"] == 0  # of the senior's solo responses


def test_generators_for_different_purposes_differ():
    draws = [torch.rand(1, generator=seeded(*parts)).item() for parts in ((0, 1), (1, 0), (0, "1", "a"), (0, 1, "b"))]
    assert len(set(draws)) == 4
    assert torch.rand(1, generator=seeded(0, 1)).item() == draws[0]


def test_the_table_has_a_row_a_measure_and_a_dash_for_what_is_unknown():
    numbers = {"pass@1": 0.5}
    measures = {"solo": numbers, "handoff": numbers, "handoff_word": numbers, "drift": {"kl": 12.3456, "acceptance": 1}}
    measures |= {"legibility": {"cross_entropy": 0.25}, "jargon_rate": None, "response_length": 40}
    lines = table({"before": [measures], "a run": [measures]}).splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == 10
    assert "12.346" in lines[5] and lines[8].rstrip(" |").endswith("-")
