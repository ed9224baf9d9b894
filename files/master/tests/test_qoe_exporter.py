"""Tests of the exporter of the quality of experience."""

from typing import Any

import factories
import msgspec
import promtool
import pytest
import result_collectors
from ffrtmp_master.exporters.qoe import QualityOfExperience
from ffrtmp_shared.client import MasterUnreachableError
from ffrtmp_shared.live_measurement import ReceivedChunk, ReceivedMeasurement
from ffrtmp_shared.measurement import (
    EnergyMeasurement,
    Measurement,
    QualityMeasurement,
    RenditionMeasurement,
)
from ffrtmp_shared.metric_page import MetricPage
from ffrtmp_shared.models import Result
from ffrtmp_shared.prices import PriceBook, parse_book
from ffrtmp_shared.scenario import LadderSettings, LiveSettings, Rendition, Scenario
from ffrtmp_shared.unavailable import Unavailable
from prometheus_client import CollectorRegistry
from result_collectors import LIVE

UNKNOWN = Unavailable(reason="not measured here")
LABELS = {
    "node": "worker1",
    "encoder": "libx264",
    "preset": "medium",
    "rate_point": "1000k",
    "scenario": "clip/one",
}
NO_PRICES = PriceBook()


def exported(*results: Result, book: PriceBook = NO_PRICES) -> QualityOfExperience:
    found = result_collectors.experience(lambda: 1_767_300_000.0)
    found.refresh(result_collectors.page_of(*results), lambda: book)
    return found


