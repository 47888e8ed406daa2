"""The accuracy study: layers train, runs resume, what is trained is what is timed, and a small run ends to end."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mnist1d")
pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")

from benchmarks.studies.accuracy import __main__ as study  # noqa: E402
from benchmarks.studies.accuracy import arms, made, timing, training  # noqa: E402
from benchmarks.studies.accuracy.arms import ARMS, Arm  # noqa: E402
from fffbench import sources  # noqa: E402
from fffbench.results.accuracy import Made, read_layer_times, read_trained  # noqa: E402

SMALL = ("--steps", "12", "--seeds", "2", "--samples", "500")
CONDITIONAL = [arm for arm in ARMS if arm.form in ("tree", "leaf", "moe")]
BY_ID = {arm.id: arm for arm in ARMS}


def test_names_of_layers_are_their_own_and_all_have_about_as_many_neurons():
    assert len(BY_ID) == len(ARMS)
    assert {480 <= arm.n <= 512 for arm in CONDITIONAL} == {True}


@pytest.mark.parametrize("arm", [arm for arm in CONDITIONAL if arm.form != "moe"], ids=lambda arm: arm.id)
def test_what_is_tested_computes_what_the_operators_do(arm):
    p = {name: t.detach() for name, t in arms.initial(arm, [3, 4]).items()}
    u = torch.randn(2, 40, arms.WIDTH)
    y, _ = arms._layer(arm, p, u, 1.0, train=False)
    for member in range(2):
        [way] = timing._ways(arm, {name: t[member].contiguous() for name, t in p.items()})
        with torch.inference_mode():
            assert torch.allclose(way(u[member]), y[member], atol=1e-5)


@pytest.mark.parametrize("recipe", ["published", "better"])
@pytest.mark.parametrize("form", ["tree", "leaf"])
def test_soft_shares_of_every_level_add_up_to_one_and_harden_into_one_path(form, recipe):
    arm = next(arm for arm in CONDITIONAL if (arm.form, arm.recipe, arm.trees) == (form, recipe, 1))
    for soft in (True, False):
        for share in arms.reach(torch.randn(2, 5, 2 ** (arm.levels + 1) - 1), arm, soft=soft)[0]:
            assert torch.allclose(share.sum(-1), torch.ones(2, 5, 1), atol=1e-6)
            assert soft or set(share.unique().tolist()) <= {0.0, 1.0}


def test_routers_learn_while_turns_are_soft_and_stay_when_they_are_hard():
    arm = BY_ID["leaf-4l32-better"]
    for progress, learns in ((0.1, True), (0.9, False)):
        p = arms.initial(arm, [0])
        logits, extra = arms.forward(arm, p, torch.randn(1, 9, arms.INPUTS), progress, train=True)
        (logits.sum() + extra.sum()).backward()
        assert (p["router"].grad is not None) == learns
        assert p["w1"].grad is not None


def test_members_learn_as_if_each_were_alone():
    data = training.generate((0, 1), 500)
    arm = BY_ID["tree-8x6-published"]
    both = training.train(arm, data[0], [0, 1], [1e-2, 1e-3], 5, 32)
    alone = training.train(arm, data[0].of([1]), [1], [1e-3], 5, 32)
    assert torch.allclose(both["w1"][1], alone["w1"][0], atol=1e-6)


def test_the_optimizer_is_torchs_adamw():
    p = {"w": torch.randn(2, 3, 4).requires_grad_()}
    theirs = [p["w"][i].detach().clone().requires_grad_() for i in range(2)]
    kind = {"betas": training.BETAS, "eps": training.EPSILON, "weight_decay": training.DECAY}
    optimizers = [torch.optim.AdamW([w], lr=rate, **kind) for w, rate in zip(theirs, (1e-2, 1e-3), strict=True)]
    ours = training.AdamW(p, torch.tensor([1e-2, 1e-3]))
    for _ in range(4):
        gradient = torch.randn(2, 3, 4)
        p["w"].grad = gradient.clone()
        ours(1.0)
        for w, optimizer, own in zip(theirs, optimizers, gradient, strict=True):
            w.grad = own.clone()
            optimizer.step()
    assert torch.allclose(p["w"], torch.stack(theirs), atol=1e-6)


def test_no_test_sample_is_trained_or_tuned_with():
    train, validation, test = training.generate((5,), 500)
    rows = [{tuple(row) for row in part.x[0].tolist()} for part in (train, validation, test)]
    assert [len(part) for part in rows] == [320, 80, 100]
    assert not rows[0] & rows[1]
    assert not (rows[0] | rows[1]) & rows[2]


def test_a_layer_learns_more_than_chance():
    data = training.generate((0,), 1000)
    p = training.train(BY_ID["dense-32"], data[0], [0], [1e-2], 60, 64)
    assert training.accuracy(BY_ID["dense-32"], p, data[2])[0] > 0.2


def test_a_small_study_is_trained_continued_timed_and_read(tmp_path, capsys):
    names = "none,dense-16,tree-1x9-published,leaf-4l32-published,moe-16x32-top1"
    results = ("--results", str(tmp_path))
    study.main([*results, *SMALL, "--arms", "none,dense-16"])
    first = (tmp_path / "accuracy/mnist1d/dense-16.json").read_text()
    capsys.readouterr()
    study.main([*results, *SMALL, "--arms", names])
    assert "dense-16" not in capsys.readouterr().out  # it was there
    assert (tmp_path / "accuracy/mnist1d/dense-16.json").read_text() == first
    study.main([*results, "--steps", "13", *SMALL[2:], "--arms", "none"])
    assert "none: rate" in capsys.readouterr().out  # other settings

    found, refused = read_trained(tmp_path)
    assert not refused
    assert sorted(one.id for one in found) == sorted(names.split(","))
    assert {len(one.test) for one in found} == {2}
    head = sources.current()
    assert {one.made.commit for one in found} == {head.commit[: sources.SHOWN_DIGITS]}
    assert all(abs((datetime.now(UTC) - datetime.fromisoformat(one.made.date)).total_seconds()) < 600 for one in found)

    study.main([*results, "--routing", str(tmp_path / "routing.npz")])
    with np.load(tmp_path / "routing.npz") as kept:
        assert kept["w1"].shape == (arms.WIDTH, 511)
        assert set(kept.files) == {"w1", "b1", "embed", "embed_bias", "samples", "scale"}

    job = {"arms": names.split(","), "threads": 1, "seconds": 0.002, "process": 0}
    begin = [sys.executable, "-P", "-c", timing.BEGIN, str(timing.ROOT), timing.__name__]
    command = [*begin, json.dumps(job), str(tmp_path / "accuracy/mnist1d")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    times = json.loads(done.stdout)
    assert {(name, batch) for name, batch, _ in times} == {(n, b) for n in names.split(",")[1:] for b in timing.BATCHES}
    assert all(seconds > 0 for _, _, seconds in times)


def test_a_changed_study_is_a_changed_source_though_the_package_is_clean(tmp_path, monkeypatch):
    clean = sources.Sources("a" * 40, dirty=False, shipped="", compiled="")
    monkeypatch.setattr(made.provenance, "current", lambda: clean)
    monkeypatch.setattr(made, "ROOT", tmp_path)
    study_of = tmp_path / "benchmarks/studies/accuracy"
    study_of.mkdir(parents=True)
    (study_of / "arms.py").write_text("one = 1\n")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "one")):
        subprocess.run([*git, *command], check=True)
    assert made.made()["dirty"] is False
    assert Made.model_validate(made.made()).sources == "commit aaaaaaaaaa, clean"
    (study_of / "arms.py").write_text("one = 2\n")
    assert made.made()["dirty"] is True


def test_times_are_written_with_when_and_from_what(tmp_path, monkeypatch):
    told = '[["dense-16", 1, 1e-5]]'
    run = lambda *_, **__: SimpleNamespace(stdout=told)  # noqa: E731
    monkeypatch.setattr(timing, "subprocess", SimpleNamespace(run=run, PIPE=-1))
    monkeypatch.setattr(timing.lock, "machine", lambda _: nullcontext())
    monkeypatch.setattr(timing.environment, "clean", lambda: None)
    monkeypatch.setattr(timing, "made", lambda: {"date": "2026-11-27T22:54:51Z", "commit": "abcdef0123", "dirty": True})
    timing.measure([BY_ID["dense-16"]], tmp_path / "mnist1d", tmp_path / "layer-times", 2, 0.001)
    found, refused = read_layer_times(tmp_path)
    assert not refused
    assert found[0].made.sources == "commit abcdef0123, dirty"


def test_times_are_read_where_their_machine_is(tmp_path):
    stored = {"format": 1, "machine": "m", "data": "mnist1d", "times": [{"id": "dense-9", "batch": 1, "threads": 1}]}
    stored["times"][0]["processes"] = [1e-5, 2e-5]
    for folder in ("m", "other"):
        (tmp_path / "layer-times" / folder).mkdir(parents=True)
        (tmp_path / "layer-times" / folder / "mnist1d.json").write_text(json.dumps(stored))
    found, refused = read_layer_times(tmp_path)
    assert [one.machine for one in found] == ["m"]
    assert "another machine's folder" in refused[0].reason


def test_a_layer_that_is_no_more_what_was_trained_is_not_timed(tmp_path, monkeypatch):
    right = timing._ways
    monkeypatch.setattr(timing, "_ways", lambda arm, p: [lambda u: 1.01 * right(arm, p)[0](u)])
    study.main(["--results", str(tmp_path), *SMALL, "--arms", "tree-1x9-better"])
    job = {"arms": ["tree-1x9-better"], "threads": 1, "seconds": 0.001, "process": 0}
    with pytest.raises(SystemExit, match=r"differs from the formula by 0\.01"):
        timing._child(job, tmp_path / "accuracy/mnist1d")


def test_an_unknown_layer_is_named(capsys):
    with pytest.raises(SystemExit):
        study.main(["--arms", "dense-7"])
    assert "dense-7" in capsys.readouterr().err
    assert Arm("none").used == 0
