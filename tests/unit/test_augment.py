"""Augmentation: crops and flips of the pictures that were there, the same for the same seed."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from lnlib import data, noise
from lnlib.data.lazy import LazyImages
from lnlib.data.task import make_task
from lnlib.errors import InvalidValue
from lnlib.methods import L2RW
from lnlib.nets import MLP
from lnlib.training import CenterCrop, CropFlip, FlipCrop, Member, Runs

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def positions(height: int, width: int) -> torch.Tensor:
    """An image whose two channels tell the row and the column of a pixel."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns]).float()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_are_stretches_of_the_image_half_of_them_flipped():
    images = positions(12, 9).expand(2000, 2, 12, 9)
    crops = CropFlip(6)(images, generator())
    assert crops.shape == (2000, 2, 6, 6)
    tops, lefts = crops[:, 0, 0, 0], crops[:, 1, 0].amin(1)
    flipped = crops[:, 1, 0, 0] > crops[:, 1, 0, 1]
    steps = torch.arange(6.0)
    for top, left, flip, crop in zip(tops, lefts, flipped, crops, strict=True):
        columns = left + (steps.flip(0) if flip else steps)
        assert torch.equal(crop[0], (top + steps)[:, None].expand(6, 6))
        assert torch.equal(crop[1], columns.expand(6, 6))
    assert sorted(set(tops.tolist())) == list(range(7)) and sorted(set(lefts.tolist())) == list(range(4))
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert tops.mean().item() == pytest.approx(3, abs=0.2) and lefts.mean().item() == pytest.approx(
        1.5, abs=0.15
    )


def test_whole_images_are_only_flipped():
    images = torch.rand(50, 3, 8, 8)
    crops = CropFlip(8)(images, generator())
    same = [torch.equal(crop, image) for crop, image in zip(crops, images, strict=True)]
    mirrored = [torch.equal(crop, image.flip(-1)) for crop, image in zip(crops, images, strict=True)]
    assert all(one != other for one, other in zip(same, mirrored, strict=True)) and 10 < sum(same) < 40


@pytest.mark.parametrize("mode", ["black", "reflect"])
def test_flipped_crops_see_black_or_the_reflection_beyond_the_edge(mode):
    image = positions(5, 6)[1:] + 1  # columns, counted from 1
    crops = FlipCrop(2, mode)(image.expand(500, 1, 5, 6), generator(), torch.full((1, 1, 1), -7.0))
    beyond = [-7, -7] if mode == "black" else [3, 2]
    row = [*beyond, 1, 2, 3, 4, 5, 6, *([-7, -7] if mode == "black" else [5, 4])]
    stretches = [row[left : left + 6] for left in range(5)]
    stretches += [stretch[::-1] for stretch in stretches]
    assert crops.shape == (500, 1, 5, 6)
    found = {tuple(crop[0, 2].int().tolist()) for crop in crops}
    assert found == {tuple(stretch) for stretch in stretches}
    assert (crops[:, 0, 0] == -7).all(1).any() == (mode == "black")


def test_each_crop_is_torchvisions_of_the_picture_before_it_was_normalised(monkeypatch):
    picture = torch.randint(256, (3, 32, 32), dtype=torch.uint8, generator=generator(1))
    expected = set()
    for top in range(9):
        for left in range(9):
            place = staticmethod(lambda *_, top=top, left=left: (top, left, 32, 32))
            monkeypatch.setattr(transforms.RandomCrop, "get_params", place)
            pipeline = transforms.Compose(
                [
                    transforms.RandomCrop(32, padding=4),
                    transforms.ConvertImageDtype(torch.float32),
                    transforms.Normalize(MEAN, STD),
                ]
            )
            expected |= {digest(pipeline(picture)), digest(pipeline(picture).flip(-1))}
    images = transforms.Normalize(MEAN, STD)(picture.float() / 255).expand(3000, 3, 32, 32)
    crops = FlipCrop()(images, generator(), transforms.Normalize(MEAN, STD)(torch.zeros(3, 1, 1)))
    assert len(expected) == 162 and {digest(crop) for crop in crops} == expected