def value(found: QualityOfExperience, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(found)
    return registry.get_sample_value(name, LABELS | labels)


def names(found: QualityOfExperience) -> set[str]:
    return {sample.name for metric in found.collect() for sample in metric.samples}


def measured(**more: Any) -> Measurement:
    return msgspec.structs.replace(factories.measurement(), **more)


def live_result(**more: Any) -> Result:
    settings = LiveSettings(duration_s=60.0)
    scenario = msgspec.structs.replace(factories.scenario(), kind="live", live=settings)
    defaults = {"output": None, "quality": UNKNOWN, "live": LIVE}
    return result_collectors.result(scenario=scenario, measurement=measured(**defaults | more))


def received(*chunks: tuple[float, float | None, float], chunk_s: float = 4.0) -> Any:
    """Return the measurement of chunks, each with its duration, its VMAF and its stalls."""
    return ReceivedMeasurement(
        chunk_s=chunk_s,
        buffer_s=1.0,
        frames=100 * len(chunks),
        pairs=100 * len(chunks),
        frames_lost=0,
        frames_lost_at_start=0,
        stall_s=sum(stall_s for *_, stall_s in chunks),
        file_bytes=1000,
        chunks=tuple(
            ReceivedChunk(
                duration_s=duration_s,
                frames=100,
                pairs=0 if vmaf is None else 100,
                stall_s=stall_s,
                vmaf_mean=UNKNOWN if vmaf is None else vmaf,
                vmaf_neg_mean=UNKNOWN,
                psnr_y_mean_db=UNKNOWN,
                ssim_libvmaf_mean=UNKNOWN,
            )
            for duration_s, vmaf, stall_s in chunks
        ),
    )


def test_the_quality_of_the_latest_result_is_shown() -> None:
    found = exported(result_collectors.result())
    expected = {
        "vmaf_mean": 91.5,
        "vmaf_harmonic_mean": 91.0,
        "vmaf_p1": 81.0,
        "vmaf_p5": 85.0,
        "vmaf_min": 80.0,
        "vmaf_neg_mean": 88.5,
        "psnr_y_decibels": 38.25,
        "ssim_ffmpeg_ratio": 0.96,
        "xpsnr_y_decibels": 36.5,
        # 64 J in 2 s are 32 W, and 1000 kbit/s are 1,000,000 bit/s.
        "vmaf_per_watt": 91.5 / 32,
        "vmaf_per_bit_per_second": 91.5 / 1_000_000,
        # 2026-01-01T00:00:00Z
        "measured_timestamp_seconds": 1_767_225_600.0,
    }
    for name, number in expected.items():
        assert value(found, f"ffrtmp_qoe_{name}") == pytest.approx(number), name
    assert value(found, "ffrtmp_qoe_vmaf_model_info", model="vmaf_v0.6.1") == 1
    assert not [name for name in names(found) if "live" in name or "score" in name]


def test_an_unknown_value_has_no_sample() -> None:
    quality = factories.measurement().quality
    assert isinstance(quality, QualityMeasurement)
    partial = msgspec.structs.replace(quality, xpsnr_y_db=UNKNOWN, vmaf_neg_mean=UNKNOWN)
    found = exported(result_collectors.result(measurement=measured(quality=partial)))
    assert value(found, "ffrtmp_qoe_xpsnr_y_decibels") is None
    assert value(found, "ffrtmp_qoe_vmaf_neg_mean") is None
    assert value(found, "ffrtmp_qoe_vmaf_mean") == 91.5
    found = exported(result_collectors.result(measurement=measured(energy=UNKNOWN)))
    assert value(found, "ffrtmp_qoe_vmaf_per_watt") is None
    assert value(found, "ffrtmp_qoe_vmaf_per_bit_per_second") is not None


def test_a_result_without_quality_replaces_that_of_an_earlier_one() -> None:
    earlier, later = result_collectors.result(), result_collectors.result()
    later = msgspec.structs.replace(later, measurement=measured(quality=UNKNOWN))
    assert names(exported(earlier, later)) == {"ffrtmp_qoe_omitted"}


@pytest.mark.parametrize(
    ("encoder", "gpu_j", "expected"),
    [
        # (64 + 36) J / 2 s = 50 W
        ("h264_nvenc", 36.0, 91.5 / 50),
        ("h264_nvenc", None, None),
        ("libx264", 36.0, 91.5 / 50),
        ("libx264", None, 91.5 / 32),
    ],
)
def test_the_power_includes_gpus(encoder: str, gpu_j: float | None, expected: float) -> None:
    gpu: EnergyMeasurement | Unavailable = UNKNOWN
    if gpu_j is not None:
        gpu = EnergyMeasurement(
            zones_j={"gpu-0": gpu_j}, gross_j=gpu_j, duration_s=2.0, idle_w=UNKNOWN, net_j=UNKNOWN
        )
    found = exported(
        result_collectors.result(
            scenario=factories.scenario(encoder), measurement=measured(gpu_energy=gpu)
        )
    )
    assert value(found, "ffrtmp_qoe_vmaf_per_watt", encoder=encoder) == (
        None if expected is None else pytest.approx(expected)
    )


def price_book(currency: str = "EUR", **node: Any) -> PriceBook:
    """Return a book with a node for 0.90 per hour. A kWh costs 0.30, and the PUE is 1.5."""
    entry = {
        "valid_from": "2026-01-01",
        "currency": currency,
        "source": "contract",
        "regions": {"de": {"pue": 1.5, "energy_per_kwh": 0.3}},
        "nodes": {"worker1": {"region": "de", "per_hour": 0.9, **node}},
    }
    return parse_book({"entries": [entry]})


def per_cost(found: QualityOfExperience, currency: str = "EUR") -> float | None:
    return value(found, "ffrtmp_qoe_vmaf_per_cost", currency=currency)


def test_the_quality_per_cost() -> None:
    """Compare with a calculation by hand.

    The host costs 2 s / 3600 s * 0.90 = 0.0005, and the energy 64 J / 3,600,000 J * 1.5 * 0.30 =
    0.000008. These are for 4 s of video; a minute costs 15 times as much, which is 0.00762.
    """
    found = exported(result_collectors.result(), book=price_book())
    assert per_cost(found) == pytest.approx(91.5 / 0.00762)
    dollars = exported(result_collectors.result(), book=price_book("USD"))
    assert per_cost(dollars, "USD") == pytest.approx(91.5 / 0.00762)
    assert per_cost(dollars) is None


def test_the_quality_per_cost_needs_both_operands() -> None:
    found = result_collectors.result
    assert per_cost(exported(found())) is None
    assert per_cost(exported(found(node="worker2"), book=price_book())) is None
    unpowered = found(measurement=measured(energy=UNKNOWN))
    assert per_cost(exported(unpowered, book=price_book())) is None
    unseen = found(measurement=measured(quality=UNKNOWN))
    assert per_cost(exported(unseen, book=price_book())) is None
    # The price of this node includes its energy: 91.5 / (0.0005 * 15)
    included = price_book(includes_energy=True)
    assert per_cost(exported(unpowered, book=included)) == pytest.approx(12_200)


def test_a_new_price_book_applies_to_known_results() -> None:
    found = exported(result_collectors.result())
    pages = result_collectors.page_of()
    found.refresh(pages, price_book)
    assert per_cost(found) == pytest.approx(91.5 / 0.00762)
    # 0.0005 * 2 + 0.000008, times 15
    found.refresh(pages, lambda: price_book(per_hour=1.8))
    assert per_cost(found) == pytest.approx(91.5 / 0.01512)


def test_the_exporter_is_complete_with_prices_and_results() -> None:
    found = result_collectors.experience()

    def unreachable() -> PriceBook:
        raise MasterUnreachableError("gone")

    with pytest.raises(MasterUnreachableError):
        found.refresh(result_collectors.page_of(), unreachable)
    assert not found.is_complete()
    found.refresh(result_collectors.page_of(), PriceBook)
    assert found.is_complete()


def test_each_rendition_of_a_ladder_has_its_quality() -> None:
    scenario = factories.scenario()
    assert scenario.encode is not None
    renditions = tuple(Rendition(name=name, encode=scenario.encode) for name in ("720p", "360p"))
    ladder: Scenario = msgspec.structs.replace(
        scenario, kind="ladder", encode=None, ladder=LadderSettings(renditions=renditions)
    )
    whole = factories.measurement()
    assert whole.output is not None
    rendered = tuple(
        RenditionMeasurement(name=name, encode=None, output=whole.output, quality=whole.quality)
        for name in ("720p", "360p")
    )
    measurement = measured(quality=UNKNOWN, output=None, renditions=rendered)
    found = exported(result_collectors.result(scenario=ladder, measurement=measurement))
    for name in ("720p", "360p"):
        assert value(found, "ffrtmp_qoe_vmaf_mean", rate_point=name) == 91.5
        assert value(found, "ffrtmp_qoe_vmaf_per_bit_per_second", rate_point=name) is not None
        # The power was used for all renditions together.
        assert value(found, "ffrtmp_qoe_vmaf_per_watt", rate_point=name) is None


def test_a_live_stream_has_its_delays_stalls_and_losses() -> None:
    found = exported(live_result())
    for quantile, lag_s in {"0.5": 0.1, "0.95": 0.2, "0.99": 0.3, "1": 0.4}.items():
        assert value(found, "ffrtmp_qoe_live_lag_seconds", quantile=quantile) == lag_s
        delay_s = value(found, "ffrtmp_qoe_live_end_to_end_seconds", quantile=quantile)
        assert delay_s == pytest.approx(lag_s + 1)
    # 6 s of 60 s
    assert value(found, "ffrtmp_qoe_live_stall_ratio") == pytest.approx(0.1)
    assert value(found, "ffrtmp_qoe_live_stalls") == 2
    assert value(found, "ffrtmp_qoe_live_lost_frames") == 5
    assert value(found, "ffrtmp_qoe_live_reconnects") == 1
    assert value(found, "ffrtmp_qoe_live_startup_seconds") == 0.8
    assert value(found, "ffrtmp_qoe_measured_timestamp_seconds") is not None
    assert value(found, "ffrtmp_qoe_vmaf_mean") is None


def test_unknown_values_of_a_live_stream_have_no_sample() -> None:
    silent = msgspec.structs.replace(LIVE, end_to_end_p50_s=UNKNOWN, startup_s=UNKNOWN)
    found = exported(live_result(live=silent))
    assert value(found, "ffrtmp_qoe_live_end_to_end_seconds", quantile="0.5") is None
    assert value(found, "ffrtmp_qoe_live_end_to_end_seconds", quantile="1") == 1.4
    assert value(found, "ffrtmp_qoe_live_startup_seconds") is None


def score(found: QualityOfExperience) -> float | None:
    labels = {"method": "comyco2019", "q_source": "measured"}
    return value(found, "ffrtmp_qoe_session_score", **labels)


def test_a_measured_stream_has_a_session_score() -> None:
    chunks = received((4.0, 90.0, 0.0), (4.0, 80.0, 1.0), (2.0, 50.0, 0.0))
    quality = factories.measurement().quality
    found = exported(live_result(received=chunks, quality=quality))
    # (0.8469 * 170 - 1.0610 * 10 - 28.7959 * 1) / 2; the last chunk is not complete.
    assert score(found) == pytest.approx(52.28355)
    assert value(found, "ffrtmp_qoe_vmaf_mean") == 91.5
    # The player received 1000 kbit/s.
    per_bit = value(found, "ffrtmp_qoe_vmaf_per_bit_per_second")
    assert per_bit == pytest.approx(91.5 / 1_000_000)


@pytest.mark.parametrize(
    "unmeasured",
    [None, UNKNOWN, received((3.0, 90.0, 0.0)), received((2.0, 90.0, 0.0), chunk_s=2.0)],
    ids=["not requested", "not measured", "too short", "other chunks"],
)
def test_another_stream_has_no_session_score(unmeasured: Any) -> None:
    found = exported(live_result(received=unmeasured))
    assert score(found) is None
    assert value(found, "ffrtmp_qoe_live_stalls") == 2


def test_a_result_with_impossible_scores_does_not_affect_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    impossible = live_result(received=received((4.0, 101.0, 0.0)))
    found = exported(impossible, msgspec.structs.replace(live_result(), node="worker2"))
    assert value(found, "ffrtmp_qoe_live_stalls") is None
    assert value(found, "ffrtmp_qoe_live_stalls", node="worker2") == 2
    assert f"item result {impossible.id} failed" in caplog.text


def test_promtool_accepts_the_metrics_of_a_live_stream() -> None:
    chunks = received((4.0, 90.0, 0.0))
    found = exported(live_result(received=chunks))
    page = MetricPage({"qoe": found}).render("")[0].decode()
    assert "ffrtmp_qoe_session_score{" in page
    assert promtool.complaints(page) == ""
