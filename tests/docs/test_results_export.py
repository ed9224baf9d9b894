"""Tests of the section of docs/results.md that describes the export of a run."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from ffrtmp_client import bundle_archive

from .conftest import Site
from .page import Fence, Page, Step
from .working_agent import working

_LOGIN = (
    "ffrtmp login demo --url {url} --ca-file {ca_file} --token-file .secrets/local/tokens/operator"
)


def _section(root: Path) -> Page:
    page = Page(root / "docs/results.md")
    page.text = page.text.partition("\n## Export a run as one file\n")[2].partition("\n## ")[0]
    return page


def test_the_limits_are_those_of_the_program(root: Path) -> None:
    found = re.search(r"more than ([\d,]+) files or (\d+) GiB", _section(root).text)
    assert found is not None
    limits = int(found[1].replace(",", "")), int(found[2]) * 1024**3
    assert limits == (bundle_archive.MAX_FILES, bundle_archive.MAX_BYTES)


@pytest.mark.slow
def test_every_command_works(root: Path, tmp_path: Path) -> None:
    steps = _section(root).steps()
    assert len(steps) == 3
    site = Site(tmp_path, root)
    login = _LOGIN.format(url=site.master.url, ca_file=site.master.ca_file)
    run = "ffrtmp run files/suites/demo.yml"
    with site.master.serving():
        site.register()
        with working(site):
            outcome = site.run([Step(Fence("bash", f"{login}\n{run}\n", 1), None), *steps])
    assert outcome.exit_code == 0, f"{outcome.printed}{outcome.errors}"
    bundles = [tmp_path / name for name in ("run.zip", "same-run.zip")]
    manifests = []
    for bundle in bundles:
        with zipfile.ZipFile(bundle) as archive:
            manifests.append(json.loads(archive.read("manifest.json")))
    assert [manifest["farm"] for manifest in manifests] == ["lab", None]
    assert manifests[0]["run"] == manifests[1]["run"]
    assert all(manifest["is_complete"] for manifest in manifests)