def digest(image: torch.Tensor) -> bytes:
    """The grey levels of a normalised image: what is left of rounding falls away."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((image * std + mean) * 255).round().to(torch.int16).numpy().tobytes()


@pytest.mark.parametrize("kept", ["on the device", "in files"])
def test_what_lies_beyond_a_picture_is_black_in_every_run_of_a_stack(tmp_path, kept):
    Image.fromarray(np.full((4, 4, 3), 255, dtype=np.uint8)).save(tmp_path / "white.png")
    files = LazyImages(tmp_path, ["white.png"] * 60, 4)
    images = files if kept == "in files" else files[torch.arange(60)]
    labels = torch.arange(60) % 2
    white = data.Dataset("white", images, labels, images, labels, ("one", "other"), MEAN, STD)
    members = [Member(L2RW(), make_task(white, noise.uniform(0.2, 2), seed, meta_size=10)) for seed in (0, 1)]
    settings = {"net": MLP(4, 1), "augment": FlipCrop(1), "epochs": 1, "precision": "float64"}
    state = Runs(members, mode="stacked", **settings)[0].state
    index = torch.arange(16).expand(2, 16)
    (x,) = state.data.images([index])
    batch = state.data.batch(index, x, state.networks.phases, state.streams, epoch=1, step=0, lr=0.1)
    for seen in (batch.x, batch.meta.x):
        for channel, (middle, width) in enumerate(zip(MEAN, STD, strict=True)):
            own = seen[:, :, channel]
            levels = torch.tensor([-middle / width, (1 - middle) / width], dtype=torch.float64)
            torch.testing.assert_close(own.unique(), levels, rtol=1e-6, atol=0)
            assert (own < 0).flatten(2).any(2).any(1).all()


@pytest.mark.parametrize("augment", [CropFlip(5), FlipCrop(2), FlipCrop(2, "reflect")])
def test_equal_seeds_draw_equally(augment):
    images = torch.rand(20, 3, 9, 9)
    first = augment(images, generator(1))
    assert torch.equal(first, augment(images, generator(1)))
    assert not torch.equal(first, augment(images, generator(2)))
    assert first.shape[1:] == augment.shape((3, 9, 9)) == augment.evaluation(images).shape[1:]


def test_evaluation_resizes_the_whole_image_without_a_draw():
    images = torch.rand(2, 3, 4, 1, 1).expand(2, 3, 4, 16, 16)  # members, images, channels
    small = CropFlip(14).evaluation(images)
    torch.testing.assert_close(small, images[..., :14, :14])
    ramp = torch.linspace(0, 1, 256).expand(1, 1, 256, 256)
    assert CropFlip(224).evaluation(ramp)[0, 0, 0].diff().min() > 0
    assert torch.equal(FlipCrop().evaluation(ramp), ramp)


def test_the_middle_of_an_image_is_the_same_in_training_and_evaluation():
    image = positions(8, 9)
    middle = CenterCrop(4)(image.expand(3, 2, 8, 9), generator())
    assert CenterCrop(4).shape((2, 8, 9)) == middle.shape[1:]
    assert middle[1, 0, :, 0].tolist() == [2, 3, 4, 5] and middle[1, 1, 0].tolist() == [2, 3, 4, 5]
    assert torch.equal(middle, CenterCrop(4).evaluation(image.expand(3, 2, 8, 9)))


def test_bad_sizes_are_refused():
    with pytest.raises(InvalidValue, match="crops of 9×9 need images at least as large, got 8×9"):
        CenterCrop(9).shape((2, 8, 9))
    with pytest.raises(InvalidValue, match="size must be at least 1, got 0; try size=224"):
        CropFlip(0)
    with pytest.raises(InvalidValue, match="need images at least as large, got 32×300; make size smaller"):
        CropFlip(33).shape((3, 32, 300))
    with pytest.raises(InvalidValue, match="mode must be 'black' or 'reflect', got 'edge'"):
        FlipCrop(4, "edge")
    with pytest.raises(InvalidValue, match="reflection of 8 pixels needs larger images, got 8×9"):
        FlipCrop(8, "reflect").shape((1, 8, 9))
