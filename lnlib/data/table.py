"""A CSV table of picture files and labels, as noisy-label sets are published, listed as a folder is."""

import difflib
import os
from pathlib import Path

from lnlib.data.listing import ORDER, SPLITS, Listed, command, nearest, said_of
from lnlib.data.reading import Skipped
from lnlib.errors import DataUnavailable, InvalidValue, cause_of, shown
from lnlib.files import read_csv

TWICE = "a line that says the same again"


def list_table(file: Path, path: str, label: str, split: str) -> Listed:
    """The pictures of a table by class and split; raises as `image_table`, for all but their content."""
    names, labels, splits = _columns(file, path, label, split)
    lines: dict[tuple[str, str, str], None] = {}
    skipped = []
    for number, (name, named, part) in enumerate(zip(names, labels, splits, strict=True), start=2):
        if not name or not named or (part.lower() not in SPLITS and any(splits)):
            told = f", and train, val or test as its {split}" if any(splits) else ""
            raise InvalidValue(
                f"line {number} of {file} must have a {path} and a {label}{told}, got "
                f"{shown((name, named, part))}; complete or remove it"
            )
        line = (SPLITS.get(part.lower(), ""), named, name)
        if line in lines:
            skipped.append(Skipped(name, TWICE))
        lines[line] = None
    missing = [name for name in dict.fromkeys(names) if not (file.parent / name).is_file()]
    if missing:
        raise DataUnavailable(
            f"{len(missing)} of {len({*names})} pictures of {file} are missing, the first is "
            f"{file.parent / missing[0]}; give their paths relative to the table's folder"
        )
    rows = sorted(lines, key=lambda line: (ORDER.index(line[0]), line[1], os.path.split(line[2])))
    class_names = tuple(sorted({*labels}))
    if len(class_names) < 2:
        raise InvalidValue(f"{file} must have at least 2 labels, got {len(class_names)}; add another class")
    found = {SPLITS[part.lower()]: part for part in splits if part}
    if found and not {"training"} < {*found}:
        raise InvalidValue(
            f"the column {split} of {file} must say train and at least one of val and test, got "
            f"{', '.join(found.values())}; correct it, or name another with --dataset-set split_column=NAME"
        )
    parts, classes, files = zip(*rows, strict=True)
    return Listed(f"a table{said_of(found)}", class_names, files, classes, parts, tuple(skipped))


def _columns(file: Path, path: str, label: str, split: str) -> list[list[str]]:
    """The cells of the three columns; empty ones of the split where there is no such column."""
    try:
        with open(file, encoding="utf-8-sig") as text:
            header = text.readline()
        table = read_csv(file, dtype=str, encoding="utf-8-sig", sep=max(",;\t", key=header.count))
    except FileNotFoundError as error:
        near = nearest(file, os.path.isfile)
        hint = f"did you mean {command(f'csv:{near}')}?" if near else "give a CSV file with the columns"
        raise DataUnavailable(
            f"there is no table {file}; {hint}{'' if near else f' {path},{label}'}"
        ) from error
    except (OSError, ValueError) as error:  # pandas's errors and those of decoding are ValueErrors
        raise DataUnavailable(
            f"cannot read the table {file}: {cause_of(error)}; save it as CSV in UTF-8"
        ) from error
    table = table.fillna("")
    for name, flag in ((path, "path"), (label, "label")):
        if name not in table:
            alike = difflib.get_close_matches(name, [*map(str, table)], n=1, cutoff=0.4)
            raise InvalidValue(
                f"{file} must have a column {name}, got {', '.join(map(str, table))}; name it as "
                f"--dataset-set {flag}_column={alike[0] if alike else table.columns[0]}"
            )
    cells = [table[name].tolist() for name in (path, label)]
    return [*cells, table[split].tolist() if split in table else [""] * len(table)]
