"""One run: what it records, its streams, early stopping, checkpoints, and that the true labels stay out of
training.
"""

import dataclasses
import gc
import os
from functools import partial

import numpy as np
import pytest
import torch

from lnlib import bounds
from lnlib.data.task import Visible
from lnlib.errors import CheckpointError, InvalidValue, LnlibError
from lnlib.methods import L2RW, LIMIT, CrossEntropy, LossNet
from lnlib.methods.base import Draw
from lnlib.nets import CNN, MLP
from lnlib.training import SGD, Adam, FlipCrop, Member, Run, Runs, fit
from lnlib.training.streams import Streams, sample

SMALL = {"net": MLP(16, 2), "epochs": 3, "batch_size": 32}


def trained(method, task, **options):
    return fit(method, task, **SMALL | options)


def weights(run) -> torch.Tensor:
    return torch.cat([value.flatten() for net in run.nets.values() for value in net.parameters.values()])


def numbers(run) -> list[dict[str, float]]:
    """The records without what the clock says."""
    clock = ("seconds", "evaluation_seconds")
    return [{k: v for k, v in epoch.numbers().items() if k not in clock} for epoch in run.records]


def test_the_record_is_what_the_predictions_say(make_digits_task):
    task = make_digits_task(0.4, train_size=300)
    run = trained(CrossEntropy(), task)
    last = run.records[-1]
    images = task.dataset.normalize(task.dataset.train_images)
    predicted = run.predict(images[task.train.index]).argmax(1)
    given, true = task.train.labels, task.truth.train_labels
    corrupted = given != true
    assert last.train_accuracy == pytest.approx((predicted == given).double().mean().item())
    assert last.clean_accuracy == pytest.approx((predicted == given)[~corrupted].double().mean().item())
    assert last.corrupted_fit == pytest.approx((predicted == given)[corrupted].double().mean().item())
    assert last.corrupted_recovered == pytest.approx((predicted == true)[corrupted].double().mean().item())
    logits = run.predict(images[task.validation.index])
    assert last.validation_accuracy == pytest.approx(
        (logits.argmax(1) == task.validation.labels).double().mean().item()
    )
    clean = (logits.argmax(1) == task.truth.validation_labels).double().mean().item()
    assert last.validation_clean_accuracy == pytest.approx(clean)
    expected = torch.nn.functional.cross_entropy(logits, task.validation.labels).item()
    assert last.validation_loss == pytest.approx(expected, rel=1e-5)
    logits = run.predict(task.dataset.normalize(task.dataset.test_images)[task.test.index])
    assert last.test_accuracy == pytest.approx((logits.argmax(1) == task.test.labels).double().mean().item())
    bits = bounds.rate_distortion(task.truth.matrix, 1 - last.train_accuracy, task.truth.prior)
    assert float(last.memorized.bits) == pytest.approx(float(bits))
    frame = run.history
    assert list(frame["epoch"]) == [1, 2, 3]
    assert frame["memorized_bits"].iloc[-1] == pytest.approx(float(bits))
    assert (frame["memorized_bits_low"] <= frame["memorized_bits"]).all()
    assert (frame["memorized_bits"] <= frame["memorized_bits_high"]).all()


