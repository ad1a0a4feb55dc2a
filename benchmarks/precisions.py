"""What each precision of each subnetwork costs and saves, measured on nano: size, error, speed.

    python -m benchmarks.precisions

Writes precisions.md, precisions.json and precisions.svg beside this file, and some of it into the README. What was
exported and compared is kept under build/precisions, by checkpoint and code, so that a run which was interrupted goes
on; only the times are taken anew.
Needs the dev extra.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import msgspec
import numpy as np

from omni_edge.apps.calibration import listener
from omni_edge.apps.material import built_in
from omni_edge.apps.report.compare import Compared, Comparison
from omni_edge.apps.report.recording import Recorder, Recording
from omni_edge.apps.report.table import in_words
from omni_edge.export.full_precision import FullPrecision
from omni_edge.export.precisions import DECODERS
from omni_edge.models.bundle import Bundle
from omni_edge.models.errors import BundleError

from .bundles import ROUNDS, Bundles, Round
from .page import Row, facts, markdown, picture
from .readme import Measured, put
from .speeds import Speeds

HERE = Path(__file__).parent
CHECKPOINT = HERE.parent / "models" / "nano" / "checkpoint"

ONE_THREAD = 1
"""nano's operators are too small to be shared: threads would wait for each other, and long where the cores are busy."""


class Remembering(FullPrecision):
    """All bundles are put to the same inputs, so the answers to them are worked out once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._known: dict = {}
        self._sessions: dict = {}

    def session(self, name):  # noqa: ANN001, ANN201
        """See FullPrecision."""
        if name not in self._sessions:
            self._sessions[name] = _Session(super().session(name))
        return self._sessions[name]

    def logits(self, name, given, tick):  # noqa: ANN001, ANN201
        """See FullPrecision."""
        if name not in self._known:
            self._known[name] = list(super().logits(name, given, tick))
        return iter(self._known[name])


class _Session:
    """One that is asked each thing once."""

    def __init__(self, session) -> None:  # noqa: ANN001
        self._session = session
        self._known: dict = {}

    def run(self, names, feeds):  # noqa: ANN001, ANN202
        asked = b"".join(np.ascontiguousarray(feeds[name]).tobytes() for name in sorted(feeds))
        key = (tuple(np.shape(feeds[name]) for name in sorted(feeds)), hashlib.sha256(asked).digest())
        if key not in self._known:
            self._known[key] = self._session.run(names, feeds)
        return self._known[key]


def errors(each: Round, bundle: Bundle, full: FullPrecision, recordings: list[Recording]) -> list[Row]:
    """One round's graphs as rows without times."""
    comparison = Comparison(bundle, full, recordings, ONE_THREAD, lambda *_: None)
    compared = comparison.decoders() if each.subnetworks == DECODERS else comparison.graphs()
    return [_row(one, each) for one in compared if one.subnetwork in each.subnetworks]


def _row(compared: Compared, each: Round) -> Row:
    report = compared.report
    metrics = {} if report.error is None else msgspec.structs.asdict(report.error)
    metrics.pop("matrices", None)
    return Row(
        subnetwork=compared.subnetwork,
        engine=report.engine,
        precision=report.precision,
        calibrated=each.calibrated,
        bytes=report.bytes,
        bits_per_weight=report.bits_per_weight or 0.0,
        size_of_error=0.0 if report.error is None else report.error.size,
        error=in_words(compared),
        metrics=metrics,
    )


class Found(msgspec.Struct, frozen=True):
    """What came of a round: rows without times, or why there is no such bundle."""

    rows: list[Row] = []
    refused: str = ""


def measure(work: Bundles, limit: int) -> tuple[list[Row], dict[str, str]]:
    """All rounds, those of an interrupted run taken from where they were kept.

    Returns:
        Rows without times, and kinds that were refused with the reason.
    """
    base = work.base()
    recorder = Recorder(base, ONE_THREAD)
    recordings = [found for found in map(recorder.record, built_in(base.manifest.name, "report", limit)) if found]
    del recorder
    full, listen, passages, rows, refused = Remembering(CHECKPOINT), listener("built-in"), None, [], {}
    for each in ROUNDS:
        kept = work.folder / f"{each.name}-{limit}.json"
        if not kept.exists():
            print(f"[{each.name}]", flush=True)
            if each.calibrated and passages is None:
                passages = listen(base.folder)
            try:
                found = Found(errors(each, work.made(each, passages), full, recordings))
            except BundleError as error:
                found = Found(refused=str(error))
            kept.write_bytes(msgspec.json.encode(found))
        found = msgspec.json.decode(kept.read_bytes(), type=Found)
        rows += found.rows
        if found.refused:
            refused[each.kind] = found.refused
    return rows, refused


def main() -> None:
    """Measure, and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--limit", type=int, default=20, help="conversations that errors are measured on")
    parser.add_argument("--rounds", type=int, default=9, help="times each graph is timed")
    parser.add_argument("--threads", type=int, default=ONE_THREAD, help="that are timed; 0 is one a core")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the three files")
    arguments = parser.parse_args()
    work = Bundles(CHECKPOINT, HERE.parent / "build" / "precisions")
    rows, refused = measure(work, arguments.limit)
    print("[times]", flush=True)
    rows = Speeds(work, arguments.threads).timed(rows, arguments.rounds)
    about = facts(CHECKPOINT, arguments.limit, arguments.rounds, arguments.threads)
    about |= {f"no {kind}": reason for kind, reason in refused.items()}
    (arguments.out / "precisions.md").write_text(markdown(rows, about), encoding="utf-8")
    (arguments.out / "precisions.svg").write_text(picture(rows), encoding="utf-8")
    measured = Measured(about, rows)
    values = msgspec.json.format(msgspec.json.encode(measured), indent=1)
    (arguments.out / "precisions.json").write_bytes(values + b"\n")
    if arguments.out == HERE:
        put(measured)


if __name__ == "__main__":
    main()
