"""Tests of measured values that their types do not accept."""

import math
from typing import Any

import msgspec
import pytest
from ffrtmp_shared.attempt_models import Progress
from ffrtmp_shared.measurement import Measurement
from ffrtmp_shared.unavailable import Unavailable
from ffrtmp_worker.agent.report_values import (
    UnrepresentableError,
    conforming_measurement,
    conforming_progress,
)
from hypothesis import given
from hypothesis import strategies as st
from measurement_factory import measurement
from property_budget import budget

_NUMBERS = st.one_of(
    st.floats(), st.integers(), st.just(-0.0), st.just(1e300), st.just(-99), st.just(2**70)
)
_TEXTS = st.text(st.characters(codec=None), max_size=50) | st.just("x" * 5000)


def _document() -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(measurement())
    return document


def _read_back(found: Measurement) -> Measurement:
    return msgspec.json.decode(msgspec.json.encode(found), type=Measurement)


def test_a_valid_measurement_is_not_changed() -> None:
    assert conforming_measurement(_document()) == measurement()


@pytest.mark.parametrize("score_db", [-1.6, -40.0, 0.0])
def test_a_negative_score_in_db_is_valid(score_db: float) -> None:
    document = _document()
    for name in ("xpsnr_y_db", "xpsnr_cb_db", "xpsnr_cr_db", "psnr_y_mean_db"):
        document["quality"][name] = score_db
    document["quality"]["ssim_ffmpeg_mean"] = -0.01
    quality = _read_back(conforming_measurement(document)).quality
    assert not isinstance(quality, Unavailable)
    assert (quality.xpsnr_y_db, quality.ssim_ffmpeg_mean) == (score_db, -0.01)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("environment", "throttle_events", -3),
        ("environment", "cpu_busy_s", -0.5),
        ("environment", "temperature_max_celsius", math.nan),
        ("output", "level", -99),
        ("encode", "fps_p1", math.inf),
        ("encode", "major_faults", 2**64),
    ],
)
def test_only_the_invalid_value_becomes_unavailable(part: str, name: str, value: float) -> None:
    document = _document()
    document[part][name] = value
    found = msgspec.to_builtins(_read_back(conforming_measurement(document)))
    replaced = found[part].pop(name)
    assert replaced["status"] == "unavailable"
    assert f"{part}.{name} is not valid" in replaced["reason"]
    expected = _document()
    del expected[part][name]
    assert found == expected


def test_a_part_becomes_unavailable_if_its_value_must_not_be() -> None:
    document = _document()
    document["quality"]["vmaf_mean"] = math.nan
    document["energy"]["zones_j"]["package-0"] = -4.0
    found = conforming_measurement(document)
    assert isinstance(found.quality, Unavailable)
    assert "quality.vmaf_mean" in found.quality.reason
    assert isinstance(found.energy, Unavailable)
    assert found.encode == measurement().encode


def test_a_value_without_which_there_is_no_measurement_is_named() -> None:
    document = _document()
    document["encode"]["wall_s"] = -1.0
    with pytest.raises(UnrepresentableError, match=r"-1\.0 of encode\.wall_s is not valid"):
        conforming_measurement(document)


def test_texts_are_cleaned_and_shortened() -> None:
    document = _document()
    document["environment"]["kernel"] = "6.12\0\udc80" + "x" * 2000
    document["provenance"]["argv"] = ["ffmpeg", "-i", "in\udcff"]
    found = _read_back(conforming_measurement(document))
    assert found.environment.kernel == "6.12\ufffd\ufffd" + "x" * 1018
    assert found.provenance.argv == ("ffmpeg", "-i", "in\ufffd")


@pytest.mark.parametrize(
    "figures", [{"fps": -2.0}, {"speed": math.nan}, {"frames": -1}, {"bitrate_bps": math.inf}]
)
def test_a_heartbeat_is_never_refused_for_its_figures(figures: dict[str, Any]) -> None:
    progress = Progress(**{"stage": "encode", "frames": 5, "fps": 1.5} | figures)
    found = conforming_progress(progress)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Progress) == found
    assert found.stage == "encode"


def test_valid_progress_is_not_changed() -> None:
    progress = Progress(stage="encode", frames=5, fps=1.5, lag_s=-0.25)
    assert conforming_progress(progress) == progress


@pytest.mark.property
@budget(50)
@given(data=st.data())
def test_what_is_kept_can_always_be_read_back(data: st.DataObject) -> None:
    """Check that either the kept measurement is valid, or the invalid value is named."""
    document = _document()
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from(sorted(k for k, v in document.items() if v)))
        if not isinstance(document[part], dict):
            continue
        name = data.draw(st.sampled_from(sorted(document[part])))
        values = _TEXTS if isinstance(document[part][name], str) else _NUMBERS
        document[part][name] = data.draw(values)
    try:
        found = conforming_measurement(document)
    except UnrepresentableError as error:
        assert "is not valid" in str(error)
    else:
        assert _read_back(found) == found