def test_the_same_seed_gives_the_same_numbers_bit_for_bit_and_another_seed_others(make_digits_task):
    task = make_digits_task(0.5, train_size=200)
    net = MLP(16, 2, dropout=0.3)
    method = LIMIT(sampling=True)
    first, second, other = (trained(method, task, net=net, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(weights(first), weights(second))
    assert numbers(first) == numbers(second)
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.rounding
@pytest.mark.parametrize("stop_after", [1, 2])
def test_resuming_equals_never_having_stopped(make_digits_task, tmp_path, stop_after):
    task = make_digits_task(0.5, train_size=200)
    options = SMALL | {"net": MLP(16, 2, dropout=0.3), "optimizer": SGD(0.05, milestones=(1,)), "seed": 3}
    options["augment"] = FlipCrop(1)
    whole = fit(LIMIT(sampling=True), task, **options)
    half = Run(LIMIT(sampling=True), task, **options)
    for epoch in half:
        if epoch.epoch == stop_after:
            half.save(tmp_path / "run.pt")
            break
    rest = Run(LIMIT(sampling=True), task, **options).load(tmp_path / "run.pt").train()
    assert torch.equal(weights(whole), weights(rest))
    assert numbers(whole) == numbers(rest)
    half.train()  # breaking out leaves a run that can go on
    assert torch.equal(weights(whole), weights(half))


def test_checkpoints_that_are_missing_damaged_or_of_another_spec_are_refused(make_digits_task, tmp_path):
    task = make_digits_task(0.5, train_size=100)
    run = trained(CrossEntropy(), task)
    path = tmp_path / "run.pt"
    run.save(path)
    whole = path.read_bytes()
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        run.load(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="belongs to another run"):
        Run(CrossEntropy(), task, **SMALL | {"seed": 1}).load(path)
    with pytest.raises(CheckpointError, match="belongs to another run"):
        Run(CrossEntropy(), make_digits_task(0.6, train_size=100), **SMALL).load(path)
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint", b"." * 30, whole[:-200] + bytes(200)):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is damaged"):
            run.load(path)


def test_a_failed_write_leaves_the_old_checkpoint_whole(make_digits_task, tmp_path, monkeypatch):
    run = trained(CrossEntropy(), make_digits_task(0.5, train_size=100))
    path = tmp_path / "run.pt"
    run.save(path)
    before = path.read_bytes()

    def full_disk(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(LnlibError, match="No space left on device; free some space"):
        run.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(LnlibError, match="could not write"):
        run.save(tmp_path / "file" / "run.pt")


def test_checkpoints_hold_nothing_but_tensors_and_plain_values(make_digits_task, tmp_path):
    run = trained(LIMIT(), make_digits_task(0.5, train_size=100), patience=2)
    run.save(tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    assert state["epoch"] == 3


def test_early_stopping_and_best_weights_follow_noisy_validation(make_digits_task):
    task = make_digits_task(0.6, train_size=200)
    run = trained(CrossEntropy(), task, epochs=60, patience=4, net=MLP(64, 2))
    accuracies = [epoch.validation_accuracy for epoch in run.records]
    best = run.best
    assert best.epoch == 1 + int(np.argmax(accuracies))
    assert len(run.records) == best.epoch + 4 < 60
    predicted = run.set_weights(run.best_weights).logits("validation").argmax(1)
    assert (predicted == task.validation.labels).double().mean().item() == pytest.approx(
        best.validation_accuracy
    )


def test_evaluation_every_few_epochs_and_at_the_end(make_digits_task):
    run = trained(CrossEntropy(), make_digits_task(0.5, train_size=100), epochs=5, evaluate_every=2)
    assert [epoch.epoch for epoch in run.records.evaluated] == [2, 4, 5]
    frame = run.history
    assert frame["test_accuracy"].isna().tolist() == [True, False, True, False, False]
    assert frame["memorized_bits"].isna().tolist() == [True, False, True, False, False]


@pytest.mark.parametrize("mode", ["solo", "stacked"])
@pytest.mark.parametrize("decay", ["weights", "all"])
@pytest.mark.parametrize(
    ("spec", "reference"),
    [
        (partial(SGD, 0.1, 0.9, 0.2), partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.2)),
        (partial(Adam, 0.1, 0.2), partial(torch.optim.Adam, lr=0.1, weight_decay=0.2)),
    ],
)
def test_weight_decay_moves_what_torchs_own_moves(make_digits_task, spec, reference, decay, mode):
    tasks = [make_digits_task(0.5, seed=seed, train_size=100) for seed in (0, 1)]
    settings = {"net": CNN(), "epochs": 3, "batch_size": 100, "optimizer": spec(decay=decay)}
    members = [Member(CrossEntropy(), task) for task in tasks]
    runs = Runs(members, mode=mode, precision="float64", **settings)
    module = CNN().build(tasks[1].image_shape, 10).double()
    module.load_state_dict(runs[1].weights["classifier"])
    layers = [layer for layer in module.modules() if [*layer.parameters(recurse=False)]]
    kernels = [layer.weight for layer in layers if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    others = [layer.bias for layer in layers]
    others += [layer.weight for layer in layers if isinstance(layer, torch.nn.BatchNorm2d)]
    assert len(kernels) == 6 and len(kernels) + len(others) == len([*module.parameters()])
    spared = {"weight_decay": 0.2 if decay == "all" else 0.0}
    optimizer = reference([{"params": kernels}, {"params": others, **spared}])
    images = tasks[1].dataset.normalize(tasks[1].train.images).double()
    runs.train()
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(images)[0], tasks[1].train.labels).backward()
        optimizer.step()
    # A bias before BatchNorm has no gradient but rounding, which Adam follows.
    undetermined = {id(layer.bias) for layer in layers if isinstance(layer, torch.nn.Conv2d)}
    for name, value in module.named_parameters():
        if not (spec.func is Adam and decay == "weights" and id(value) in undetermined):
            own = runs[1].weights["classifier"][name]
            torch.testing.assert_close(own, value.detach(), rtol=1e-6, atol=1e-9)


def test_weight_decay_moves_all_of_the_weighting_network_as_in_meta_weight_nets_code(make_digits_task):
    task = make_digits_task(0.5, train_size=100, meta_size=20)
    run = Run(LossNet(), task, **SMALL | {"optimizer": SGD(weight_decay=0.1)})
    (weighting,), (decayed, plain) = (own.param_groups for own in run.state.networks.optimizers)
    assert weighting["weight_decay"] == 5e-4 and len(weighting["params"]) == 4
    assert decayed["weight_decay"] == 0.1 and plain["weight_decay"] == 0
    assert {parameter.ndim for parameter in decayed["params"]} == {2}
    assert {parameter.ndim for parameter in plain["params"]} == {1}


def test_the_learning_rate_follows_its_milestones():
    schedule = SGD(0.1, milestones=(80, 100))
    rates = [schedule.lr_at(epoch) for epoch in (1, 80, 81, 100, 101, 120)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


class Spy(CrossEntropy):
    """Cross-entropy that keeps what the engine shows to methods."""

    seen: list[object]

    def networks(self, new_net, task):
        Spy.seen = [task]
        return super().networks(new_net, task)

    def start(self, nets, data):
        Spy.seen.append(data)

    def end_epoch(self, nets, data, epoch):
        Spy.seen.append(data)

    def loss(self, nets, batch):
        Spy.seen.append(batch)
        return super().loss(nets, batch)


def test_the_true_labels_never_reach_a_method(make_digits_task):
    task = make_digits_task(0.5, train_size=64)
    trained(Spy(), task)
    hidden = {
        id(task.truth),
        id(task.truth.train_labels),
        id(task.dataset.train_labels),
        id(task.test),
        id(task.dataset),
    }
    stack, reached = list(Spy.seen), set()
    while stack:
        thing = stack.pop()
        if id(thing) in reached or isinstance(thing, type):
            continue
        reached.add(id(thing))
        if isinstance(thing, (torch.Tensor, np.ndarray)):
            values = torch.as_tensor(thing)
            assert values.shape != task.truth.train_labels.shape or not torch.equal(
                values, task.truth.train_labels
            )
        elif dataclasses.is_dataclass(thing) or isinstance(thing, (list, tuple, dict)):
            stack.extend(gc.get_referents(thing))
    assert not reached & hidden
    assert any(isinstance(thing, Visible) for thing in Spy.seen)


def test_changing_the_true_labels_changes_no_weight(make_digits_task):
    task = make_digits_task(0.5, train_size=100)
    lied = dataclasses.replace(
        task,
        truth=dataclasses.replace(
            task.truth,
            train_labels=task.truth.train_labels.flip(0),
            validation_labels=task.truth.validation_labels.flip(0),
        ),
    )
    one, two = trained(LIMIT(), task, patience=2), trained(LIMIT(), lied, patience=2)
    assert torch.equal(weights(one), weights(two))
    assert one.best.epoch == two.best.epoch


def test_a_last_batch_of_one_under_batch_norm_is_refused_and_has_two_ways_out(make_digits_task):
    task = make_digits_task(0.5, train_size=97)
    with pytest.raises(
        InvalidValue, match=r"last batch must hold at least 2 examples .* got 1 \(97 examples"
    ):
        fit(CrossEntropy(), task, **SMALL)
    trained(CrossEntropy(), task, epochs=1, drop_last=True)
    trained(CrossEntropy(), task, epochs=1, net=MLP(16, 2, batch_norm=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "at least 2 examples under BatchNorm, got 1"),
        (
            {"batch_size": 128, "drop_last": True},
            "batch_size must be at most the 97 training examples with drop_last, got 128",
        ),
    ],
)
def test_batches_that_cannot_train_are_refused(make_digits_task, options, message):
    with pytest.raises(InvalidValue, match=message):
        fit(CrossEntropy(), make_digits_task(0.5, train_size=97), **SMALL | options)


def test_patience_counts_evaluated_epochs(make_digits_task):
    task = make_digits_task(0.5, train_size=100)
    run = trained(CrossEntropy(), task, epochs=40, evaluate_every=10, patience=3)
    assert len(run.records) == min(run.best.epoch + 10, 40) > 10


def test_a_network_that_a_method_makes_itself_comes_from_the_run_seed(make_digits_task):
    class Own(CrossEntropy):
        def networks(self, new_net, task):
            return {"classifier": new_net("classifier"), "own": torch.nn.Linear(3, 3)}

    task = make_digits_task(0.5, train_size=64)
    before = torch.random.get_rng_state()
    one, two, other = (Run(Own(), task, seed=seed, **SMALL).weights["own"]["weight"] for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_methods_see_normalised_images_and_what_they_report_is_recorded(make_digits_task):
    seen = {}

    class Looks(CrossEntropy):
        def start(self, nets, data):
            seen["logits"], seen["features"] = data.outputs(nets["classifier"])
            seen["labels"] = data.labels
            assert not torch.is_grad_enabled()

        def report(self, nets):
            return {"answer": 42.0}

    task = make_digits_task(0.5, train_size=64)
    run = Run(Looks(), task, **SMALL)
    expected = run.predict(task.dataset.normalize(task.train.images))
    torch.testing.assert_close(seen["logits"], expected)
    assert seen["features"].shape == (64, 16) and torch.equal(seen["labels"], task.train.labels)
    next(iter(run))
    assert run.history["answer"].tolist() == [42.0]


def test_starting_from_the_weights_of_another_run(make_digits_task):
    task = make_digits_task(0.5, train_size=100)
    net = CNN()
    state = trained(CrossEntropy(), task, net=net, epochs=1).weights["classifier"]
    second = Run(LIMIT(), task, net=net, epochs=1, batch_size=32, start={"predictor": state})
    own = second.weights["predictor"]
    assert all(torch.equal(own[key], value) for key, value in state.items())
    with pytest.raises(
        InvalidValue, match="start names the network 'teacher', expected one of classifier, predictor"
    ):
        fit(LIMIT(), task, net=net, batch_size=32, start={"teacher": state})
    with pytest.raises(InvalidValue, match="which this network does not have in that shape"):
        fit(LIMIT(), task, net=MLP(16), batch_size=32, start={"predictor": state})


def test_on_step_counts_batches_and_can_stop_a_run(make_digits_task):
    class Stopped(Exception):
        pass

    calls = []

    def on_step(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 6:
            raise Stopped

    run = Run(CrossEntropy(), make_digits_task(0.5, train_size=128), **SMALL, on_step=on_step)
    with pytest.raises(Stopped):
        run.train()
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4), (1, 4), (2, 4)]
    assert len(run.records) == 1
    with pytest.raises(LnlibError, match="stopped inside epoch 2; load its checkpoint or start it again"):
        next(iter(run))


def test_bfloat16_trains_float32_weights(make_digits_task):
    run = trained(CrossEntropy(), make_digits_task(0.2), epochs=8, precision="bfloat16", net=MLP(64, 2))
    assert weights(run).dtype == torch.float32
    assert run.records[-1].test_accuracy > 0.8


def test_compiled_networks_are_asked_for_by_a_setting(make_digits_task, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))
    Run(LIMIT(), make_digits_task(0.2), epochs=1)
    assert not compiled
    run = Run(LIMIT(), make_digits_task(0.2), epochs=1, compile=True)
    assert compiled == [net.module for net in run.nets.values()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}, {"compile": True}])
