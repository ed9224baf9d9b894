"""Property-based tests of all entry points with texts and numbers from outside, on both engines.

Each request has one generated value. The response must be an error of the client, or the value must
be read back as it was sent. It must never be an error of the master.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import external_values
import factories
import httpx
import msgspec
import pytest
from external_values import TEXTS, Path, as_json, is_same, leaves, value_at, values_for, with_value
from ffrtmp_shared.value_rules import clean_text
from hypothesis import given
from hypothesis import strategies as st
from in_process_master import MasterHarness
from property_budget import budget

pytestmark = pytest.mark.property

_FEW = 12

Reader = Callable[[httpx.Response], Any]
"""A function that returns the stored document, of which the request sent a part."""


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value)


@pytest.fixture
def farm(harness: MasterHarness) -> MasterHarness:
    harness.register("worker1")
    harness.upload()
    return harness


def _claimed(farm: MasterHarness) -> Any:
    farm.submit(exclusive=False)
    return farm.claim("worker1")


def _send(farm: MasterHarness, caller: str, method: str, path: str, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return farm.call(caller, method, path, content=body, headers=headers)


def _check_response(response: httpx.Response) -> bool:
    """Check that a response is not an error of the master; return whether it is a success."""
    assert response.status_code < 500, response.text
    if response.is_success:
        return True
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == response.status_code
    return False


def _bodies(farm: MasterHarness) -> Iterator[tuple[str, str, str, str, Any, Reader | None]]:
    """Yield each entry point with a JSON body: name, caller, method, path, body and reader."""

    def job(job_id: str) -> Any:
        return farm.job(job_id)

    yield (
        "job", "submitter", "POST", "/v1/jobs",
        {
            "scenario": _plain(factories.job()["scenario"]),
            "requirements": {
                "architecture": "x86_64", "gpu": "A10", "memory_bytes_min": 5, "cpu_count_min": 1,
                "labels": {"rack": "7"},
            },
            "priority": "low", "exclusive": False, "max_attempts": 2, "deadline_s": 60.0,
        },
        lambda response: job(response.json()["id"]),
    )  # fmt: skip
    node = _plain(factories.registration("worker1", labels={"rack": "7"}, gpus=("A10",)))
    yield (
        "node", "worker1", "PUT", "/v1/nodes/worker1", node,
        lambda _: farm.ok("viewer", "GET", "/v1/nodes")["items"][0]["registration"],
    )  # fmt: skip
    claim_body = {"node": "worker1", "slot": 1, "wait_s": 0.0}
    yield "claim", "worker1", "POST", "/v1/claims", claim_body, None
    claim = _claimed(farm)
    job_id = claim["job"]["id"]
    beat = {
        "attempt": claim["attempt"],
        "progress": {
            "stage": "encode", "frames": 5, "fps": 2.5, "speed": 1.5, "ratio": 0.5,
            "bitrate_bps": 4.0, "duplicated_frames": 1, "dropped_frames": 1, "lag_s": -0.5,
        },
    }  # fmt: skip
    yield (
        "heartbeat", "worker1", "POST", f"/v1/jobs/{job_id}/heartbeat", beat,
        lambda _: {**job(job_id), "attempt": beat["attempt"]},
    )  # fmt: skip
    yield (
        "priority", "submitter", "PATCH", f"/v1/jobs/{job_id}", {"priority": "low"},
        lambda response: response.json(),
    )  # fmt: skip
    yield (
        "node state", "admin", "PATCH", "/v1/nodes/worker1", {"state": "active"},
        lambda response: response.json(),
    )  # fmt: skip
    yield (
        "plan", "submitter", "POST", "/v1/runs/plan", {"suite": factories.suite(), "seed": 1},
        None,
    )  # fmt: skip


_NAMES = ("job", "node", "claim", "heartbeat", "priority", "node state", "plan")


@pytest.mark.parametrize("name", _NAMES)
def test_a_body_is_refused_or_stored_as_sent(farm: MasterHarness, name: str) -> None:
    entry_points = {entry[0]: entry[1:] for entry in _bodies(farm)}
    assert set(entry_points) == set(_NAMES)
    caller, method, path, body, read = entry_points[name]
    places = sorted(leaves(body), key=str)

    @budget(_FEW)
    @given(data=st.data(), place=st.sampled_from(places), is_ascii=st.booleans())
    def attempt(data: st.DataObject, place: Path, is_ascii: bool) -> None:
        value = data.draw(values_for(value_at(body, place)))
        changed = with_value(body, place, None)
        value_at(changed, place[:-1])[place[-1]] = value
        response = _send(farm, caller, method, path, as_json(changed, is_ascii=is_ascii))
        if _check_response(response) and read is not None:
            assert is_same(value, _stored(read(response), place, value))

    attempt()


def _stored(document: Any, place: Path, sent: object) -> Any:
    """Return the stored value; fields with their default value are omitted."""
    try:
        return value_at(document, place)
    except (LookupError, TypeError):
        return sent if sent in (0, "", None) else "it is not stored"


def _cleaned(value: object) -> object:
    """Return a value as the master stores it if an agent sends it in a report."""
    return clean_text(value) if isinstance(value, str) else value


def test_a_failure_is_refused_or_read_back_as_sent(farm: MasterHarness) -> None:
    failure = {"failure_class": "node", "message": "a message", "log_tail": "a tail"}
    body = {"attempt": 1, "failure": failure}
    places = sorted(leaves(body), key=str)

    @budget(_FEW)
    @given(data=st.data(), place=st.sampled_from(places), is_ascii=st.booleans())
    def attempt(data: st.DataObject, place: Path, is_ascii: bool) -> None:
        claim = _claimed(farm)
        value = data.draw(values_for(value_at(body, place)))
        changed = with_value({**body, "attempt": claim["attempt"]}, place, None)
        value_at(changed, place[:-1])[place[-1]] = value
        path = f"/v1/jobs/{claim['job']['id']}/failure"
        response = _send(farm, "worker1", "POST", path, as_json(changed, is_ascii=is_ascii))
        if _check_response(response) and place != ("attempt",):
            stored = _stored(farm.job(claim["job"]["id"]), place, value)
            assert is_same(_cleaned(value), stored)

    attempt()


def test_a_result_is_refused_or_read_back_as_sent(farm: MasterHarness) -> None:
    measurement = _plain(factories.measurement())
    places = sorted(leaves(measurement), key=str)

    @budget(2 * _FEW)
    @given(data=st.data(), place=st.sampled_from(places), is_ascii=st.booleans())
    def attempt(data: st.DataObject, place: Path, is_ascii: bool) -> None:
        claim = _claimed(farm)
        value = data.draw(values_for(value_at(measurement, place)))
        changed = with_value(measurement, place, None)
        value_at(changed, place[:-1])[place[-1]] = value
        body = as_json({"attempt": claim["attempt"], "measurement": changed}, is_ascii=is_ascii)
        response = _send(farm, "worker1", "POST", f"/v1/jobs/{claim['job']['id']}/result", body)
        if _check_response(response):
            (stored,) = [
                result
                for result in farm.every("/v1/results")
                if result["job_id"] == claim["job"]["id"]
            ]
            assert is_same(_cleaned(value), _stored(stored["measurement"], place, value))
            for kind in ("jsonl", "csv", "parquet"):
                export = farm.call("viewer", "GET", f"/v1/results/export?format={kind}")
                assert export.is_success, export.text

    attempt()


@pytest.mark.parametrize(
    "field", ["description", "gpu", "label", "label name", "file", "preset", "suite name"]
)
def test_a_text_of_a_suite_is_refused_or_stored(farm: MasterHarness, field: str) -> None:
    @budget(_FEW)
    @given(text=TEXTS)
    def attempt(text: str) -> None:
        quoted = json.dumps(text)
        more = {
            "description": f"description: {quoted}\n",
            "gpu": f"requirements: {{gpu: {quoted}}}\nwhen_unmet: wait\n",
            "label": f"requirements: {{labels: {{rack: {quoted}}}}}\nwhen_unmet: wait\n",
            "label name": f"requirements: {{labels: {{{quoted}: a}}}}\nwhen_unmet: wait\n",
        }.get(field, "")
        suite = factories.suite(more=more)
        if field == "file":
            suite = suite.replace("file: clip.mp4", f"file: {quoted}")
        elif field == "preset":
            suite = suite.replace("encoder: libx264", f"encoder: libx264, preset: {quoted}")
        elif field == "suite name":
            suite = suite.replace("name: test", f"name: {quoted}")
        body = as_json({"suite": suite}, is_ascii=True)
        response = _send(farm, "submitter", "POST", "/v1/runs", body)
        if _check_response(response):
            (job,) = farm.every("/v1/jobs", run=response.json()["id"])
            stored = {
                "description": text,
                "gpu": job["requirements"].get("gpu"),
                "label": job["requirements"].get("labels", {}).get("rack"),
                "label name": next(iter(job["requirements"].get("labels", {})), None),
                "file": text if job["scenario"]["source"]["file_name"] in text else None,
                "preset": job["scenario"]["encode"]["preset"],
                "suite name": response.json()["suite_name"],
            }
            assert stored[field] == (text or stored[field])

    attempt()


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/runs"])
def test_an_idempotency_key_is_refused_or_stored(farm: MasterHarness, path: str) -> None:
    body = {"/v1/jobs": _plain(factories.job()), "/v1/runs": {"suite": factories.suite()}}[path]

    @budget(_FEW)
    @given(key=st.one_of(TEXTS.map(lambda t: t.encode(errors="surrogatepass")), st.binary()))
    def attempt(key: bytes) -> None:
        response = farm.call(
            "submitter",
            "POST",
            path,
            content=as_json(body, is_ascii=True),
            headers={"Content-Type": "application/json", "Idempotency-Key": key},
        )
        if not _check_response(response):
            assert response.status_code == 422
            assert "Idempotency-Key" in "".join(response.json()["errors"])
        elif path == "/v1/runs":
            text = key.decode("ascii")
            assert response.json()["key"] == text
            found = farm.ok("submitter", "GET", "/v1/runs", params={"key": text})["items"]
            assert [run["id"] for run in found] == [response.json()["id"]]

    attempt()


def test_a_token_is_refused_or_created_as_requested(farm: MasterHarness) -> None:
    request = {"name": "t", "role": "viewer", "node": None, "expires_at": "2100-01-01T00:00:00Z"}

    @budget(_FEW)
    @given(place=st.sampled_from(sorted(request)), value=TEXTS, number=st.integers(0, 10**9))
    def attempt(place: str, value: str, number: int) -> None:
        changed = {**request, "name": f"t{number}", place: value}
        body = as_json(changed, is_ascii=True)
        response = _send(farm, "admin", "POST", "/v1/tokens", body)
        if _check_response(response) and place == "name":
            assert farm.ok("admin", "GET", f"/v1/tokens/{value}")["name"] == value

    attempt()


def test_a_piece_of_a_log_is_refused_or_read_back(farm: MasterHarness) -> None:
    @budget(_FEW)
    @given(piece=st.one_of(TEXTS.map(lambda t: t.encode(errors="surrogatepass")), st.binary()))
    def attempt(piece: bytes) -> None:
        claim = _claimed(farm)
        path = f"/v1/jobs/{claim['job']['id']}/log"
        response = farm.call(
            "worker1",
            "POST",
            path,
            params={"attempt": claim["attempt"]},
            content=piece,
            headers={"Content-Type": "text/plain; charset=utf-8"},
        )
        if _check_response(response):
            assert farm.call("viewer", "GET", path).content == piece

    attempt()


_QUERIES = (
    "/v1/jobs?scenario={}",
    "/v1/jobs?node={}",
    "/v1/jobs?state={}",
    "/v1/jobs?created_after={}",
    "/v1/jobs?cursor={}",
    "/v1/jobs?limit={}",
    "/v1/jobs?run={}",
    "/v1/runs?key={}",
    "/v1/runs?cursor={}",
    "/v1/results?cursor={}",
    "/v1/results/export?format={}",
    "/v1/audit?cursor={}",
    "/v1/tokens?cursor={}",
    "/v1/sources?cursor={}",
    "/v1/sources/{}",
    "/v1/nodes/{}",
    "/v1/tokens/{}",
    "/v1/runs/{}",
    "/v1/jobs/{}",
    "/v1/jobs/{}/log",
    "/v1/sd/{}",
    "/v1/jobs/00000000-0000-0000-0000-000000000000/attempts/1/artifacts/{}",
    "/v1/jobs/00000000-0000-0000-0000-000000000000/attempts/{}/artifacts/a",
    "/{}",
)


def test_a_query_or_path_is_never_an_error_of_the_master(farm: MasterHarness) -> None:
    @budget(6 * _FEW)
    @given(
        template=st.sampled_from(_QUERIES),
        value=st.one_of(TEXTS, external_values.NUMBERS.map(str)),
        raw=st.binary(max_size=4),
        is_raw=st.booleans(),
    )
    def attempt(template: str, value: str, raw: bytes, is_raw: bool) -> None:
        sent = raw if is_raw else value.encode(errors="surrogatepass")
        response = farm.call("admin", "GET", template.format(quote(sent, safe="")[:6000]))
        assert response.status_code < 500, response.text

    attempt()


def test_an_artifact_name_is_refused_or_stored(farm: MasterHarness) -> None:
    @budget(_FEW)
    @given(name=st.one_of(TEXTS, st.from_regex(re.compile(r"[A-Za-z0-9._-]{1,130}\Z"))))
    def attempt(name: str) -> None:
        claim = _claimed(farm)
        quoted = quote(name.encode(errors="surrogatepass"), safe="")
        path = f"/v1/jobs/{claim['job']['id']}/artifacts/{quoted}"
        params = {"attempt": claim["attempt"]}
        response = farm.call("worker1", "PUT", path, params=params, content=b"content")
        if _check_response(response):
            path = f"/v1/jobs/{claim['job']['id']}/attempts/{claim['attempt']}/artifacts/{quoted}"
            assert farm.call("viewer", "GET", path).content == b"content"

    attempt()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a\0b", "the control character U+0000 is not accepted"),
        ("a\x1bb", "the control character U+001B is not accepted"),
        ("a\x85b", "the control character U+0085 is not accepted"),
    ],
)
def test_a_rejected_text_names_the_field_and_the_rule(
    farm: MasterHarness, text: str, rule: str
) -> None:
    claim = _claimed(farm)
    body = as_json({"attempt": claim["attempt"], "progress": {"stage": text}}, is_ascii=True)
    response = _send(farm, "worker1", "POST", f"/v1/jobs/{claim['job']['id']}/heartbeat", body)
    assert response.status_code == 422
    assert response.json()["errors"] == [f"progress.stage: {rule}"]


@pytest.mark.parametrize("text", ["a\0b", "a\x1bb", "a\x85b"])
def test_the_text_of_a_report_is_cleaned_so_that_the_report_is_not_lost(
    farm: MasterHarness, text: str
) -> None:
    """Check the reports of agents of release 0.1.0, which discard a report that is refused."""
    measured = _claimed(farm)["job"]["id"]
    measurement = _plain(factories.measurement())
    measurement["environment"]["kernel"] = text
    result = as_json({"attempt": 1, "measurement": measurement}, is_ascii=True)
    assert _send(farm, "worker1", "POST", f"/v1/jobs/{measured}/result", result).is_success
    (stored,) = farm.every("/v1/results")
    assert stored["measurement"]["environment"]["kernel"] == "a\ufffdb"
    failed = _claimed(farm)["job"]["id"]
    failure = {"failure_class": "encode_failed", "message": text, "log_tail": text}
    body = as_json({"attempt": 1, "failure": failure}, is_ascii=True)
    assert _send(farm, "worker1", "POST", f"/v1/jobs/{failed}/failure", body).is_success
    found = farm.job(failed)["failure"]
    assert (found["message"], found["log_tail"]) == ("a\ufffdb", "a\ufffdb")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/jobs"), ("POST", "/v1/runs"), ("PUT", "/v1/nodes/worker1")]
)
def test_a_body_that_is_not_utf_8_is_malformed(farm: MasterHarness, method: str, path: str) -> None:
    caller = "worker1" if "nodes" in path else "submitter"
    response = _send(farm, caller, method, path, b'{"suite": "\xff\xfe"}')
    assert response.status_code == 400, response.text


def test_a_url_with_a_password_is_refused_without_showing_it(farm: MasterHarness) -> None:
    job = _plain(factories.job())
    job["scenario"]["source"]["url"] = "https://me:secret@clips.example/clip.mp4"
    suite = factories.suite().replace(
        "file: clip.mp4", "url: 'https://me:secret@clips.example/clip.mp4'"
    )
    for path, body in (("/v1/jobs", job), ("/v1/runs", {"suite": suite})):
        response = _send(farm, "submitter", "POST", path, as_json(body, is_ascii=True))
        assert response.status_code == 422, response.text
        assert "user" in response.text
        assert "secret" not in response.text
