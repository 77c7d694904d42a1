"""Tandem RL on one page: the default run of train.py, without its options, its files and its speed.

    python minimal.py

A trainable senior and a frozen, weaker junior write every solution together. The senior begins in
a private jargon (`zub 8 19 ~ 27;`), which the junior never learnt. It ends in words
(`19 + 8 = 27.`) that its partner can carry on from.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from data.problems import Problem, end_with_pipe, first_problems, jargon_rate
from data.tokenizer import load_tokenizer
from engine import prefill
from model import GPT, load_model
from reward import verify

PROBLEMS = 16  # a step
G = 8  # rollouts of each problem: a group
T = 64  # the most tokens of a rollout
P_SENIOR = 0.5  # the probability that a coin picks the senior
MAX_GAP = 32  # the most tokens without a coin

tokenizer = load_tokenizer()
new_word = tokenizer.boundary()  # (V,) bool: boundary tokens, which begin with a space
step_end = tokenizer.delimiter()  # (V,) bool: tokens with a blank line, the end of a step


def flip_coins(author: Tensor, gap: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """Who writes the token after this one (True: the senior), and the new gap.  (N,) each

    A coin falls after every boundary token: the word's first token is its author's, the rest is
    whose the coin says. It also falls after MAX_GAP tokens without one. `gap` counts them.
    """
    gap = gap + 1  # (N,)
    flip = new_word[token] | (gap >= MAX_GAP)  # (N,)
    coin = torch.rand(len(token)) < P_SENIOR  # (N,)
    author = torch.where(flip, coin, author)
    return author, gap.masked_fill(flip, 0)


@torch.no_grad()
def co_write(
    senior: GPT,
    junior: GPT,
    prompts: list[list[int]],
    temperature: float = 1.0,
    turns: bool = False,  # no coins: a reasoning step each, to measure handoff
) -> tuple[Tensor, Tensor, Tensor]:
    """The two write N responses together. Three tensors, (N, T) each:

    tokens; authorship, True where the senior wrote; mask, True up to and including the end token.
    """
    N = len(prompts)
    tokens = torch.full((N, T), tokenizer.pad)
    authorship = torch.zeros(N, T, dtype=torch.bool)
    mask = torch.zeros(N, T, dtype=torch.bool)
    if turns:
        author = torch.ones(N, dtype=torch.bool)  # the senior first
    else:
        author = torch.rand(N) < P_SENIOR  # the first coin
    gap = torch.zeros(N, dtype=torch.long)
    done = torch.zeros(N, dtype=torch.bool)
    models = [senior, junior]
    caches, logits = prefill(models, prompts, T, tokenizer.pad)
    for t in range(T):
        # The author's distribution gives the token.
        by_senior, by_junior = logits
        chosen = torch.where(author[:, None], by_senior, by_junior)  # (N, V)
        probabilities = (chosen / temperature).softmax(dim=-1)
        token = torch.multinomial(probabilities, 1)[:, 0]  # (N,)
        tokens[:, t] = token
        authorship[:, t] = author & ~done
        mask[:, t] = ~done
        done = done | (token == tokenizer.end)
        if done.all() or t + 1 == T:
            break
        if turns:
            author = author ^ step_end[token]
        else:
            author, gap = flip_coins(author, gap, token)
        # Both models read the token, whoever wrote it.
        logits = []
        for model, cache in zip(models, caches, strict=True):
            logits.append(model(token[:, None], cache)[:, 0])  # (N, V)
    return tokens, authorship, mask


def team_reward(tokens: Tensor, mask: Tensor, problems: list[Problem]) -> tuple[list[str], Tensor]:
    """The texts, and their rewards (N,): 1 if the final answer is right, whoever wrote it."""
    texts = []
    rewards = []
    for row, counts, problem in zip(tokens, mask, problems, strict=True):
        text = tokenizer.decode(row[counts].tolist())
        texts.append(text)
        rewards.append(float(verify(text, problem.answer)))
    return texts, torch.tensor(rewards)


def gated_loss(
    senior: GPT,
    prompts: list[list[int]],
    tokens: Tensor,  # (N, T)
    authorship: Tensor,  # (N, T)
    A: Tensor,  # (N,)
) -> Tensor:
    """Σ m·(-A log π_senior) / Σ m. The gate m is 1 at the tokens that the senior wrote, else 0.

    The senior just sampled them, so this gradient needs no ratio.
    """
    texts = []
    for prompt, response in zip(prompts, tokens, strict=True):
        prompt = torch.tensor(prompt)
        texts.append(torch.cat((prompt, response)))
    text = pad_sequence(texts, batch_first=True)  # (N, S), padded on the right
    logprobs = senior(text[:, :-1]).log_softmax(dim=-1)  # (N, S - 1, V)
    following = text[:, 1:, None]  # (N, S - 1, 1)
    logprobs = logprobs.gather(2, following)[:, :, 0]  # (N, S - 1)
    m = torch.zeros_like(logprobs)
    for row, prompt in enumerate(prompts):
        first = len(prompt) - 1  # where the response's first token is predicted
        end = first + tokens.shape[1]
        m[row, first:end] = authorship[row].float()
    loss = -A[:, None] * logprobs  # (N, S - 1)
    return (m * loss).sum() / m.sum()


def handoff_accuracy(senior: GPT, junior: GPT) -> float:
    """The share of 100 test problems × 4 that the two solve, taking turns."""
    problems = first_problems("test", 100, "evaluation") * 4
    prompts = [tokenizer.prompt(problem.question) for problem in problems]
    tokens, _, mask = co_write(senior, junior, prompts, 0.7, turns=True)
    _, rewards = team_reward(tokens, mask, problems)
    return rewards.mean().item()


def main(steps: int = 250) -> list[tuple[float, float]]:
    """Train. Print and return the reward and the jargon rate of every step."""
    torch.manual_seed(0)
    senior = load_model("data/senior.pt")
    junior = load_model("data/junior.pt").requires_grad_(False)  # frozen
    optimizer = torch.optim.AdamW(senior.parameters(), lr=2e-4, weight_decay=0.0)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=9)
    print(f"before: handoff accuracy {handoff_accuracy(senior, junior):.3f}")
    history = []
    for step in range(steps):
        # 1. Problems, G rollouts of each.
        problems = first_problems("train", PROBLEMS, f"0/{step}")  # another seed a step
        problems = [problem for problem in problems for _ in range(G)]  # N
        prompts = [tokenizer.prompt(problem.question) for problem in problems]

        # 2. Co-writing: senior and junior write each response together.
        tokens, authorship, mask = co_write(senior, junior, prompts)

        # 3. Team reward: the two get one reward, for the text's final answer.
        texts, rewards = team_reward(tokens, mask, problems)

        # 4. Advantage: how much better a rollout is than its group's mean.
        groups = rewards.view(PROBLEMS, G)
        A = groups - groups.mean(dim=1, keepdim=True)  # (PROBLEMS, G)

        # 5. Senior gate: only the senior is trained, only on its own tokens.
        loss = gated_loss(senior, prompts, tokens, authorship, A.flatten())

        # 6. A step of AdamW.
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(senior.parameters(), 1.0)
        optimizer.step()
        warm_up.step()

        reward = rewards.mean().item()
        jargon = jargon_rate(texts, "jargon")
        history.append((reward, jargon))
        print(f"step {step:3}: reward {reward:.3f}, jargon {jargon:.3f}", flush=True)
    print(f"after: handoff accuracy {handoff_accuracy(senior, junior):.3f}")
    return history


if __name__ == "__main__":
    end_with_pipe()
    main()
