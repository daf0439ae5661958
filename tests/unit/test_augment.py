"""Augmentation: crops and flips of the pictures that were there, the same for the same seed."""

import pytest
import torch

from lnlib.errors import InvalidValue
from lnlib.training import CenterCrop, CropFlip, FlipCrop


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


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_flipped_crops_see_zeros_or_the_reflection_beyond_the_edge(mode):
    image = positions(5, 6)[1:] + 1  # columns, counted from 1
    crops = FlipCrop(2, mode)(image.expand(500, 1, 5, 6), generator())
    beyond = [0, 0] if mode == "zeros" else [3, 2]
    row = [*beyond, 1, 2, 3, 4, 5, 6, *([0, 0] if mode == "zeros" else [5, 4])]
    stretches = [row[left : left + 6] for left in range(5)]
    stretches += [stretch[::-1] for stretch in stretches]
    assert crops.shape == (500, 1, 5, 6)
    found = {tuple(crop[0, 2].int().tolist()) for crop in crops}
    assert found == {tuple(stretch) for stretch in stretches}
    assert (crops[:, 0, 0] == 0).all(1).any() == (mode == "zeros")


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
    with pytest.raises(InvalidValue, match="mode must be 'zeros' or 'reflect', got 'edge'"):
        FlipCrop(4, "edge")
    with pytest.raises(InvalidValue, match="reflection of 8 pixels needs larger images, got 8×9"):
        FlipCrop(8, "reflect").shape((1, 8, 9))
