"""Tests of the scores of every frame: reading libvmaf's log, and the file among the artifacts."""

import random
from pathlib import Path

import pytest
from ffrtmp_worker.agent import scores_file
from ffrtmp_worker.measure import frame_scores
from ffrtmp_worker.measure.frame_scores import METRICS, UnreadableScoresError
from ffrtmp_worker.measure.quality_statistics import summarize_scores

_FRAMES = 90_000
_MAX_BYTES_PER_FRAME = 24
_HEAD = "Frame,integer_adm2,vmaf,vmaf_neg,psnr_y,psnr_cb,psnr_cr,float_ssim,\n"


def _log(folder: Path, *lines: str) -> Path:
    log = folder / "vmaf.csv"
    log.write_text(_HEAD + "".join(f"{line}\n" for line in lines), encoding="ascii")
    return log


def test_the_scores_are_read_in_the_order_of_the_frames(tmp_path: Path) -> None:
    log = _log(tmp_path, "0,0.9,90,89,40,41,42,0.99,", "1,0.8,80,79,30,31,32,0.89,")
    scores = frame_scores.read_scores(log)
    assert {name: list(column) for name, column in scores.items()} == {
        "vmaf": [90, 80],
        "vmaf_neg": [89, 79],
        "psnr_y": [40, 30],
        "psnr_cb": [41, 31],
        "psnr_cr": [42, 32],
        "float_ssim": [0.99, 0.89],
    }
    pooled = summarize_scores(scores, "model")
    assert (pooled.vmaf_mean, pooled.vmaf_min, pooled.pairs) == (85, 80, 2)
    assert (pooled.vmaf_neg_mean, pooled.psnr_y_mean_db) == (84, 35)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,0.8,80,79,30,31,0.89,", "did not write all scores of frame 1"),
        ("1,0.8,nan,79,30,31,32,0.89,", "'nan' as a score of frame 1"),
        ("1,0.8,-inf,79,30,31,32,0.89,", "'-inf' as a score of frame 1"),
        ("1,0.8,null,79,30,31,32,0.89,", "'null' as a score of frame 1"),
        ("", "did not write all scores of frame 1"),
    ],
)
def test_a_missing_score_is_reported_with_its_frame(
    line: str, message: str, tmp_path: Path
) -> None:
    log = _log(tmp_path, "0,0.9,90,89,40,41,42,0.99,", line)
    with pytest.raises(UnreadableScoresError, match=message):
        frame_scores.read_scores(log)


def test_a_missing_metric_is_reported(tmp_path: Path) -> None:
    log = tmp_path / "vmaf.csv"
    log.write_text("Frame,vmaf,\n0,90,\n", encoding="ascii")
    with pytest.raises(UnreadableScoresError, match="wrote no vmaf_neg, psnr_y, psnr_cb"):
        frame_scores.read_scores(log)


def test_the_file_of_a_long_recording_is_small(tmp_path: Path) -> None:
    """Check that ten hours at 60 frames per second fit into an artifact of 100 MiB."""
    numbers = random.Random(1)  # noqa: S311 - scores need not be unpredictable
    lines = [
        ",".join([str(n), *(f"{numbers.uniform(0, 100):.6f}" for _ in range(7)), ""])
        for n in range(_FRAMES)
    ]
    log = _log(tmp_path, *lines)
    log.rename(tmp_path / "vmaf-full.csv")
    scores_file.write_score_files(tmp_path)
    (file,) = scores_file.list_score_files(tmp_path)
    assert file.name == "scores-full.parquet"
    assert file.stat().st_size < _FRAMES * _MAX_BYTES_PER_FRAME
    assert 10 * 3600 * 60 * _MAX_BYTES_PER_FRAME < 100 * 1024 * 1024
    # Imported here, because the agent never loads the library.
    from pyarrow import parquet

    table = parquet.read_table(file)
    assert table.column_names == list(METRICS)
    assert table.num_rows == _FRAMES
    expected = float(lines[-1].split(",")[2])
    assert table["vmaf"][-1].as_py() == pytest.approx(expected, abs=1e-4)


def test_a_log_that_cannot_be_read_leaves_no_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _log(tmp_path, "0,0.9,90,89,40,41,42,0.99,", "1,0.8,80,79,30,31,")
    scores_file.write_score_files(tmp_path)
    assert scores_file.list_score_files(tmp_path) == []
    assert "scores.parquet was not written" in caplog.text
