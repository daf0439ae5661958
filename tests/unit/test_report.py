"""The page of suspects: every name is text on it, nothing comes from elsewhere, small print tells how."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from lnlib import data
from lnlib.analysis.report import MOST, write_report
from lnlib.data.reading import Reading

EVIL = ("<img src=x onerror=alert(1)>", "\"'&</script><script>$name", "plain")


class Parts(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.text = list[tuple[str, dict[str, str | None]]](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def dataset(names: tuple[str, ...], count: int, **more: object) -> data.Dataset:
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8).contiguous()
    labels = torch.arange(count) % len(names)
    return data.Dataset("a <b>", images, labels, images, labels, names, (0.5,), (0.5,), **more)


def frame(names: tuple[str, ...], count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rank": range(1, count + 1),
            "part": "held out",
            "row": range(count)[::-1],
            "given": [names[row % len(names)] for row in range(count)],
            "suggested": names[-1],
            "given_probability": 0.02,
            "suggested_probability": 0.9,
            "score": np.linspace(1.4, 0.1, count),
            "mark": "",
        }
    )


def test_names_of_classes_files_and_data_are_text_and_never_markup(tmp_path: Path) -> None:
    suspects = frame(EVIL, 3).assign(file=["<script>1</script>.png", "a'b\"c.png", "bell\x07\u202e.png"])
    write_report(tmp_path / "page.html", suspects, dataset(EVIL, 3), ["<i>small</i>", "print"])
    page = Parts((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert len(page.all("img")) == 3 and len(page.all("script")) == 1 and not page.all("i") + page.all("b>")
    assert all("onerror" not in attributes for _, attributes in page.found)
    assert [card["data-given"] for card in page.all("li")] == list(EVIL)
    files = ["<script>1</script>.png", "a'b\"c.png", "bell\\x07\\u202e.png"]
    assert [card["data-file"] for card in page.all("li")] == files
    assert {option["value"] for option in page.all("option")} > {*EVIL}
    assert "Suspects in a <b>" in page.text and "<i>small</i>" in page.text


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    write_report(tmp_path / "page.html", frame(("a", "b"), 4), dataset(("a", "b"), 4), [])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Parts(text)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert not page.all("link") and not re.search(r"https?:|url\(|@import|\ssrc=\"(?!data:)", text)
    (policy,) = (meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_each_card_shows_its_own_picture_and_at_most_500_are_shown(tmp_path: Path) -> None:
    count = MOST + 20
    images = (torch.arange(count) // 3).to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8).contiguous()
    labels = torch.arange(count) % 2
    many = data.Dataset("many", images, labels, images, labels, ("a", "b"), (0.5,), (0.5,))
    write_report(tmp_path / "page.html", frame(("a", "b"), count), many, [])
    page = Parts((tmp_path / "page.html").read_text(encoding="utf-8"))
    cards = page.all("li")
    assert [int(card["data-rank"]) for card in cards] == list(range(1, MOST + 1))
    for place, image in ((0, page.all("img")[0]), (499, page.all("img")[499])):
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))
        assert np.all(pixels == (count - 1 - place) // 3)
    assert f"The {MOST} of {count} pictures" in " ".join(page.text.split())


def test_pictures_in_files_are_shown_larger_than_the_network_saw_them(tmp_path: Path) -> None:
    for number in range(2):
        Image.new("RGB", (300, 200), (number * 200, 0, 0)).save(tmp_path / f"{number}.png")
    files = ("0.png", "1.png")
    reading = Reading(str(tmp_path), "a folder for each class", ())
    own = dataset(("a", "b"), 2, train_files=files, test_files=files, reading=reading)
    write_report(tmp_path / "page.html", frame(("a", "b"), 2).assign(file=["1.png", "0.png"]), own, [])
    first, second = Parts((tmp_path / "page.html").read_text(encoding="utf-8")).all("img")
    shown = [
        Image.open(io.BytesIO(base64.b64decode(one["src"].partition(",")[2]))) for one in (first, second)
    ]
    assert [picture.size for picture in shown] == [(112, 112)] * 2
    assert shown[0].getpixel((50, 50))[0] > 190 and shown[1].getpixel((50, 50))[0] < 10