def test_a_gpu_trains_as_well_as_a_cpu(make_digits_task, options):
    task = make_digits_task(0.2)
    here = trained(LIMIT(beta=10.0), task, epochs=8, device=torch.device("cpu"))
    there = trained(LIMIT(beta=10.0), task, epochs=8, device=torch.device("cuda"), **options)
    assert abs(here.records[-1].test_accuracy - there.records[-1].test_accuracy) < 0.05


@pytest.mark.parametrize("augmented", [True, False])
def test_meta_batches_are_augmented_unless_a_setting_says_otherwise(make_digits_task, augmented):
    task = make_digits_task(0.2, meta_size=100)
    seen = []

    class Spied(L2RW):
        def loss(self, nets, batch):
            seen.append(batch.meta)
            return super().loss(nets, batch)

    fit(Spied(), task, net=MLP(8, 1), epochs=1, augment=FlipCrop(2), augment_meta=augmented)
    order = torch.randperm(100, generator=Streams(0, torch.device("cpu"))["meta"])
    assert torch.equal(seen[0].y, task.meta.labels[order])
    assert torch.equal(seen[0].x, task.dataset.normalize(task.meta.images[order])) is not augmented


def test_flip_crop_moves_pixels_by_at_most_its_padding():
    images = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8) + 1
    seen = set()
    for seed in range(60):
        out = FlipCrop(2)(images, torch.Generator().manual_seed(seed))
        assert out.shape == images.shape
        match = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.equal(out[0], _crop(images[0], top, left, flip))
        ]
        assert len(match) == 1
        seen.add(match[0])
    assert len(seen) > 25 and {flip for _, _, flip in seen} == {False, True}


def _crop(image, top, left, flip):
    crop = torch.nn.functional.pad(image, (2, 2, 2, 2))[:, top : top + 8, left : left + 8]
    return crop.flip(-1) if flip else crop


def test_draws_have_the_moments_they_promise():
    generator = torch.Generator().manual_seed(0)
    for kind, kurtosis in (("normal", 3.0), ("laplace", 6.0)):
        values = sample(Draw(kind, (400_000,)), generator, torch.device("cpu"), torch.float64)
        assert values.mean().item() == pytest.approx(0, abs=0.01)
        assert values.var().item() == pytest.approx(1, abs=0.02)
        assert values.pow(4).mean().item() == pytest.approx(kurtosis, rel=0.06)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"precision": "float8"}, "precision must be .* got 'float8'"),
    ],
)
def test_settings_that_cannot_train_are_refused(make_digits_task, options, message):
    with pytest.raises(InvalidValue, match=message):
        fit(CrossEntropy(), make_digits_task(0.5, train_size=64), **SMALL | options)


@pytest.mark.parametrize(
    "make", [lambda: Adam(lr=0), lambda: SGD(lr=float("nan")), lambda: Adam(weight_decay=-1)]
)
def test_optimisers_refuse_values_that_cannot_train(make):
    with pytest.raises(InvalidValue, match="must be"):
        make()
